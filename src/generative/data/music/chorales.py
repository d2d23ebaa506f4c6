"""Bach's four-part chorales from the corpus that comes with music21, on a grid of sixteenths.

Nothing is downloaded, and music21 itself is not imported: its MusicXML is read by our own reader. Bars are the score's own: an example
begins with a bar, and chorales in other metres than that of `steps_per_bar` sixteenths are left out.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from generative.data import store
from generative.data.music.notation import musicxml, tokens
from generative.data.music.notation.corpus import corpus
from generative.data.music.notation.grids import VOICES, Grids, write
from generative.data.music.notation.melodies import split_by_group
from generative.data.music.notation.piece import SIXTEENTH, Piece, bar_of
from generative.data.packed import UNREADABLE
from generative.errors import UsageError
from generative.params import PARAMS_FILE

THEN = (1980, 1, 1, 0, 0, 0)  # the files' date, which must not differ from run to run


class Params(Grids):
    test: Annotated[int, Field(ge=0)]  # chorales, as `validation`


def download(params: Params, name: str, folder: Path) -> None:
    """Copies the scores of the four-part chorales into one archive."""
    files = sorted((corpus() / "bach").glob("*.mxl"))
    if not files:
        raise UsageError("music21: its corpus has no chorales here; a full installation of music21 has them")
    with zipfile.ZipFile(folder / "chorales.zip", "w") as archive:
        for file in files:
            archive.writestr(zipfile.ZipInfo(file.name, THEN), file.read_bytes())


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """Excerpts of the chorales; each chorale is in one split only."""
    found: dict[str, NDArray[np.int64]] = {}
    notes: dict[str, list[str]] = {}
    for title, piece in scores(raw / "chorales.zip").items():
        reason = _unfit(piece, params)
        if reason:
            notes.setdefault(reason, []).append(title)
        else:
            found[title] = tokens.grid_of(piece, params.bars, params.steps_per_bar)
    where = f"{PARAMS_FILE}: data.{name}"
    split_of = split_by_group(list(found), params.validation, params.test, params.seed, where)
    pieces = {split: [x for x, place in zip(found.values(), split_of, strict=True) if place == split] for split in store.SPLITS}
    return write(params, name, folder, pieces, [f"left out, {reason}: {len(titles)} scores" for reason, titles in sorted(notes.items())])


def scores(path: Path) -> dict[str, Piece]:
    """The scores of the archive by name. Raises: UsageError: it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            contents = {name.removesuffix(".mxl"): archive.read(name) for name in archive.namelist()}
        return {name: musicxml.read(musicxml.unpacked(content), name) for name, content in contents.items()}
    except UNREADABLE as error:
        raise UsageError(f"{path}: not a whole archive of scores: {error}; `dvc repro download@{path.parent.name}` makes it") from None


def _unfit(piece: Piece, params: Params) -> str:
    if len(piece.voices) != len(VOICES):
        return f"not in {len(VOICES)} parts"
    if {bar_of(meter) for _, meter in piece.meters} != {params.steps_per_bar * SIXTEENTH}:
        return f"another metre than of {params.steps_per_bar} sixteenths"
    return ""
