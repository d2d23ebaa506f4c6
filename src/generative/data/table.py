"""Tables that name a file a row and say something about it: a csv, or the older txt form of CelebA's attributes.

csv: a line of column names, then rows; the column `image_id`, or else the first, holds the file names.
txt: a line with the number of rows, a line with the column names but for the first, then rows with blanks between.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from generative.errors import UsageError

KEY = "image_id"
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Table:
    columns: list[str]
    rows: dict[str, list[str]]  # cells by file name
    numeric: list[bool]  # a column

    def incomplete(self, row: list[str]) -> str:
        """The first column of numbers that has none in this row, or nothing."""
        empty = (c for c, cell, numeric in zip(self.columns, row, self.numeric, strict=True) if numeric and not cell)
        return next(empty, "")


@dataclass(frozen=True)
class Column:
    """A column of numbers, or of choices, whose numbers are indices into `values`."""

    numbers: NDArray[np.float64]
    values: list[str]


def read_table(path: Path) -> Table:
    """Raises: UsageError: no text, no rows, a row of another length than the head, or a file named twice."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: expected a table in UTF-8 text, got: {error}") from None
    first = 2 if lines and re.fullmatch(r"[0-9]{1,18}", lines[0].strip()) else 1
    try:
        content = [line.split() for line in lines[1:]] if first == 2 else list(csv.reader(lines))
    except csv.Error as error:
        raise UsageError(f"{path}: expected a table of comma-separated values, got: {error}") from None
    if len(content) < 2:
        raise UsageError(f"{path}: expected a line of column names and rows below it, got {len(content)} lines")
    head, body = [KEY, *content[0]] if first == 2 else content[0], content[1:]
    if first == 2 and len(body) != int(lines[0]):
        raise UsageError(f"{path}: expected {int(lines[0]):,} rows as its first line says, got {len(body):,}")
    return _table(path, [cell.strip() for cell in head], body)


def encode(cells: list[str], numeric: bool) -> Column:
    """Numbers as they are; anything else as a choice among its values in alphabetical order."""
    if numeric:
        return Column(np.array([float(cell) for cell in cells]), [])
    values = sorted(set(cells))
    place = {value: i for i, value in enumerate(values)}
    return Column(np.array([place[cell] for cell in cells], np.float64), values)


def _table(path: Path, head: list[str], body: list[list[str]]) -> Table:
    key = head.index(KEY) if KEY in head else 0
    columns = head[:key] + head[key + 1 :]
    if len(set(columns)) != len(columns):
        raise UsageError(f"{path}: expected different names of columns, got {', '.join(columns)}")
    rows: dict[str, list[str]] = {}
    for number, row in enumerate(body, start=1):
        if len(row) != len(head):
            raise UsageError(f"{path}: row {number}: expected {len(head)} cells like the line of column names, got {len(row)}")
        cells = [cell.strip() for cell in row]
        name = cells.pop(key)
        if name in rows:
            raise UsageError(f"{path}: row {number}: {name} stands in an earlier row too")
        rows[name] = ["" if cell.lower() == "nan" else cell for cell in cells]
    return Table(columns, rows, [_is_numeric(cells) for cells in zip(*rows.values(), strict=True)])


def _is_numeric(cells: tuple[str, ...]) -> bool:
    try:
        return all(abs(float(cell)) <= LARGEST for cell in cells if cell) and any(cells)
    except ValueError:
        return False
