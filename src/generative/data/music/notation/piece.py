"""One piece of music: notes in voices, keys and metres, all times in ticks."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

QUARTER = 48  # ticks: sixty-fourths and triplets of thirty-seconds are whole numbers of them
SIXTEENTH = QUARTER // 4
NAMES = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"]
FIFTHS = ["Fb", "Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#", "G#", "D#", "A#", "E#", "B#"]
MODES = {"major": 0, "minor": -3, "dorian": -2, "phrygian": -4, "lydian": 1, "mixolydian": -1, "aeolian": -3, "ionian": 0, "locrian": -5}


class Note(NamedTuple):
    start: int  # ticks from the beginning
    length: int
    pitch: int  # MIDI's number: 60 is C4


@dataclass(frozen=True)
class Piece:
    """Voices from the highest down, each a list of notes in order of time."""

    title: str
    names: list[str]  # of the voices
    voices: list[list[Note]]
    keys: list[tuple[int, str]] = field(default_factory=list)  # (start, name such as "F#:minor")
    meters: list[tuple[int, str]] = field(default_factory=list)  # (start, name such as "6/8")
    upbeat: int = 0  # ticks before the first whole bar

    @property
    def length(self) -> int:
        """Ticks to the end of the last note."""
        return max((note.start + note.length for voice in self.voices for note in voice), default=0)


def pitch_name(pitch: int) -> str:
    """60 is C4."""
    return f"{NAMES[pitch % 12]}{pitch // 12 - 1}"


def key_name(fifths: int, mode: str) -> str:
    """The key with this signature: (1, "minor") is "E:minor". Raises: ValueError: no such mode or too many signs."""
    place = fifths - MODES[mode] + FIFTHS.index("C") if mode in MODES else -1
    if not 0 <= place < len(FIFTHS):
        raise ValueError(f"no key of {fifths} fifths in {mode}")
    return f"{FIFTHS[place]}:{mode}"


def fifths_of(key: str) -> int:
    """Sharps (above 0) or flats (below 0) in the signature of a key."""
    tonic, _, mode = key.partition(":")
    return FIFTHS.index(tonic) - FIFTHS.index("C") + MODES[mode]


def bar_of(meter: str) -> int:
    """Ticks of a bar."""
    beats, _, unit = meter.partition("/")
    return int(beats) * 4 * QUARTER // int(unit)


def skyline(voices: list[list[Note]]) -> list[Note]:
    """One voice of many: at each moment the highest pitch that sounds; a note that stays the highest stays one note."""
    edges = sorted({tick for voice in voices for note in voice for tick in (note.start, note.start + note.length)})
    waiting = sorted((note for voice in voices for note in voice if note.length), key=lambda note: note.start)
    sounding: list[Note] = []
    line: list[Note] = []
    last: Note | None = None
    place = 0
    for start, end in pairwise(edges):
        while place < len(waiting) and waiting[place].start <= start:
            sounding.append(waiting[place])
            place += 1
        sounding = [note for note in sounding if note.start + note.length > start]
        top = max(sounding, key=lambda note: (note.pitch, note.start), default=None)
        if top is not None and top is last:
            line[-1] = line[-1]._replace(length=end - line[-1].start)
        elif top is not None:
            line.append(Note(start, end - start, top.pitch))
        last = top
    return line
