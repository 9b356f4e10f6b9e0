"""Makes the sounds beside this file and what independent decoders make of them (`decoded.json`). Needs numpy, ffmpeg, sox,
flac, lame, opus-tools and twolame (all in Debian): python make.py, or python make.py NAME .. for some of them

The sound is procedural: chirps, a hum and noise that swells, a fifth of a second. `decoded.json` holds of every file its
rate, its channels, its samples, those it was made of, and of each channel either the CRC-32 of all samples as f32 (lossless) or 40 of them
(lossy), as ffmpeg decodes it; of Opus as opusdec does.
"""
import json
import os
import subprocess
import sys
import zlib

import numpy as np

os.chdir(os.path.dirname(os.path.abspath(__file__)))


def run(command, data=None):
    return subprocess.run(command, input=data, check=True, capture_output=True, shell=isinstance(command, str)).stdout


def sound(rate, channels, seconds=0.2):
    columns = []
    for channel in range(channels):
        t = np.arange(int(rate * seconds)) / rate
        noise = np.random.default_rng(channel).standard_normal(len(t))
        chirps = np.sin(2 * np.pi * (300 + 2500 * (t % 0.11)) * (t % 0.11)) * np.exp(-9 * (t % 0.11))
        columns.append(0.4 * chirps + 0.1 * np.sin(2 * np.pi * (120 + 60 * channel) * t) + 0.08 * noise * t / seconds)
    return np.stack(columns, 1)


def wav(name, rate, channels, codec="pcm_s16le", seconds=0.2):
    data = sound(rate, channels, seconds).astype("<f8").tobytes()
    run(["ffmpeg", "-v", "error", "-y", "-f", "f64le", "-ar", str(rate), "-ac", str(channels), "-i", "-",
         "-c:a", codec, "-bitexact", name], data)


def ffmpeg(source, target, *options):
    first = options[:3] if options[0] == "-ss" else ()
    pipe = target.startswith("pipe.")
    out = run(["ffmpeg", "-v", "error", "-y", *first, "-i", source, *options[len(first):], "-bitexact", "-" if pipe else target])
    if pipe:
        with open(target, "wb") as file:
            file.write(out)


wav("mono.tmp.wav", 16000, 1)
wav("stereo.tmp.wav", 44100, 2)
wav("wide.tmp.wav", 48000, 2, "pcm_s24le")
wav("half.tmp.wav", 22050, 1)
wav("six.tmp.wav", 48000, 6)
SECONDS = {"short.tmp.wav": 0.05, "fine.tmp.wav": 0.1, "odd.tmp.wav": 0.0227, "long.tmp.wav": 1}
wav("short.tmp.wav", 8000, 2, seconds=0.05)
wav("fine.tmp.wav", 96000, 1, seconds=0.1)
wav("odd.tmp.wav", 44100, 1, seconds=0.0227)
wav("long.tmp.wav", 16000, 1, seconds=1)
ffmpeg("long.tmp.wav", "long.tmp.ogg", "-c:a", "libvorbis", "-q:a", "0", "-page_duration", "100000")

