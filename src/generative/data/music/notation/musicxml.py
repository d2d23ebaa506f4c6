"""Reads scores in MusicXML, plain or zipped: what music21 gives note for note, in a tenth of its time."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from generative.data.music.notation.piece import QUARTER, Note, Piece, bar_of, key_name

FINE = 10_080  # of a quarter: what a score divides it into divides this; fractions proper would take three times as long
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


@dataclass
class _Part:
    """What is known while a part is read; times in parts of a quarter, `FINE` of them."""

    divisions: int = 1
    bar: int = 0  # where this measure begins
    now: int = 0
    last: int = 0  # where the last note began, for chords
    end: int = 0  # the furthest that this measure reaches
    bars: list[int] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    keys: list[tuple[int, str]] = field(default_factory=list)
    meters: list[tuple[int, str]] = field(default_factory=list)


def unpacked(content: bytes) -> bytes:
    """The score in a zipped MusicXML file. Raises: ValueError: none inside."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inside = [name for name in archive.namelist() if not name.startswith("META-INF") and name.endswith((".xml", ".musicxml"))]
            if not inside:
                raise ValueError("no score in the archive")
            return archive.read(inside[0])
    except zipfile.BadZipFile as error:
        raise ValueError(f"no zip archive: {error}") from None


def read(content: bytes, title: str) -> Piece:
    """A voice a part, in the order of the score; tied notes stay apart. Raises: ValueError: not XML, or no partwise score."""
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ValueError(f"no XML: {error}") from None
    if root.tag != "score-partwise":
        raise ValueError(f"expected a partwise score, got {root.tag}")
    names = {part.get("id"): (part.findtext("part-name") or "").strip() for part in root.iter("score-part")}
    parts = [(names.get(part.get("id"), ""), _part(part)) for part in root.findall("part")]
    if not parts:
        raise ValueError("no parts")
    first = parts[0][1]
    upbeat = _ticks(first.bars[1]) if len(first.bars) > 1 else 0
    whole = bar_of(first.meters[0][1]) if first.meters else 0
    voices = [sorted(part.notes) for _, part in parts]
    return Piece(title, [name for name, _ in parts], voices, first.keys, first.meters, upbeat if upbeat < whole else 0)


def _ticks(time: int) -> int:
    return round(time * QUARTER / FINE)


def _part(part: Element) -> _Part:
    state = _Part()
    for measure in part.findall("measure"):
        state.bars.append(state.bar)
        state.now = state.end = state.bar
        for element in measure:
            _READERS.get(element.tag, _nothing)(state, element)
        state.bar = state.end
    return state


def _nothing(state: _Part, element: Element) -> None:
    """Directions, layout and the like."""


def _attributes(state: _Part, element: Element) -> None:
    state.divisions = int(element.findtext("divisions") or state.divisions)
    fifths, beats = element.findtext("key/fifths"), element.findtext("time/beats")
    if fifths is not None:
        state.keys.append((_ticks(state.now), key_name(int(fifths), element.findtext("key/mode") or "major")))
    if beats is not None:
        state.meters.append((_ticks(state.now), f"{int(beats)}/{int(element.findtext('time/beat-type') or 4)}"))


def _duration(state: _Part, element: Element) -> int:
    return round(float(element.findtext("duration") or 0) * FINE / state.divisions)


def _note(state: _Part, element: Element) -> None:
    if element.find("grace") is not None or element.find("cue") is not None:
        return
    length = _duration(state, element)
    start = state.last if element.find("chord") is not None else state.now
    step = element.findtext("pitch/step")
    if step is not None:
        alter = round(float(element.findtext("pitch/alter") or 0))
        pitch = 12 * (int(element.findtext("pitch/octave") or 0) + 1) + STEPS[step] + alter
        state.notes.append(Note(_ticks(start), _ticks(start + length) - _ticks(start), pitch))
    state.last = start
    _move(state, start + length)


def _move(state: _Part, now: int) -> None:
    state.now = now
    state.end = max(state.end, now)


_READERS = {
    "attributes": _attributes,
    "note": _note,
    "backup": lambda state, element: _move(state, state.now - _duration(state, element)),
    "forward": lambda state, element: _move(state, state.now + _duration(state, element)),
}
