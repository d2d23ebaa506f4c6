"""A person's own folder of MIDI files, as melodies: at each moment the highest pitch that sounds.

It is read as it is: the hashes are recorded, nothing is verified. A file that cannot be used is skipped, with its name and the reason.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from generative.data import store
from generative.data.fetch import absent, place
from generative.data.music.notation import midi
from generative.data.music.notation.melodies import Melodies, write
from generative.data.music.notation.piece import Piece, skyline
from generative.errors import UsageError
from generative.params import PARAMS_FILE

SUFFIXES = {".mid", ".midi", ".smf"}


class Params(Melodies):
    path: Annotated[str, Field(min_length=1)]  # the folder and its subfolders; from here, or else from the mirror; ~ is your home
    group: str  # a regular expression: files in whose names it finds the same belong together; "" for each by itself
    divisions: Annotated[list[Annotated[int, Field(gt=0, le=48)]], Field(min_length=1)]  # of a quarter, where notes may begin and end

    @field_validator("group")
    @classmethod
    def _compiles(cls, group: str) -> str:
        try:
            re.compile(group)
        except re.error as error:
            raise ValueError(f"expected a regular expression: {error}") from None
        return group


def download(params: Params, name: str, folder: Path) -> None:
    """Copies the MIDI files as they are, with a manifest of their sha256."""
    where, source = f"{PARAMS_FILE}: data.{name}", place(params.path)
    if not source.is_dir():
        raise absent(where, "a folder of MIDI files", params.path)
    files = _files(source)
    if not files:
        raise UsageError(f"{where}.path: expected MIDI files ({' '.join(sorted(SUFFIXES))}) in {params.path!r}, got none")
    manifest = {}
    for file in files:
        target = folder / "midi" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / file, target)
        manifest[file] = hashlib.sha256(target.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """Windows of events; the files of a group are in one split only."""
    pieces: list[tuple[str, Piece]] = []
    notes: list[str] = []
    for file in _files(raw / "midi"):
        try:
            piece = midi.read(raw / "midi" / file, params.divisions)
        except ValueError as reason:
            notes.append(f"skipped {file}: {reason}".encode(errors="backslashreplace").decode())
            continue
        found = re.search(params.group, file) if params.group else None
        line = Piece(piece.title, ["melody"], [skyline(piece.voices)], piece.keys, piece.meters)
        pieces.append((found.group() if found else file, line))
    return write(params, name, folder, pieces, notes)


def _files(folder: Path) -> list[str]:
    """Names seen from the folder, with / between, sorted; hidden ones are left out."""
    names = (file.relative_to(folder) for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    return sorted(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))
