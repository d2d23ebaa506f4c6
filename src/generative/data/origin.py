"""Where texts of one's own or of the network come from: a path on this machine, or a file under its checksum."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from generative.data.fetch import FileName, Sha256, Url, absent, fetch, place
from generative.errors import UsageError
from generative.params import Block

NAMED = 10  # files or lines that one note names


class Origin(Block):
    path: str  # a file of your own, or a folder of them; from here, or else from the mirror; ~ is your home; "" for one that is fetched
    file: Literal[""] | FileName  # the name of a file that is fetched; "" for a path
    sha256: Literal[""] | Sha256
    urls: list[Url]  # base addresses, tried in order
    mirror: Literal[""] | FileName  # the folder's name in a mirror

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        fetched = [self.file, self.sha256, self.mirror]
        if self.path and (any(fetched) or self.urls):
            raise ValueError('expected a path, or else file, sha256, urls and mirror with path: ""')
        if not self.path and not (all(fetched) and self.urls):
            raise ValueError("expected all of file, sha256, urls and mirror, or else a path")
        return self


def bring(origin: Origin, folder: Path, suffixes: tuple[str, ...], where: str) -> None:
    """The files of the origin in `folder`, those of a path as they are, with a manifest of their sha256.

    Raises:
        UsageError: nothing with one of the suffixes is there.
    """
    if not origin.path:
        fetch(origin.file, origin.sha256, origin.urls, folder, origin.mirror)
        return
    source = place(origin.path)
    inside = sorted(f for f in source.rglob("*") if f.is_file() and f.suffix.lower() in suffixes) if source.is_dir() else [source]
    if not source.exists():
        raise absent(where, f"a file or a folder of files ({' '.join(suffixes)})", origin.path)
    if not inside or not inside[0].is_file():
        raise UsageError(f"{where}.path: expected a file or a folder of files ({' '.join(suffixes)}), got {origin.path!r}")
    manifest = {}
    for file in inside:
        name = file.relative_to(source).as_posix() if source.is_dir() else file.name
        target = folder / "files" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        manifest[name] = hashlib.sha256(target.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def read_all(origin: Origin, raw: Path, where: str) -> tuple[dict[str, str], list[str]]:
    """(the text of each file by name, a note for each file that is none).

    Raises:
        UsageError: no file is a text; names them with their reasons.
    """
    base = raw / "files" if origin.path else raw
    texts: dict[str, str] = {}
    notes: list[str] = []
    for file in sorted(f for f in base.rglob("*") if f.is_file()):
        name = file.relative_to(base).as_posix().encode(errors="backslashreplace").decode()
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            notes.append(f"skipped, not UTF-8: {name}: {error}")
            continue
        if text.strip():
            texts[name] = text
        else:
            notes.append(f"skipped, empty: {name}")
    if not texts:
        raise UsageError(f"{where}: expected texts, got none:" + "".join(f"\n  {note}" for note in notes[:NAMED]))
    return texts, notes


def skipped(reasons: dict[str, list[str]]) -> list[str]:
    """A note for each reason, with the places that it is true of."""
    return [
        f"skipped, {reason}: {', '.join(places[:NAMED])}{f' and {len(places) - NAMED:,} more' if len(places) > NAMED else ''}"
        for reason, places in sorted(reasons.items())
    ]
