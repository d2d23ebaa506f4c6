"""Plays notes on the instruments of a SoundFont 2 file, such as the one that comes with pretty_midi, into an array of samples.

Of the standard's generators those are heeded that choose a sample and say its pitch, loop, loudness, attack and release; filters, vibrato,
chorus and reverberation are left out. Tables: SoundFont Technical Specification 2.04, chapter 7 and section 8.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generative.errors import UsageError

LOOP_START, LOOP_END, ATTACK, RELEASE, INSTRUMENT, KEYS, VELOCITIES = 2, 3, 34, 38, 41, 43, 44
LOOP_START_COARSE, LOOP_END_COARSE, ATTENUATION, COARSE, FINE, SAMPLE, MODES, ROOT = 45, 50, 48, 51, 52, 53, 54, 58
SIGNED = {LOOP_START, LOOP_END, LOOP_START_COARSE, LOOP_END_COARSE, ATTACK, RELEASE, ATTENUATION, COARSE, FINE}
VELOCITY = 80
RECORDS = {  # the tables of a file, as they stand there
    b"phdr": [("name", "S20"), ("program", "<u2"), ("bank", "<u2"), ("bag", "<u2"), ("rest", "V12")],
    b"inst": [("name", "S20"), ("bag", "<u2")],
    b"pbag": [("generator", "<u2"), ("modulator", "<u2")],
    b"ibag": [("generator", "<u2"), ("modulator", "<u2")],
    b"pgen": [("kind", "<u2"), ("amount", "<u2")],
    b"igen": [("kind", "<u2"), ("amount", "<u2")],
    b"shdr": [
        ("name", "S20"), ("start", "<u4"), ("end", "<u4"), ("loop_start", "<u4"), ("loop_end", "<u4"), ("rate", "<u4"), ("root", "u1"),
        ("correction", "i1"), ("link", "<u2"), ("type", "<u2"),
    ],
}  # fmt: skip
Zone = dict[int, int]


@dataclass(frozen=True)
class Font:
    tables: dict[bytes, Any]
    samples: NDArray[np.int16]

    def zones(self, program: int, pitch: int) -> list[Zone]:
        """The generators of each sample that sounds together for a pitch of an instrument."""
        chosen = []
        presets = self.tables[b"phdr"]
        number = next(i for i, preset in enumerate(presets) if preset["program"] == program and preset["bank"] == 0)
        for preset in self._zones(b"phdr", b"pbag", b"pgen", number, INSTRUMENT):
            if _covers(preset, pitch):
                for zone in self._zones(b"inst", b"ibag", b"igen", preset[INSTRUMENT], SAMPLE):
                    if _covers(zone, pitch):
                        added = {kind: preset.get(kind, 0) for kind in (ATTENUATION, COARSE, FINE)}  # the preset's come on top
                        chosen.append({**zone, **{kind: zone.get(kind, 0) + more for kind, more in added.items()}})
        return chosen

    def _zones(self, heads: bytes, bags: bytes, generators: bytes, number: int, last: int) -> list[Zone]:
        """The zones of a preset or an instrument, each with what its first, global one says of all."""
        first, end = (int(self.tables[heads][number + i]["bag"]) for i in (0, 1))
        common: Zone = {}
        zones = []
        for bag in range(first, end):
            start, stop = (int(self.tables[bags][bag + i]["generator"]) for i in (0, 1))
            own = {int(row["kind"]): _amount(int(row["kind"]), int(row["amount"])) for row in self.tables[generators][start:stop]}
            if last in own:
                zones.append({**common, **own})
            elif bag == first:
                common = own
        return zones


@cache
def general_midi() -> Font:
    """The font of pretty_midi. Raises: UsageError: it is not installed."""
    found = find_spec("pretty_midi")
    path = Path(found.origin).parent / "TimGM6mb.sf2" if found and found.origin else None
    if path is None or not path.is_file():
        raise UsageError("pretty_midi: not installed, but its sound font plays the recordings; `pip install pretty_midi` brings it")
    return read(path.read_bytes())


def read(content: bytes) -> Font:
    """A SoundFont 2 file."""
    chunks = dict(_chunks(content[12:]))
    return Font(
        {name: np.frombuffer(chunks[name], np.dtype(fields)) for name, fields in RECORDS.items()}, np.frombuffer(chunks[b"smpl"], "<i2")
    )


def tone(font: Font, program: int, pitch: int, seconds: float, rate: int) -> NDArray[np.float64]:
    """A note as samples, held for so long and then let go."""
    parts = [_played(font, zone, pitch, seconds, rate) for zone in font.zones(program, pitch)]
    total = np.zeros(max((len(part) for part in parts), default=0))
    for part in parts:
        total[: len(part)] += part
    return total


def _played(font: Font, zone: Zone, pitch: int, seconds: float, rate: int) -> NDArray[np.float64]:
    head = font.tables[b"shdr"][zone[SAMPLE]]
    root = zone.get(ROOT, int(head["root"]))
    semitones = pitch - root + zone[COARSE] + (zone[FINE] + int(head["correction"])) / 100
    step = 2 ** (semitones / 12) * int(head["rate"]) / rate
    release = min(0.5, max(0.05, _seconds(zone.get(RELEASE, -12000))))
    places = np.arange(int((seconds + release) * rate)) * step
    start, end = int(head["start"]), int(head["end"])
    loop_start = int(head["loop_start"]) - start + zone.get(LOOP_START, 0) + 32768 * zone.get(LOOP_START_COARSE, 0)
    loop_end = int(head["loop_end"]) - start + zone.get(LOOP_END, 0) + 32768 * zone.get(LOOP_END_COARSE, 0)
    if zone.get(MODES, 0) & 1 and loop_end > loop_start:
        places = np.where(places < loop_end, places, loop_start + (places - loop_start) % (loop_end - loop_start))
    else:
        places = places[places < end - start - 1]
    wave = np.interp(places, np.arange(end - start), font.samples[start:end] / 32768)
    return wave * _envelope(len(wave), zone, seconds, release, rate) * 10 ** (-0.4 * max(0, zone[ATTENUATION]) / 200)


def _envelope(length: int, zone: Zone, seconds: float, release: float, rate: int) -> NDArray[np.float64]:
    time = np.arange(length) / rate
    attack = min(0.15, max(0.004, _seconds(zone.get(ATTACK, -12000))))
    return np.minimum(1, time / attack) * np.clip(1 - (time - seconds) / release, 0, 1) ** 2


def _seconds(timecents: int) -> float:
    return 2 ** (timecents / 1200)


def _amount(kind: int, amount: int) -> int:
    return amount - 65536 if kind in SIGNED and amount >= 32768 else amount


def _covers(zone: Zone, pitch: int) -> bool:
    """Whether a zone is for this pitch, at the one velocity that is played."""
    keys, velocities = zone.get(KEYS, 127 << 8), zone.get(VELOCITIES, 127 << 8)
    return keys & 255 <= pitch <= keys >> 8 and velocities & 255 <= VELOCITY <= velocities >> 8


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Names and contents of all chunks of a RIFF file, those within lists too."""
    chunks, place = [], 0
    while place + 8 <= len(content):
        name, size = content[place : place + 4], struct.unpack("<I", content[place + 4 : place + 8])[0]
        body = content[place + 8 : place + 8 + size]
        chunks += _chunks(body[4:]) if name == b"LIST" else [(name, body)]
        place += 8 + size + size % 2
    return chunks
