#!/usr/bin/env python3
"""Draws docs/search.svg from a real run of the command.

`docs/make_picture.py target/release/otolith [OUT.svg]`; needs Python 3 and nothing else. It synthesises five
recordings and a bird's call, which lies in two of them, adds the recordings to a database in a temporary folder,
searches for the call, checks that both places were found, and draws what was typed and what came back.
"""
import html
import math
import pathlib
import random
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import wave

RATE = 16_000
GARDEN, STREET = 21.3, 4.6  # seconds at which the call begins

CELL, LINE, EDGE, BAR, SIZE = 8.43, 20, 22, 36, 14  # pixels
WIDTH = 88  # columns
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
BACKGROUND, FRAME, PLAIN, DIM = "#12161c", "#2a313c", "#dfe5ee", "#98a5b6"
PROMPT, NAME, NUMBER = "#7ee08a", "#ffd479", "#7cc7ff"


def call():
    """A bird's call: three rising chirps in 1.2 seconds."""
    samples = [0.0] * int(1.2 * RATE)
    for start, low, high in ((0.05, 2200, 3400), (0.40, 2600, 4200), (0.75, 3000, 5200)):
        phase, length = 0.0, int(0.28 * RATE)
        for n in range(length):
            t = n / length
            phase += 2 * math.pi * (low + (high - low) * t * t) / RATE
            samples[int(start * RATE) + n] = 0.5 * math.sin(math.pi * t) ** 0.7 * math.sin(phase)
    return samples


def air(seconds, seed, loudness=0.03):
    """Noise as of a room or the open air."""
    draw, level, samples = random.Random(seed), 0.0, []
    for _ in range(int(seconds * RATE)):
        level += (draw.uniform(-1, 1) - level) * 0.6
        samples.append(loudness * level)
    return samples


def tones(seconds, hz, loudness):
    """A hum with three overtones."""
    one = lambda n: loudness * sum(math.sin(2 * math.pi * hz * h * n / RATE) / h for h in (1, 2, 3, 4))
    return [one(n) for n in range(int(seconds * RATE))]


def swelling(samples, hz, depth):
    return [x * (1 + depth * math.sin(2 * math.pi * hz * n / RATE)) for n, x in enumerate(samples)]


def mixed(samples, other, seconds=0.0, gain=1.0):
    samples, first = list(samples), int(seconds * RATE)
    for n, x in enumerate(other):
        samples[first + n] += gain * x
    return samples


def write(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(b"".join(struct.pack("<h", int(32767 * max(-1.0, min(1.0, x)))) for x in samples))


def make_sounds(folder):
    bird, recordings = call(), folder / "recordings"
    recordings.mkdir()
    write(recordings / "garden.wav", mixed(air(30, 1), bird, GARDEN))
    write(recordings / "street.wav", mixed(mixed(air(12, 2, 0.05), tones(12, 70, 0.04)), bird, STREET, 0.6))
    write(recordings / "rain.wav", swelling(air(20, 3, 0.18), 0.3, 0.6))
    write(recordings / "tractor.wav", mixed(air(15, 6), swelling(tones(15, 45, 0.15), 9, 0.5)))
    write(recordings / "kettle.wav", mixed(air(8, 4), swelling(tones(8, 900, 0.1), 5, 0.3)))
    write(folder / "blackbird.wav", mixed(air(1.2, 5), bird, 0.0, 0.8))


def session(binary, folder):
    """What was typed and what came back, as lines."""
    shown = [f"$ # blackbird.wav: a call, mixed into garden.wav at {GARDEN} s and into street.wav at {STREET} s"]
    for command in (
        "otolith add sounds.otolith recordings/ --model logmel",
        "otolith search sounds.otolith blackbird.wav --model logmel --explain -k 2",
    ):
        done = subprocess.run([binary, *shlex.split(command)[1:]], cwd=folder, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{command}\n{done.stderr}")
        # a terminal shows both; the remark on stderr comes last
        shown += [f"$ {command}", *(done.stdout + done.stderr).rstrip("\n").split("\n"), ""]
    text = "\n".join(shown)
    for place in (f"at {GARDEN:.2f}-", f"at {STREET:.2f}-"):
        if place not in text:
            sys.exit(f"the call was not found {place}\n{text}")
    return [line.rstrip() for line in shown[:-1]]


def coloured(line):
    """The line in pieces, each with its colour."""
    if line.startswith("$ #"):
        return [("$ ", PROMPT), (line[2:], DIM)]
    if line.startswith("$ "):
        return [("$ ", PROMPT), (line[2:], PLAIN)]
    hit = re.match(r"( *\d+ +)(-?\d+\.\d+)( +)(.+)", line)
    if hit:
        return list(zip(hit.groups(), (DIM, NUMBER, DIM, NAME)))
    whole = re.match(r"( +as a whole at )([\d.-]+ s)(.*)", line)
    if whole:
        return list(zip(whole.groups(), (PLAIN, NUMBER, DIM)))
    if ", exact," in line:
        return list(zip(line.partition("exact"), (DIM, PROMPT, DIM)))
    return [(line, DIM)]


def picture(lines):
    width, height = 2 * EDGE + WIDTH * CELL, BAR + LINE * len(lines) + EDGE
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}"'
        f' width="{width:.0f}" height="{height}" font-size="{SIZE}" font-family="{FONTS}">',
        "<title>otolith search --explain in a terminal</title>",
        f'<rect x="0.5" y="0.5" width="{width - 1:.0f}" height="{height - 1}" rx="9"'
        f' fill="{BACKGROUND}" stroke="{FRAME}"/>',
        *(f'<circle cx="{EDGE + 18 * n}" cy="18" r="5.5" fill="{FRAME}"/>' for n in range(3)),
    ]
    for row, line in enumerate(lines):
        column, words = 0, []
        for text, colour in coloured(line):
            # each word at its own column, so that any monospaced font keeps the columns
            for word in re.finditer(r"\S+", text):
                x = EDGE + (column + word.start()) * CELL
                length = f' textLength="{len(word[0]) * CELL:.1f}"' if len(word[0]) > 1 else ""
                words.append(f'<tspan x="{x:.1f}"{length} fill="{colour}">{html.escape(word[0])}</tspan>')
            column += len(text)
        if column > WIDTH:
            sys.exit(f"wider than {WIDTH} columns: {line}")
        if words:
            out.append(f'<text y="{BAR + LINE * row + 16}">{"".join(words)}</text>')
    return "\n".join([*out, "</svg>", ""])


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    out = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else pathlib.Path(__file__).with_name("search.svg")
    with tempfile.TemporaryDirectory() as folder:
        make_sounds(pathlib.Path(folder))
        lines = session(binary, folder)
    out.write_text(picture(lines))
    print("\n".join(lines))


main()
