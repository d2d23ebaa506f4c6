"""Pieces of music as files: a score, MusicXML, MIDI, a recording and a piano roll; the same bytes for the same piece."""

from __future__ import annotations

import io
import re
import wave
from contextlib import redirect_stderr
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from generative.data.music.notation import midi, tokens
from generative.data.music.notation.piece import FIFTHS, QUARTER, Note, Piece, fifths_of, skyline
from generative.data.store import Info
from generative.errors import UsageError
from generative.models.exhibit import Music
from generative.stages import soundfont

FORMS = {
    ".png": "the score, as engraved.",
    ".wav": "a recording, to be heard.",
    ".mid": "for a sequencer or player.",
    ".musicxml": "for a notation program.",
}
RATE = 22_050  # samples a second of a recording
TEMPO = {True: 84, False: 108}  # quarters a minute of a piece in several voices, and of a melody
ORGAN, VIOLIN, CELLO = 19, 40, 42  # General MIDI's instruments
ENGRAVING = {"pageWidth": 1600, "pageHeight": 60_000, "adjustPageHeight": True, "scale": 50, "header": "none", "footer": "none"}
LOW = 57  # a melody that lies below this pitch on average is played by a cello


def write(music: Music, folder: Path) -> dict[str, str]:
    """Writes the files of all pieces; returns their names with their captions."""
    captions: dict[str, str] = {f"{music.name}.png": f"{music.caption} Piano rolls: pitch over time."}
    (folder / f"{music.name}.png").write_bytes(rolls(music.pieces))
    for number, piece in enumerate(music.pieces):
        for ending, content in rendered(piece).items():
            file = f"{music.name}_{number + 1}{ending}"
            (folder / file).write_bytes(content)
            captions[file] = f"{piece.title}: {FORMS[ending]}"
    return captions


def rendered(piece: Piece) -> dict[str, bytes]:
    """The files of a piece by the ending of their names."""
    programs, tempo = _programs(piece), TEMPO[len(piece.voices) > 1]
    sheet = musicxml(piece)
    return {
        ".png": engraved(sheet),
        ".wav": recording(piece, tempo, programs),
        ".mid": midi.written(piece, tempo, programs),
        ".musicxml": sheet.encode(),
    }


def begun(path: Path, info: Info) -> Tensor:
    """(T, 2): a MIDI file as events of the data set, to be gone on from; a duration that it does not know becomes the nearest that it does.

    Raises:
        UsageError: no such file or none that can be read, other data than melodies, or a pitch that they do not have.
    """
    if list(info.vocabulary) != tokens.EVENTS:
        raise UsageError(f"--continue: {info.name} has no melodies")
    try:
        piece = midi.read(path, [QUARTER])
    except ValueError as reason:
        raise UsageError(f"--continue: {path}: {reason}") from None
    notes, lasting = info.vocabulary["notes"], [d for d in info.vocabulary["durations"] if d != tokens.NO_TIME]
    line = Piece(piece.title, ["melody"], [skyline(piece.voices)], piece.keys, piece.meters)
    events = [event for event in tokens.events_of(line) if event[0] in notes or tokens.is_pitch(event[0])]  # no unknown key or metre
    foreign = sorted({note for note, _ in events} - set(notes))
    if foreign:
        raise UsageError(f"--continue: {path}: {info.name} has no {', '.join(foreign)}")
    near = [(note, time if time == tokens.NO_TIME else min(lasting, key=partial(_apart, time))) for note, time in events]
    return torch.from_numpy(tokens.encoded(near, info.vocabulary))


def _apart(one: str, other: str) -> Fraction:
    return abs(Fraction(one) - Fraction(other))


def _programs(piece: Piece) -> list[int]:
    if len(piece.voices) > 1:
        return [ORGAN] * len(piece.voices)
    pitches = [note.pitch for note in piece.voices[0]]
    return [CELLO if pitches and sum(pitches) / len(pitches) < LOW else VIOLIN]


def musicxml(piece: Piece) -> str:
    """The piece as a score, with bars, beams and ties found by music21."""
    score = _score(piece)
    from music21.musicxml.m21ToXml import GeneralObjectExporter

    text = GeneralObjectExporter(score).parse().decode()
    # what differs from run to run: the day, and identifiers from addresses in memory
    text = re.sub(r"\s*<encoding-date>.*?</encoding-date>", "", text)
    names = list(dict.fromkeys(re.findall(r'id="([PI][0-9a-f]{6,})"', text)))
    for number, name in enumerate(names):
        text = text.replace(name, f"{name[0]}{number + 1}")
    return text


