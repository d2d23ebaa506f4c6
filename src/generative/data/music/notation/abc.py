"""Reads tunes in ABC notation (standard 2.1), one voice each.

Repeats are not played out, grace notes and ornaments are left out, and of a chord the highest pitch is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction

from generative.data.music.notation.piece import MODES, QUARTER, Note, Piece, bar_of, key_name

STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
SHARPS = "FCGDAEB"
ACCIDENTALS = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}
TUPLETS = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}  # that many in the time of
LENGTH = r"(?P<over>\d*)(?P<slash>/*)(?P<under>\d*)"
PITCH = r"(?P<sign>\^\^|\^|__|_|=)?(?P<letter>[A-Ga-g])(?P<octave>[,']*)"
SCANNER = re.compile(
    r'(?P<skip>"[^"\n]*"|![^!\n]*!|\{[^}\n]*\})'
    r"|\[(?P<field>[A-Za-z]):(?P<value>[^\]\n]*)\]"
    r"|(?P<bar>:*\|[\]|:]*|::+|\[[|\d])"
    r"|\((?P<tuplet>\d)(?::(?P<time>\d*))?(?::(?P<count>\d*))?"
    rf"|(?:\[(?P<chord>[^\]\n]*)\]|{PITCH}|(?P<rest>[zx])){LENGTH}"
    r"|(?P<tie>-)|(?P<broken>>+|<+)"
)
INSIDE = re.compile(PITCH + LENGTH)


@dataclass
class _Tune:
    """What is known while a tune is read; lengths in whole notes."""

    unit: Fraction = Fraction(0)
    now: Fraction = Fraction(0)
    signs: dict[str, int] = field(default_factory=dict)  # of the key, by letter
    bar: dict[str, int] = field(default_factory=dict)  # accidentals since the last bar line, by letter and octave
    factor: Fraction = Fraction(1)  # of the next note, after a broken rhythm
    left: int = 0  # notes of a tuplet that are still to come, each by `tuplet`
    tuplet: Fraction = Fraction(1)
    tied: bool = False
    place: str = ""  # letter and octave of the last note
    notes: list[tuple[Fraction, Fraction, int | None]] = field(default_factory=list)  # (start, length, pitch or rest)
    keys: list[tuple[Fraction, str]] = field(default_factory=list)
    meters: list[tuple[Fraction, str]] = field(default_factory=list)
    first_bar: Fraction | None = None


def tunes(text: str) -> list[str]:
    """The tunes of a file, each from its X: line on."""
    return [f"X:{part}" for part in re.split(r"^X:", text, flags=re.MULTILINE)[1:]]


def title_of(tune: str) -> str:
    """The first title, or the number."""
    found = re.search(r"^T:\s*(.+?)\s*$", tune, re.MULTILINE) or re.search(r"^(X:.*?)\s*$", tune, re.MULTILINE)
    return found.group(1) if found else ""


def read(tune: str) -> Piece:
    """One tune. Raises: ValueError: no key, a key or metre that is unknown, or no notes."""
    state = _Tune()
    lines = [re.sub(r"%.*", "", line).rstrip() for line in tune.splitlines()]
    for line in lines:
        if line[1:2] == ":" and line[0].isalpha():
            _field(state, line[0], line[2:].strip())
        elif state.keys:
            _line(state, line)
    if not state.keys:
        raise ValueError("no key")
    return _piece(state, title_of(tune))


def _piece(state: _Tune, title: str) -> Piece:
    def ticks(time: Fraction) -> int:
        return round(time * 4 * QUARTER)

    notes = [Note(ticks(s), ticks(s + length) - ticks(s), pitch) for s, length, pitch in state.notes if pitch is not None]
    if not notes:
        raise ValueError("no notes")
    meters = [(ticks(at), name) for at, name in state.meters]
    upbeat = ticks(state.first_bar or Fraction(0))
    whole = bar_of(meters[0][1]) if meters else 0
    keys = [(ticks(at), name) for at, name in state.keys]
    return Piece(title, ["tune"], [notes], keys, meters, upbeat if upbeat < whole else 0)


def _field(state: _Tune, name: str, value: str) -> None:
    if name == "L":
        if not re.fullmatch(r"\d+(/0*[1-9]\d*)?", value):
            raise ValueError(f"unit {value!r}")
        state.unit = Fraction(value)
    elif name == "M" and value.lower() not in ("", "none"):
        meter = {"C": "4/4", "C|": "2/2"}.get(value, value)
        if not re.fullmatch(r"\d{1,2}/(1|2|4|8|16)", meter):
            raise ValueError(f"metre {value!r}")
        state.meters.append((state.now, meter))
    elif name == "K":
        _key(state, value)
    if name == "K" and not state.unit:  # the standard's own unit: a sixteenth in short metres, else an eighth
        short = bool(state.meters) and Fraction(state.meters[-1][1]) < Fraction(3, 4)
        state.unit = Fraction(1, 16 if short else 8)


def _key(state: _Tune, value: str) -> None:
    found = re.match(r"([A-G])([#b]?)\s*([A-Za-z]*)(.*)", value)
    if not found:
        raise ValueError(f"key {value!r}")
    tonic, sign, mode, more = found.groups()
    short = "minor" if mode == "m" else mode.lower()[:3]
    full = next((name for name in MODES if short and name.startswith(short)), "major" if not short or mode == "M" else "")
    if not full:
        raise ValueError(f"key {value!r}")
    place = "FCGDAEB".index(tonic) - 1 + {"#": 7, "b": -7, "": 0}[sign]
    fifths = place + MODES[full]
    state.signs = dict.fromkeys(SHARPS[:fifths], 1) if fifths > 0 else dict.fromkeys(SHARPS[fifths:] if fifths else "", -1)
    for accidental, letter in re.findall(r"(\^\^|\^|__|_|=)([A-Ga-g])", more):
        state.signs[letter.upper()] = ACCIDENTALS[accidental]
    state.keys.append((state.now, key_name(fifths, full)))


def _line(state: _Tune, line: str) -> None:
    for found in SCANNER.finditer(line):
        if found["field"]:
            _field(state, found["field"], found["value"].strip())
        elif found["bar"]:
            state.bar = {}
            state.first_bar = state.now if state.first_bar is None and state.now else state.first_bar
        elif found["tuplet"]:
            _tuplet(state, int(found["tuplet"]), found["time"], found["count"])
        elif found["tie"]:
            state.tied = True
        elif found["broken"]:
            _broken(state, found["broken"])
        elif found["chord"] is not None:
            inside = list(INSIDE.finditer(found["chord"]))
            if inside:
                _add(state, max(_pitch(state, note) for note in inside), _length(inside[0]) * _length(found))
        elif found["letter"] or found["rest"]:
            _add(state, _pitch(state, found) if found["letter"] else None, _length(found))


def _tuplet(state: _Tune, number: int, time: str | None, count: str | None) -> None:
    compound = bool(state.meters) and int(state.meters[-1][1].partition("/")[0]) % 3 == 0
    within = int(time) if time else TUPLETS.get(number, 3 if compound else 2)
    if number:
        state.tuplet, state.left = Fraction(within, number), int(count) if count else number


def _broken(state: _Tune, marks: str) -> None:
    """a>b: the first longer by half, the second shorter by half; each further mark halves the rest again."""
    if not state.notes:
        return
    less = Fraction(1, 2 ** len(marks))
    mine, state.factor = (2 - less, less) if marks[0] == ">" else (less, 2 - less)
    start, length, pitch = state.notes[-1]
    state.notes[-1] = (start, length * mine, pitch)
    state.now = start + length * mine


def _add(state: _Tune, pitch: int | None, length: Fraction) -> None:
    length *= state.unit * state.factor
    state.factor = Fraction(1)
    if state.left:
        length *= state.tuplet
        state.left -= 1
    if state.tied and state.notes and state.notes[-1][2] == pitch:
        start, before, _ = state.notes[-1]
        state.notes[-1] = (start, before + length, pitch)
    else:
        state.notes.append((state.now, length, pitch))
    state.tied = False
    state.now += length


def _pitch(state: _Tune, found: re.Match[str]) -> int:
    letter = found["letter"].upper()
    octave = 5 + found["letter"].islower() + found["octave"].count("'") - found["octave"].count(",")
    place = f"{letter}{octave}"
    if found["sign"]:
        state.bar[place] = ACCIDENTALS[found["sign"]]
    elif state.tied and place == state.place and state.notes and state.notes[-1][2] is not None:
        return state.notes[-1][2]  # an accidental holds for a tied note beyond the bar line
    state.place = place
    return 12 * octave + STEPS[letter] + state.bar.get(place, state.signs.get(letter, 0))


def _length(found: re.Match[str]) -> Fraction:
    over = int(found["over"] or 1)
    if not found["slash"]:
        return Fraction(over)
    return Fraction(over, int(found["under"] or 2 ** len(found["slash"])) or 1)