LOSSLESS = {
    "be24.aiff": ("wide.tmp.wav", "-c:a", "pcm_s24be"),
    "float.aifc": ("mono.tmp.wav", "-c:a", "pcm_f32be", "-f", "aiff"),
    "little.aifc": ("mono.tmp.wav", "-c:a", "pcm_s16le", "-f", "aiff"),
    "ulaw.aifc": ("mono.tmp.wav", "-c:a", "pcm_mulaw", "-f", "aiff"),
    "mulaw.au": ("mono.tmp.wav", "-c:a", "pcm_mulaw"),
    "be16.au": ("mono.tmp.wav", "-c:a", "pcm_s16be"),
    "big.caf": ("mono.tmp.wav", "-c:a", "pcm_s16be"),
    "little24.caf": ("mono.tmp.wav", "-c:a", "pcm_s24le"),
    "alac.caf": ("stereo.tmp.wav", "-c:a", "alac"),
    "alac.m4a": ("stereo.tmp.wav", "-c:a", "alac"),
    "alac24.m4a": ("wide.tmp.wav", "-c:a", "alac", "-sample_fmt", "s32p"),
    "sound.w64": ("mono.tmp.wav", "-c:a", "pcm_s16le"),
    "rf64.wav": ("mono.tmp.wav", "-c:a", "pcm_s16le", "-rf64", "always"),
    "alaw.wav": ("mono.tmp.wav", "-c:a", "pcm_alaw"),
    "ms.wav": ("stereo.tmp.wav", "-c:a", "adpcm_ms"),
    "ima.wav": ("mono.tmp.wav", "-c:a", "adpcm_ima_wav"),
    "stereo.flac": ("stereo.tmp.wav", "-c:a", "flac"),
    "flac.ogg": ("mono.tmp.wav", "-c:a", "flac"),
    "flac.mka": ("mono.tmp.wav", "-c:a", "flac"),
    "pcm.mov": ("mono.tmp.wav", "-c:a", "pcm_s16be"),
    # QuickTime: either order of bytes under one name, and what it shares with AIFC.
    "be24.mov": ("short.tmp.wav", "-c:a", "pcm_s24be"),
    "le24.mov": ("short.tmp.wav", "-c:a", "pcm_s24le"),
    "be32.mov": ("short.tmp.wav", "-c:a", "pcm_s32be"),
    "f32be.mov": ("short.tmp.wav", "-c:a", "pcm_f32be"),
    "f32le.mov": ("short.tmp.wav", "-c:a", "pcm_f32le"),
    "f64be.mov": ("short.tmp.wav", "-c:a", "pcm_f64be"),
    "s8.mov": ("short.tmp.wav", "-c:a", "pcm_s8"),
    "ulaw.mov": ("short.tmp.wav", "-c:a", "pcm_mulaw"),
    "alac.mov": ("short.tmp.wav", "-c:a", "alac"),
    "s8.caf": ("short.tmp.wav", "-c:a", "pcm_s8"),
    # Written to a pipe: of unknown length.
    "pipe.caf": ("short.tmp.wav", "-c:a", "pcm_s16be", "-f", "caf"),
    "pipe.mka": ("short.tmp.wav", "-c:a", "flac", "-f", "matroska"),
}
LOSSY = {
    "layer2.mp2": ("stereo.tmp.wav", "-c:a", "mp2", "-b:a", "96k"),
    "mpeg2.mp3": ("half.tmp.wav", "-c:a", "libmp3lame", "-b:a", "32k"),
    "vbr.mp3": ("stereo.tmp.wav", "-c:a", "libmp3lame", "-q:a", "6"),
    "mp3.wav": ("stereo.tmp.wav", "-c:a", "libmp3lame", "-b:a", "48k"),
    "aac.m4a": ("stereo.tmp.wav", "-c:a", "aac", "-b:a", "64k"),
    "aac.mkv": ("stereo.tmp.wav", "-c:a", "aac", "-b:a", "64k"),
    "stereo.ogg": ("stereo.tmp.wav", "-c:a", "libvorbis", "-q:a", "1"),
    "vorbis.webm": ("stereo.tmp.wav", "-c:a", "libvorbis", "-q:a", "1"),
    "opus.webm": ("wide.tmp.wav", "-c:a", "libopus", "-b:a", "48k"),
    "opus.mp4": ("wide.tmp.wav", "-c:a", "libopus", "-b:a", "48k"),
    # A rate above 65,535 Hz, for which MP4 has no room.
    "aac96.m4a": ("fine.tmp.wav", "-c:a", "aac", "-b:a", "64k"),
    # An edit list whose clock is slower than the samples.
    "odd.m4a": ("odd.tmp.wav", "-c:a", "aac", "-b:a", "64k"),
    "mp2.mp4": ("half.tmp.wav", "-c:a", "mp2", "-b:a", "32k"),
    "pipe.webm": ("mono.tmp.wav", "-c:a", "libopus", "-b:a", "16k", "-f", "webm"),
    # Cut out of a longer one, with its times.
    "later.ogg": ("long.tmp.ogg", "-ss", "0.5", "-copyts", "-c", "copy", "-page_duration", "100000"),
    "page.ogg": ("long.tmp.ogg", "-ss", "0.8", "-copyts", "-c", "copy"),
}
# Held against what it was made of.
UNLIKE = {"ima.mov": ("short.tmp.wav", "-c:a", "adpcm_ima_qt")}
wanted = set(sys.argv[1:])
for name, (source, *options) in {**LOSSLESS, **LOSSY, **UNLIKE}.items():
    if not wanted or name in wanted:
        ffmpeg(source, name, *options)
if not wanted:
    run("opusenc --quiet --bitrate 24 --serial 1 mono.tmp.wav speech.opus")
    run("opusenc --quiet --bitrate 96 --serial 1 wide.tmp.wav music.opus")
    run("opusenc --quiet --bitrate 128 --serial 1 six.tmp.wav six.opus")
for name in ["speech.opus", "music.opus", "six.opus"]:
    LOSSY[name] = None

decoded = {}
if wanted:
    with open("decoded.json") as table:
        decoded = json.load(table)
for name in sorted((wanted or {*LOSSLESS, *LOSSY}) - {*UNLIKE}):
    about = json.loads(run(["ffprobe", "-v", "error", "-select_streams", "a", "-show_entries", "stream=sample_rate,channels",
                            "-of", "json", name]))["streams"][0]
    rate, channels = int(about["sample_rate"]), about["channels"]
    if name.endswith(".opus"):
        run(["opusdec", "--quiet", "--float", "--rate", "48000", "--force-wav", name, "o.tmp.wav"])
        data = run(["ffmpeg", "-v", "error", "-i", "o.tmp.wav", "-f", "f32le", "-c:a", "pcm_f32le", "-"])
    else:
        decoder = ["-c:a", "libopus"] if "libopus" in LOSSY.get(name, ()) else []
        data = run(["ffmpeg", "-v", "error", *decoder, "-i", name, "-f", "f32le", "-c:a", "pcm_f32le", "-"])
    source = (LOSSLESS | LOSSY)[name][0] if not name.endswith(".opus") else None
    samples = np.frombuffer(data, "<f4").reshape(-1, channels)
    if name == "six.opus":
        # From the order of WAV to that of Vorbis and Opus.
        samples = samples[:, [0, 2, 1, 4, 5, 3]]
    entry = {"rate": rate, "channels": channels, "samples": len(samples), "made": int(rate * SECONDS.get(source, 0.2))}
    if name in LOSSLESS:
        entry["crc"] = [zlib.crc32(np.ascontiguousarray(samples[:, c]).tobytes()) for c in range(channels)]
    else:
        at = np.linspace(0, len(samples) - 1, 40).astype(int)
        entry["at"] = at.tolist()
        entry["values"] = [[round(float(x), 7) for x in samples[at, c]] for c in range(channels)]
    decoded[name] = entry
with open("decoded.json", "w") as out:
    out.write("{\n" + ",\n".join(f'"{name}": {json.dumps(entry)}' for name, entry in sorted(decoded.items())) + "\n}\n")
for name in os.listdir("."):
    if ".tmp." in name:
        os.remove(name)