def _score(piece: Piece) -> Any:
    from music21 import clef, metadata, stream

    score = stream.Score()
    score.metadata = metadata.Metadata(title=piece.title, composer="")
    for number, (name, voice) in enumerate(zip(piece.names, piece.voices, strict=True)):
        part = stream.Part(id=f"P{number + 1}")
        part.partName = name
        _fill(part, piece, voice)
        part.insert(0, clef.bestClef(part))
        with redirect_stderr(io.StringIO()):  # music21 remarks on rhythms that it has never seen, and writes them all the same
            score.insert(0, part.makeNotation())
    return score


def _fill(part: Any, piece: Piece, voice: list[Note]) -> None:
    from music21 import key, meter, note, pitch

    for at, name in piece.meters or [(0, "4/4")]:
        part.insert(at / QUARTER, meter.TimeSignature(name))
    for at, name in piece.keys:
        tonic, _, mode = name.partition(":")
        part.insert(at / QUARTER, key.Key(_flat(tonic), mode))
    for sound in voice:
        fifths = next((fifths_of(name) for at, name in reversed(piece.keys) if at <= sound.start), 0)
        step, octave = spelled(sound.pitch, fifths)
        written = note.Note(pitch.Pitch(step, octave=octave), quarterLength=Fraction(sound.length, QUARTER))
        part.insert(Fraction(sound.start, QUARTER), written)
    part.makeRests(fillGaps=True, inPlace=True, timeRangeFromBarDuration=False)


def spelled(pitch: int, fifths: int) -> tuple[str, int]:
    """The name and octave of a pitch in a key of so many fifths: 66 is F#, 4 in D major and G-, 4 (music21's G flat) in D flat major."""
    at = next(place for place in range(fifths - 3, fifths + 9) if (place * 7 - pitch) % 12 == 0)
    name = FIFTHS[max(0, min(len(FIFTHS) - 1, at + FIFTHS.index("C")))]
    octave = pitch // 12 - 1 + {"Cb": 1, "B#": -1}.get(name, 0)
    return _flat(name), octave


def _flat(name: str) -> str:
    """music21 writes flats as -."""
    return name[0] + name[1:].replace("b", "-")


def engraved(sheet: str) -> bytes:
    """The score as a PNG on white, one long page."""
    import verovio
    import vl_convert
    from PIL import Image

    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    toolkit.setOptions({**ENGRAVING, "xmlIdSeed": 1})
    if not toolkit.loadData(sheet):
        raise ValueError("verovio cannot read the score")
    pictures = [Image.open(io.BytesIO(vl_convert.svg_to_png(toolkit.renderToSVG(page + 1)))) for page in range(toolkit.getPageCount())]
    canvas = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), "white")
    top = 0
    for picture in pictures:
        canvas.paste(picture, (0, top), picture)
        top += picture.height
    buffer = io.BytesIO()
    canvas.convert("L").save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def rolls(pieces: list[Piece]) -> bytes:
    """Piano rolls below each other as a PNG, a colour a voice."""
    import matplotlib.style
    from matplotlib.figure import Figure

    from generative.stages.style import STYLE, colours

    longest = max(1, *(piece.length for piece in pieces)) / QUARTER
    with matplotlib.style.context(STYLE, after_reset=True):
        figure = Figure(figsize=(min(14, 3 + longest / 6), 1.9 * len(pieces)), layout="constrained")
        for axes, piece in zip(figure.subplots(len(pieces), 1, squeeze=False, sharex=True)[:, 0], pieces, strict=True):
            for voice, name, colour in zip(piece.voices, piece.names, colours(len(piece.voices)), strict=True):
                # a little short, so that notes on one pitch stand apart
                lengths, starts = [(n.length - 2) / QUARTER for n in voice], [n.start / QUARTER for n in voice]
                axes.barh([n.pitch for n in voice], lengths, left=starts, height=0.9, color=colour, label=name)
            axes.set_title(piece.title, fontsize=9, loc="left")
            axes.set_ylabel("pitch")
        axes.set_xlabel("quarters")
        if len(pieces[0].voices) > 1:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.5), ncols=4, frameon=False, fontsize=8)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def recording(piece: Piece, tempo: int, programs: list[int]) -> bytes:
    """A WAV of the piece, mono, played on the instruments of a General MIDI font."""
    font, tick = soundfont.general_midi(), 60 / tempo / QUARTER  # seconds
    sound = np.zeros(int((piece.length * tick + 1) * RATE))
    for voice, program in zip(piece.voices, programs, strict=True):
        for note in voice:
            tone = soundfont.tone(font, program, note.pitch, note.length * tick, RATE)
            start = int(note.start * tick * RATE)
            sound[start : start + len(tone)] += tone
    loudest = np.abs(sound).max(initial=1e-9)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((sound / loudest * 0.8 * 32767).astype("<i2").tobytes())
    return buffer.getvalue()
