"""What a model shows a person, as numbers: the sample stage draws it and writes the files.

Each has a `name` (the file's), and a `caption`: one line that says what to see.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from generative.data.music.notation.piece import Piece


@dataclass(frozen=True)
class Sheet:
    """Pictures in rows: images (R, N, C, H, W) in [-1, 1], a title a row, or a title a picture (R x N of them)."""

    name: str
    caption: str
    images: Tensor
    rows: list[str] = field(default_factory=list)
    titles: list[list[str]] = field(default_factory=list)
    seen: bool = False  # images are what a person looks at, even where the data set's examples are codes
    nearest: bool = False  # the sample stage adds the nearest training image, by pixels, below each


@dataclass(frozen=True)
class Scatter:
    """Points (N, 2), coloured by label (N,), in panels side by side: (title, points, labels or None)."""

    name: str
    caption: str
    panels: list[tuple[str, Tensor, Tensor | None]]
    classes: list[str]


@dataclass(frozen=True)
class Heatmap:
    """A matrix (R, N) of values, such as a confusion matrix (true class a row) or attention."""

    name: str
    caption: str
    values: Tensor
    rows: list[str]
    columns: list[str]
    row_axis: str
    column_axis: str


@dataclass(frozen=True)
class Histogram:
    """Distributions side by side, each against a reference density where one is known: (title, values (N,))."""

    name: str
    caption: str
    panels: list[tuple[str, Tensor]]
    normal: bool  # draw the standard normal density over each


@dataclass(frozen=True)
class Lines:
    """Curves in panels side by side: (title, {label: (x (N,), y (N,))})."""

    name: str
    caption: str
    panels: list[tuple[str, dict[str, tuple[Tensor, Tensor]]]]
    x_axis: str
    y_axis: str


@dataclass(frozen=True)
class Film:
    """Pictures one after another: frames (T, C, H, W) in [-1, 1], each shown `zoom` times as large.

    Of data that are codes: frames (T, N, Z), N pictures side by side.
    """

    name: str
    caption: str
    frames: Tensor
    frames_per_second: float
    zoom: int


@dataclass(frozen=True)
class Text:
    """Texts, a line each."""

    name: str
    caption: str
    lines: list[str]


@dataclass(frozen=True)
class Table:
    """Rows of words and numbers under named columns."""

    name: str
    caption: str
    columns: list[str]
    rows: list[list[str | float]]


@dataclass(frozen=True)
class Music:
    """Pieces to read, to hear and to see: each becomes a score, MusicXML, MIDI and a recording; the piano rolls stand in one picture."""

    name: str
    caption: str
    pieces: list[Piece]


Exhibit = Sheet | Scatter | Heatmap | Histogram | Lines | Film | Text | Table | Music
