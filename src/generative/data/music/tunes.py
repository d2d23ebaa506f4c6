"""Monophonic tunes from the corpus that comes with music21: a collection of ABC files, such as Ryan's Mammoth Collection of 1883.

Nothing is downloaded, and music21 itself is not imported: its files are read by our own reader.
"""

from __future__ import annotations

import quopri
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import Field

from generative.data import store
from generative.data.music.notation import abc
from generative.data.music.notation.corpus import corpus
from generative.data.music.notation.melodies import Melodies, write
from generative.data.music.notation.piece import Piece
from generative.errors import UsageError
from generative.params import PARAMS_FILE

SHARED = 20  # notes from one to the next; where tunes share fewer, it is the common stock of reels and jigs
VARIED = 4  # different steps that such a run has at least: many tunes have a long trill or scale


class Params(Melodies):
    collection: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]  # the folder's name in the corpus


def download(params: Params, name: str, folder: Path) -> None:
    """Copies all ABC files of the collection into one."""
    source = corpus() / params.collection
    files = sorted(source.glob("*.abc"))
    if not files:
        there = sorted({path.parent.name for path in corpus().glob("*/*.abc")})
        raise UsageError(f"{PARAMS_FILE}: data.{name}.collection: expected one of {', '.join(there)}, got {params.collection!r}")
    content = b"\n\n".join(file.read_bytes() for file in files)
    (folder / "tunes.abc").write_bytes(content)


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """Windows of events; each tune is in one split only, with the other versions of it."""
    text = (raw / "tunes.abc").read_text(encoding="utf-8", errors="replace")
    pieces: list[Piece] = []
    notes: list[str] = []
    for tune in abc.tunes(text):
        if "=3D" in tune:  # some came by e-mail
            tune = quopri.decodestring(tune.encode()).decode("utf-8", errors="replace")
        try:
            pieces.append(abc.read(tune))
        except ValueError as reason:
            notes.append(f"skipped {abc.title_of(tune)}: {reason}")
    return write(params, name, folder, list(zip(versions(pieces), pieces, strict=True)), notes)


def versions(pieces: list[Piece]) -> list[str]:
    """The group of each piece: those that share a run of `SHARED` steps, in whatever key, are versions of one tune."""
    group, seen = list(range(len(pieces))), dict[tuple[tuple[int, int], ...], int]()

    def first(number: int) -> int:
        while group[number] != number:
            number = group[number]
        return number

    for number, piece in enumerate(pieces):
        notes = piece.voices[0]
        steps = [(after.pitch - before.pitch, after.start - before.start) for before, after in pairwise(notes)]
        for start in range(len(steps) - SHARED + 1):
            run = tuple(steps[start : start + SHARED])
            if len(set(run)) >= VARIED:
                low, high = sorted((first(number), first(seen.setdefault(run, number))))
                group[high] = low
    return [f"{first(number):06}" for number in range(len(pieces))]
