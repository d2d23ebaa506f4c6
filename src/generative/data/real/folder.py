"""A person's own folder of pictures, with an optional table of attributes (data/table.py has its forms).

It is read as it is: the hashes are recorded, nothing is verified. What cannot be used is skipped and noted, never silently.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from generative.data import images, store
from generative.data.fetch import absent, home, place
from generative.data.table import Table, encode, read_table
from generative.errors import UsageError
from generative.params import PARAMS_FILE, Source, closest

CHOICES = 100  # a column of text with more different values than this describes, it does not classify
NAMED = 10  # files that one note names


class Params(Source):
    path: Annotated[
        str, Field(min_length=1)
    ]  # the folder, searched with its subfolders; from here, or else from the mirror; ~ is your home
    attributes: str  # the table, absolute or seen from the folder; "" for none
    label: str  # the column that becomes the class; "" for none
    size: images.Size
    fit: images.Fit
    channels: Literal[1, 3]
    test: Annotated[int, Field(ge=0)]


def download(params: Params, name: str, folder: Path) -> None:
    """Copies the pictures and the table as they are, with a manifest of their sha256."""
    where, source = f"{PARAMS_FILE}: data.{name}", place(params.path)
    if not source.is_dir():
        raise absent(where, "a folder of images", params.path)
    files = {f"images/{file}": source / file for file in _pictures(source)}
    if not files:
        raise UsageError(f"{where}.path: expected images ({' '.join(sorted(images.SUFFIXES))}) in {params.path!r}, got none")
    if params.attributes:
        table = source / home(params.attributes)
        if not table.is_file():
            raise UsageError(f"{where}.attributes: expected a table, got {str(table)!r}, where there is no file")
        files["attributes"] = table
    manifest = {place: _copy(file, folder / place) for place, file in files.items()}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """All usable pictures at one size, in an order drawn from the seed: test first, then validation, the rest trains."""
    where, notes = f"{PARAMS_FILE}: data.{name}", []
    names, table = _pictures(raw / "images"), Table([], {}, [])
    rows: dict[str, list[str]] = {}
    if (raw / "attributes").exists():
        table = read_table(raw / "attributes")
        rows, notes = _described(names, table, where)
    usable = [file for file in names if file in rows or not table.rows]
    order = np.random.default_rng(params.seed).permutation(len(usable))
    x, read, unread = _read([usable[i] for i in order], raw / "images", params)
    notes += unread
    if len(read) <= params.test + params.validation:
        raise UsageError(
            f"{where}.test: expected test + validation below the {len(read)} usable images, got {params.test + params.validation}"
            + "".join(f"\n  {note}" for note in notes[:NAMED])
        )
    arrays, meaning = _columns(table, [rows[file] for file in read] if rows else [], params, where, notes)
    bounds = {"test": (0, params.test), "validation": (params.test, params.test + params.validation)}
    bounds["train"] = (params.test + params.validation, len(read))
    splits = {s: {k: a[slice(*bounds[s])] for k, a in {"x": x, **arrays}.items()} for s in store.SPLITS}
    return store.write_dataset(folder, splits, name=name, kind="images", notes=[_printable(note) for note in notes], **meaning)


def _pictures(folder: Path) -> list[str]:
    """Names of the pictures seen from the folder, with / between, sorted; hidden ones are none."""
    names = (file.relative_to(folder) for file in folder.rglob("*") if file.suffix.lower() in images.SUFFIXES and file.is_file())
    return sorted(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))


def _copy(source: Path, target: Path) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _described(names: list[str], table: Table, where: str) -> tuple[dict[str, list[str]], list[str]]:
    """Rows of the pictures that have a whole one, looked up by path or else by bare name; and what was skipped."""
    found = {name: table.rows.get(name, table.rows.get(name.rpartition("/")[2])) for name in names}
    absent = [name for name, row in found.items() if row is None]
    if len(absent) == len(names):
        some = next(iter(table.rows))
        raise UsageError(f"{where}.attributes: expected names of the images such as {names[0]}, got names such as {some}")
    rows = {name: row for name, row in found.items() if row is not None and not table.incomplete(row)}
    gaps = [name for name, row in found.items() if row is not None and table.incomplete(row)]
    return rows, _note("not in the table", absent) + _note("a number is missing in the table", gaps)


def _printable(note: str) -> str:
    """Names of files need not be text; what is none stands as \\udc80 and the like."""
    return note.encode(errors="backslashreplace").decode()


def _note(reason: str, names: list[str]) -> list[str]:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return [f"skipped, {reason}: {', '.join(names[:NAMED])}{more}"] if names else []


def _read(names: list[str], folder: Path, params: Params) -> tuple[NDArray[np.uint8], list[str], list[str]]:
    """(x, the names behind its examples, a note for each file that is no usable picture)."""
    x = np.empty((len(names), params.channels, params.size, params.size), np.uint8)
    read: list[str] = []
    notes: list[str] = []
    for name in names:
        try:
            image = images.decode(folder / name, params.channels)
        except images.UnreadableError as reason:
            notes.append(f"skipped, unreadable: {name}: {reason}")
            continue
        x[len(read)] = images.to_array(images.fit(image, params.size, params.fit))
        read.append(name)
    return x[: len(read)], read, sorted(notes)


def _columns(
    table: Table, rows: list[list[str]], params: Params, where: str, notes: list[str]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """(y and attributes, what they mean); adds a note for each column that is left out."""
    arrays: dict[str, NDArray[Any]] = {}
    meaning: dict[str, Any] = {"attributes": [], "values": {}}
    if params.label and params.label not in table.columns:
        raise UsageError(f"{where}.label: no column {params.label!r} in the table{closest(params.label, table.columns)}")
    numbers = []
    for name, numeric, cells in zip(table.columns, table.numeric, zip(*rows, strict=True), strict=True):
        column = encode(list(cells), numeric)
        if name == params.label:
            arrays["y"], meaning["classes"] = _classes(column.numbers, column.values, where)
        elif len(column.values) > CHOICES:
            notes.append(f"column {name} is left out: text with {len(column.values):,} different values")
        else:
            numbers.append(column.numbers)
            meaning["attributes"].append(name)
            meaning["values"].update({name: column.values} if column.values else {})
    if numbers:
        arrays["attributes"] = np.stack(numbers, axis=1).astype(np.float32)
    return arrays, meaning


def _classes(numbers: NDArray[np.float64], values: list[str], where: str) -> tuple[NDArray[np.int64], list[str]]:
    if values:
        return numbers.astype(np.int64), values
    broken = numbers[numbers != np.round(numbers)]
    if len(broken):
        raise UsageError(f"{where}.label: expected a column of names or whole numbers, got {broken[0]}")
    whole, places = np.unique(numbers, return_inverse=True)
    return places.astype(np.int64), [str(int(number)) for number in whole]
