"""Makes the sounds and log-mel frames beside this file. Needs numpy, soundfile and av (ffmpeg): python make.py

    sound.wav                     half a second, 44.1 kHz, 16-bit, mono: chirps, a hum and noise that swells
    sound.flac|ogg|mp3|m4a|aac    the same, coded (mp3 with a LAME tag; bare.mp3 without)
    stereo48k.wav|flac            0.1 s at 48 kHz, 24-bit; left: another such sound, right: its negative at half strength
    alaw.wav, f64.wav, adpcm.wav  WAV of kinds that need the feature `formats`
    mel.wav, mel.npy              one second at 16 kHz, 16-bit; its 49 x 64 log-mel frames (computed in f64, rounded once)
"""
import os

import av
import numpy as np
import soundfile as sf

os.chdir(os.path.dirname(os.path.abspath(__file__)))


def sound(rate, seconds, seed):
    t = np.arange(int(rate * seconds)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(t))
    chirps = np.sin(2 * np.pi * (300 + 2500 * (t % 0.21)) * (t % 0.21)) * np.exp(-9 * (t % 0.21))
    return 0.4 * chirps + 0.1 * np.sin(2 * np.pi * 120 * t) + 0.08 * noise * t / seconds + 0.01


def coded(name, samples, rate, codec, options=None, container=None):
    with av.open(name, "w", format=container, options=options or {}) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = 96_000
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in stream.encode(frame):
            out.mux(packet)
        out.mux(stream.encode(None))


def log_mel(x):
    """The definition of the frames, see src/embed/logmel.rs: window and bands rounded to f32, all else in f64."""
    def mel(f):
        return 2595.0 * np.log10(1.0 + f / 700.0)

    edge = 700.0 * (10.0 ** (np.linspace(mel(50.0), mel(8000.0), 66) / 2595.0) - 1.0)
    f = np.arange(257) * 16_000 / 512
    up = (f[None] - edge[:-2, None]) / (edge[1:-1] - edge[:-2])[:, None]
    down = (edge[2:, None] - f[None]) / (edge[2:] - edge[1:-1])[:, None]
    bands = np.maximum(0.0, np.minimum(up, down)).astype(np.float32).astype(np.float64)
    hann = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(512) / 512)).astype(np.float32).astype(np.float64)
    x = (x - x.mean()) / (x.std() + 1e-8)
    frames = np.lib.stride_tricks.sliding_window_view(x, 512)[::320]
    power = np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2
    return np.log(power @ bands.T + 1e-3).astype(np.float32)


one = np.round(sound(44_100, 0.5, 1) * 32_768).astype(np.int16)
sf.write("sound.wav", one, 44_100, subtype="PCM_16")
sf.write("sound.flac", one, 44_100, subtype="PCM_16")
sf.write("sound.ogg", one, 44_100, subtype="VORBIS")
coded("sound.mp3", one, 44_100, "libmp3lame")
coded("bare.mp3", one, 44_100, "libmp3lame", {"write_xing": "0", "id3v2_version": "0"}, "mp3")
coded("sound.m4a", one, 44_100, "aac")
coded("sound.aac", one, 44_100, "aac", container="adts")
sf.write("alaw.wav", one, 44_100, subtype="ALAW")
sf.write("adpcm.wav", one, 44_100, subtype="IMA_ADPCM")
sf.write("f64.wav", one[:4_000] / 32_768, 44_100, subtype="DOUBLE")
left = np.round(sound(48_000, 0.1, 2) * 2**22).astype(np.int32) * 2
for name in ("stereo48k.wav", "stereo48k.flac"):
    sf.write(name, np.stack([left, -left // 2], axis=1) * 256, 48_000, subtype="PCM_24")
mel = np.round(sound(16_000, 1.0, 3) * 32_768).astype(np.int16)
sf.write("mel.wav", mel, 16_000, subtype="PCM_16")
np.save("mel.npy", log_mel(mel / 32_768.0))
