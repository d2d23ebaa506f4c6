"""Reads and writes standard MIDI files, through mido; the same piece gives the same bytes."""

from __future__ import annotations

import io
import struct
from collections import defaultdict
from pathlib import Path
from typing import Any

from generative.data.music.notation.piece import FIFTHS, QUARTER, Note, Piece, fifths_of, key_name

MOST_BYTES = 1 << 22  # of a file
MOST_TRACKS = 64
MOST_BEATS = 64  # of a bar, and of a whole note
LONGEST = 10_000  # quarters that a piece may last
RESOLUTION = 480  # MIDI's ticks of a quarter that we write
BROKEN = (OSError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error, OverflowError)  # what mido raises


def read(path: Path, divisions: list[int]) -> Piece:
    """A voice for each track and channel that has notes; drums are left out.

    Args:
        divisions: equal parts of a quarter: onsets and ends move to the nearest part of any of them.

    Raises:
        ValueError: why the file cannot be used.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    _check(content)
    import mido

    try:
        file = mido.MidiFile(file=io.BytesIO(content), clip=True)
    except (*BROKEN, mido.KeySignatureError) as error:
        raise ValueError(f"broken: {str(error) or type(error).__name__}") from None
    return _piece(file, path.stem, divisions)


def _check(content: bytes) -> None:
    if not content:
        raise ValueError("empty")
    if len(content) > MOST_BYTES:
        raise ValueError(f"{len(content):,} bytes, more than {MOST_BYTES:,}")
    if not content.startswith(b"MThd") or len(content) < 14:
        raise ValueError("not a MIDI file")
    tracks, resolution = struct.unpack(">Hh", content[10:14])
    if tracks > MOST_TRACKS:
        raise ValueError(f"{tracks:,} tracks, more than {MOST_TRACKS}")
    if resolution <= 0:
        raise ValueError("timed by film frames, not by quarters")


def _piece(file: Any, title: str, divisions: list[int]) -> Piece:
    scale = QUARTER / file.ticks_per_beat
    steps = [QUARTER / division for division in divisions]

    def ticks(time: int) -> int:
        exact = time * scale
        return round(min((round(exact / step) * step for step in steps), key=lambda near: abs(near - exact)))

    voices: dict[tuple[int, int], list[Note]] = defaultdict(list)
    keys: dict[int, str] = {}
    meters: dict[int, str] = {}
    for number, track in enumerate(file.tracks):
        now, open_notes = 0, defaultdict[tuple[int, int], list[int]](list)
        for message in track:
            now += message.time
            if now * scale > LONGEST * QUARTER:
                raise ValueError(f"longer than {LONGEST:,} quarters")
            if message.type == "key_signature":
                keys[ticks(now)] = _key(message.key)
            elif message.type == "time_signature" and message.numerator <= MOST_BEATS and message.denominator <= MOST_BEATS:
                meters[ticks(now)] = f"{message.numerator}/{message.denominator}"
            elif message.type in ("note_on", "note_off") and message.channel != 9:
                _sound(message, now, open_notes, voices[number, message.channel], ticks)
    lines = [sorted(voices[key]) for key in sorted(voices) if voices[key]]
    if not lines:
        raise ValueError("no notes")
    return Piece(title, [f"voice {i + 1}" for i in range(len(lines))], lines, sorted(keys.items()), sorted(meters.items()))


def _sound(message: Any, now: int, open_notes: Any, voice: list[Note], ticks: Any) -> None:
    """A note ends where its pitch is let go, or where the file says nothing more of it, not at all."""
    waiting = open_notes[message.channel, message.note]
    if message.type == "note_on" and message.velocity:
        waiting.append(now)
    elif waiting:
        start = ticks(waiting.pop(0))
        if ticks(now) > start:
            voice.append(Note(start, ticks(now) - start, message.note))


def _key(name: str) -> str:
    """mido's "Ebm" as "Eb:minor"."""
    minor = name.endswith("m")
    tonic = name.removesuffix("m")
    return key_name(FIFTHS.index(tonic) - FIFTHS.index("C") - 3 * minor, "minor" if minor else "major")


def written(piece: Piece, tempo: int, programs: list[int]) -> bytes:
    """The piece as a MIDI file: a track of signatures, then a track a voice.

    Args:
        tempo: quarters a minute.
        programs: General MIDI's instrument of each voice.
    """
    import mido

    file = mido.MidiFile(type=1, ticks_per_beat=RESOLUTION, charset="utf-8")
    signs: list[tuple[int, Any]] = [(0, mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo)))]
    signs += [(at, _signature(mido, name)) for at, name in piece.meters]
    signs += [(at, mido.MetaMessage("key_signature", key=_mido_key(name))) for at, name in piece.keys]
    file.tracks.append(_track(mido, signs))
    for number, (name, voice) in enumerate(zip(piece.names, piece.voices, strict=True)):
        channel = number % 9
        events: list[tuple[int, Any]] = [
            (0, mido.MetaMessage("track_name", name=name)),
            (0, mido.Message("program_change", channel=channel, program=programs[number])),
        ]
        sounds = [(note.start, 1, note.pitch) for note in voice] + [(note.start + note.length, 0, note.pitch) for note in voice]
        for at, on, pitch in sorted(sounds):
            events.append((at, mido.Message("note_on" if on else "note_off", channel=channel, note=pitch, velocity=80 if on else 0)))
        file.tracks.append(_track(mido, events))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def _track(mido: Any, events: list[tuple[int, Any]]) -> Any:
    now, track = 0, mido.MidiTrack()
    for at, message in sorted(events, key=lambda event: event[0]):
        at = at * RESOLUTION // QUARTER
        track.append(message.copy(time=at - now))
        now = at
    return track


def _signature(mido: Any, meter: str) -> Any:
    beats, _, unit = meter.partition("/")
    return mido.MetaMessage("time_signature", numerator=int(beats), denominator=int(unit))


def _mido_key(key: str) -> str:
    """The major or minor key with the signature of `key`, in mido's spelling."""
    minor = key.endswith(":minor")
    place = max(-7, min(7, fifths_of(key))) + 3 * minor
    return FIFTHS[place + FIFTHS.index("C")] + "m" * minor
