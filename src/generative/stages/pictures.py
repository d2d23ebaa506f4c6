"""Draws exhibits as files, the same bytes for the same numbers."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import cache
from pathlib import Path

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from generative.data.store import to_pixels
from generative.models.exhibit import Exhibit, Film, Heatmap, Histogram, Lines, Music, Scatter, Sheet, Table, Text
from generative.stages.style import STYLE, colours

PAPER, INK, FAINT = (255, 255, 255), (38, 38, 46), (128, 128, 140)
TILE = 56  # smallest side of a picture on a sheet, in pixels
GAP = 4
SUFFIX = {Film: ".gif", Text: ".txt", Table: ".csv"}  # of files that are no still pictures


def draw(exhibit: Exhibit, folder: Path, look: Callable[[Tensor], Tensor] = lambda x: x) -> dict[str, str]:
    """Writes the exhibit into the folder.

    Args:
        look: turns examples of the data set into images, where they are none.

    Returns:
        What was written: names of files with their captions.
    """
    if isinstance(exhibit, Music):
        from generative.stages.scores import write  # engraving and sound are slow to import

        return write(exhibit, folder)
    path = folder / (exhibit.name + SUFFIX.get(type(exhibit), ".png"))
    if isinstance(exhibit, Sheet):
        _sheet(exhibit, look).save(path, optimize=True)
    elif isinstance(exhibit, Film):
        _film(exhibit, path, look)
    elif isinstance(exhibit, Text):
        path.write_text("".join(f"{line}\n" for line in exhibit.lines), encoding="utf-8")
    elif isinstance(exhibit, Table):
        _table(exhibit, path)
    else:
        _plot(exhibit, path)
    return {path.name: exhibit.caption}


def _plot(exhibit: Scatter | Heatmap | Histogram | Lines, path: Path) -> None:
    plot = {Scatter: _scatter, Heatmap: _heatmap, Histogram: _histogram, Lines: _lines}[type(exhibit)]
    with matplotlib.style.context(STYLE, after_reset=True):  # a person's own settings must not change the picture
        figure = plot(exhibit)
        # a version number in the file would change its hash without changing the picture
        figure.savefig(path, dpi=110, bbox_inches="tight", facecolor="white", metadata={"Software": None})


def _film(film: Film, path: Path, look: Callable[[Tensor], Tensor]) -> None:
    frames = film.frames
    if frames.dim() == 3:
        frames = look(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        frames = frames.permute(0, 2, 3, 1, 4).flatten(3)
    frames = [_tile(array) for array in to_pixels(frames).cpu().numpy()]
    size = (frames[0].width * film.zoom, frames[0].height * film.zoom)
    frames = [frame.resize(size, Image.Resampling.NEAREST) for frame in frames]
    # one palette for all: a palette a frame would flicker
    palette = _mosaic(frames).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    shown = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    shown[0].save(path, save_all=True, append_images=shown[1:], duration=round(1000 / film.frames_per_second), loop=0, optimize=False)


def _mosaic(frames: list[Image.Image]) -> Image.Image:
    """Some frames, evenly spread, in one picture."""
    chosen = frames[:: max(1, len(frames) // 16)]
    width, height = chosen[0].size
    mosaic = Image.new("RGB", (width, height * len(chosen)))
    for number, frame in enumerate(chosen):
        mosaic.paste(frame, (0, number * height))
    return mosaic


def _table(table: Table, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows([[f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in table.rows])


def _sheet(sheet: Sheet, look: Callable[[Tensor], Tensor]) -> Image.Image:
    rows, columns = sheet.images.shape[:2]
    images = sheet.images.flatten(0, 1)
    pixels = to_pixels(images if sheet.seen else look(images)).cpu().numpy()
    height, width = pixels.shape[2:]
    zoom = max(1, -(-TILE // min(height, width))) if not sheet.titles else max(1, -(-(TILE + 24) // min(height, width)))
    height, width = height * zoom, width * zoom
    font, head = _font(12), 18 if sheet.titles else 0
    left = max((int(font.getlength(title)) for title in sheet.rows), default=-12) + 12
    size = (left + columns * (width + GAP) + GAP, rows * (height + head + GAP) + GAP)
    canvas = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(canvas)
    for number, array in enumerate(pixels):
        row, column = divmod(number, columns)
        x, y = left + GAP + column * (width + GAP), GAP + row * (height + head + GAP) + head
        canvas.paste(_tile(array).resize((width, height), Image.Resampling.NEAREST), (x, y))
        if sheet.titles:
            title = sheet.titles[row][column]
            pen.text((x + width / 2, y - 2), _shortened(title, width, _font(11)), INK, _font(11), anchor="ms")
        if column == 0 and sheet.rows:
            pen.text((left - 6, y + height / 2), sheet.rows[row], INK, font, anchor="rm")
    return canvas


def _tile(array: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(array[0], "L").convert("RGB") if len(array) == 1 else Image.fromarray(array.transpose(1, 2, 0), "RGB")


def _shortened(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # The basic layout draws the same everywhere; the other one depends on a library that may be there or not.
    path = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def _scatter(scatter: Scatter) -> Figure:
    figure = Figure(figsize=(5.2 * len(scatter.panels), 5))
    for axes, (title, points, labels) in zip(figure.subplots(1, len(scatter.panels), squeeze=False)[0], scatter.panels, strict=True):
        _points(axes, points.cpu().numpy(), None if labels is None else labels.cpu().numpy(), scatter.classes)
        axes.set_title(title)
    return figure


def _points(axes: Axes, points: NDArray[np.float32], labels: NDArray[np.int64] | None, classes: list[str]) -> None:
    if labels is None:
        axes.scatter(points[:, 0], points[:, 1], s=5, color="#26262e", alpha=0.6, linewidths=0)
        return
    from matplotlib.patheffects import withStroke

    outline = [withStroke(linewidth=3, foreground="white")]
    short = max(map(len, classes)) <= 2  # names that stand among the points; longer ones would hide each other
    for label, (name, colour) in enumerate(zip(classes, colours(len(classes)), strict=True)):
        mine = points[labels == label]
        if len(mine):
            axes.scatter(mine[:, 0], mine[:, 1], s=9, color=colour, alpha=0.7, linewidths=0, label=name)
            if short:
                x, y = np.median(mine, axis=0)
                axes.text(x, y, name, ha="center", va="center", fontsize=11, weight="bold", path_effects=outline)
    if not short:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.07), ncols=5, frameon=False, fontsize=8, markerscale=2, handletextpad=0)


def _heatmap(heatmap: Heatmap) -> Figure:
    rows, columns = heatmap.values.shape
    figure = Figure(figsize=(1.6 + max(3.0, 0.26 * columns), 1.2 + max(3.0, 0.26 * rows)))
    axes = figure.subplots()
    image = axes.imshow(heatmap.values.float().cpu().numpy(), cmap="magma_r", aspect="equal")
    axes.set_xticks(range(columns), heatmap.columns, rotation=90 if max(map(len, heatmap.columns)) > 2 else 0, fontsize=8)
    axes.set_yticks(range(rows), heatmap.rows, fontsize=8)
    axes.set_xlabel(heatmap.column_axis)
    axes.set_ylabel(heatmap.row_axis)
    figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    return figure


def _histogram(histogram: Histogram) -> Figure:
    columns = min(5, len(histogram.panels))
    rows = -(-len(histogram.panels) // columns)
    figure = Figure(figsize=(2.4 * columns, 1.9 * rows), layout="constrained")
    cells = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, (title, values) in zip(cells, histogram.panels, strict=False):
        axes.hist(values.cpu().numpy(), bins=40, density=True, color="#5b8def")
        if histogram.normal:
            x = np.linspace(-4, 4, 200)
            axes.plot(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), color="#26262e", linewidth=1)
        axes.set_title(title, fontsize=9)
        axes.set_yticks([])
    for axes in cells[len(histogram.panels) :]:
        axes.set_axis_off()
    return figure


def _lines(lines: Lines) -> Figure:
    figure = Figure(figsize=(4.6 * len(lines.panels), 3.4), layout="constrained")
    for axes, (title, curves) in zip(figure.subplots(1, len(lines.panels), squeeze=False)[0], lines.panels, strict=True):
        for (label, (x, y)), colour in zip(curves.items(), colours(len(curves)), strict=True):
            axes.plot(x.cpu().numpy(), y.cpu().numpy(), color=colour, linewidth=1.6, label=label)
        axes.set_title(title)
        axes.set_xlabel(lines.x_axis)
        axes.set_ylabel(lines.y_axis)
        axes.legend(frameon=False, fontsize=9)
    return figure
