"""Pieces as tokens and back, in the two forms of the published models.

Events (music_transformer): a melody as two streams of equal length, "notes" and "durations". A piece begins with START; then come, in
order of time, keys ("D:major"), metres ("6/8"), pitches ("F#4") and "rest". A duration is a fraction of a quarter, 0 for what takes no
time.

Grid (musegan): a row a sixteenth, a column a voice, each token the pitch that sounds, by MIDI's number; `REST` is silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from generative.data.music.notation.piece import NAMES, QUARTER, SIXTEENTH, Note, Piece, bar_of, pitch_name

START, SILENCE, NO_TIME = "START", "rest", "0"
EVENTS = ["notes", "durations"]
PITCHES = 84  # of the grid, as published
REST = 83  # as published; no voice of a chorale goes so high
Vocabulary = Mapping[str, Sequence[str]]


def events_of(piece: Piece) -> list[tuple[str, str]]:
    """(note, duration) of everything in the first voice; an upbeat gets a rest before it that fills its bar."""
    shift = bar_of(piece.meters[0][1]) - piece.upbeat if piece.upbeat and piece.meters else 0
    signs = [(at, 0, name, 0) for at, name in piece.keys] + [(at, 1, name, 0) for at, name in piece.meters]
    sounds, now = [], -shift
    for note in piece.voices[0]:
        if note.start > now:
            sounds.append((now, 2, SILENCE, note.start - now))
        sounds.append((note.start, 2, pitch_name(note.pitch), note.length))
        now = note.start + note.length
    events = sorted([(at or -shift, order, name, length) for at, order, name, length in signs] + sounds, key=lambda e: e[:2])
    return [(START, NO_TIME), *((name, str(Fraction(length, QUARTER))) for _, _, name, length in events)]


def is_pitch(token: str) -> bool:
    return token[0] in "ABCDEFG" and ":" not in token


def pitch_of(token: str) -> int:
    """MIDI's number of a pitch's name."""
    cut = 2 if token[1] in "#b" else 1
    return NAMES.index(token[:cut]) + 12 * (int(token[cut:]) + 1)


def vocabulary_of(pieces: Sequence[list[tuple[str, str]]]) -> dict[str, list[str]]:
    """The tokens that occur: START, rest, keys, metres, then pitches from low to high; durations from short to long."""
    notes = {note for piece in pieces for note, _ in piece} - {START, SILENCE}
    signs = sorted(note for note in notes if not is_pitch(note))
    pitches = sorted((note for note in notes if is_pitch(note)), key=pitch_of)
    durations = sorted({duration for piece in pieces for _, duration in piece}, key=Fraction)
    return {"notes": [START, SILENCE, *sorted(signs, key=lambda s: (":" not in s, s)), *pitches], "durations": durations}


def encoded(events: list[tuple[str, str]], vocabulary: Vocabulary) -> NDArray[np.int64]:
    """(T, 2). Raises: KeyError: a token that the vocabulary lacks."""
    places = [{token: i for i, token in enumerate(vocabulary[stream])} for stream in EVENTS]
    return np.array([[places[0][note], places[1][duration]] for note, duration in events], np.int64).reshape(-1, 2)


def grid_of(piece: Piece, bars: int, steps: int) -> NDArray[np.int64]:
    """(N, bars * steps, voices): excerpts of `bars` bars of `steps` sixteenths, one after another from the first whole bar on."""
    first, size = piece.upbeat, bars * steps
    count = (piece.length - first) // SIXTEENTH // size
    rows = np.full((count * size, len(piece.voices)), REST, np.int64)
    for column, voice in enumerate(piece.voices):
        for note in voice:
            start, end = (-(-(tick - first) // SIXTEENTH) for tick in (note.start, note.start + note.length))
            rows[max(0, start) : max(0, end), column] = min(note.pitch, REST)
    return rows.reshape(count, size, len(piece.voices))


def grid_vocabulary(voices: Sequence[str]) -> dict[str, list[str]]:
    """The tokens of each voice."""
    return {voice: [*map(pitch_name, range(REST)), SILENCE] for voice in voices}


def piece_of(x: NDArray[np.int64], vocabulary: Vocabulary, title: str) -> Piece:
    """One example (T, S) as a piece, whichever form its vocabulary says."""
    return _from_events(x, vocabulary, title) if list(vocabulary) == EVENTS else _from_grid(x, list(vocabulary), title)


def _from_events(x: NDArray[np.int64], vocabulary: Vocabulary, title: str) -> Piece:
    """What stands before the first START and after the second belongs to other pieces, and is left out."""
    piece, now = Piece(title, ["melody"], [[]]), 0
    names = [(vocabulary["notes"][int(note)], vocabulary["durations"][int(duration)]) for note, duration in x]
    starts = [i for i, (note, _) in enumerate(names) if note == START]
    begin = starts[0] + 1 if starts and starts[0] == 0 else 0
    end = next((i for i in starts if i >= begin), len(names))
    for note, duration in names[begin:end]:
        length = round(Fraction(duration) * QUARTER)
        if ":" in note:
            piece.keys.append((now, note))
        elif "/" in note:
            piece.meters.append((now, note))
        elif is_pitch(note) and length:
            piece.voices[0].append(Note(now, length, pitch_of(note)))
        now += length if is_pitch(note) or note == SILENCE else 0
    return piece


def _from_grid(x: NDArray[np.int64], names: list[str], title: str) -> Piece:
    """A pitch sounds until it changes, but is struck again on each beat, as chorales are sung and as published."""
    voices: list[list[Note]] = []
    for column in x.T:
        voice: list[Note] = []
        for step, pitch in enumerate(column.tolist()):
            held = step and pitch == column[step - 1] and step % 4
            if pitch != REST and held:
                voice[-1] = voice[-1]._replace(length=voice[-1].length + SIXTEENTH)
            elif pitch != REST:
                voice.append(Note(step * SIXTEENTH, SIXTEENTH, pitch))
        voices.append(voice)
    return Piece(title, names, voices, [], [(0, "4/4")])
