"""Causal convolutions over images in raster order, and drawing an image with them pixel by pixel.

Pixels come row after row from the top, each row from the left; the colours of a pixel one after the other. A layer of kind A reads the
image itself, of which its own place is not known yet; one of kind B reads what other layers made, its own place too.

Inside `unrolled` a whole image costs one pass of the network, not one a pixel: each layer remembers the few rows that it has still to read,
takes one pixel, or a row that is known as a whole, and answers for that piece alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kind = Literal["A", "B"]


class Causal(nn.Conv2d):
    """A convolution of (B, C, H, W) to (B, `after`, H, W) whose window ends at its own row.

    Args:
        kernel: rows and columns of the window.
        above: rows from the first of the window to the place it is read for; `left` likewise.
        dilation: distance of the taps.
    """

    def __init__(self, before: int, after: int, kernel: tuple[int, int], above: int, left: int, kind: Kind, dilation: int) -> None:
        super().__init__(before, after, kernel, dilation=dilation)
        self.above, self.left, self.kind = above, left, kind
        self.cursor: Cursor | None = None
        self.memory = self.matrix = torch.empty(0)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        if self.cursor is not None:
            return self._answer(input, self.cursor.column)
        kernel, step = self.live(), self.dilation[0]
        up, across = (kernel.shape[2] - 1) * step, (kernel.shape[3] - 1) * step
        if up or across:
            # Padded beforehand: a CPU takes twice as long over a dilated convolution that pads. And where channels are no multiple of
            # 16, the gradient of its bfloat16 kernel is made of memory that nobody has written (oneDNN, torch 2.13).
            more = -kernel.shape[1] % 16 if step > 1 else 0
            input = F.pad(input, (self.left, across - self.left, self.above, up - self.above, 0, more))  # noqa: A001
            kernel = F.pad(kernel, (0, 0, 0, 0, 0, more)) if more else kernel
        return F.conv2d(input, kernel, self.bias, dilation=self.dilation)

    def live(self) -> Tensor:
        """The kernel that is read with."""
        return self.weight

    def begin(self, cursor: Cursor, n: int, width: int) -> None:
        """From here on takes `n` images of that width in pieces."""
        kernel = self.live().detach()
        self.taps = kernel.shape[2:]
        right = max(0, (self.taps[1] - 1) * self.dilation[0] - self.left)
        self.cursor = cursor
        self.memory = kernel.new_zeros(n, self.above + 1, self.left + width + right, kernel.shape[1])
        self.matrix = kernel.permute(2, 3, 1, 0).reshape(-1, kernel.shape[0]).contiguous()  # (taps x before, after)

    def end(self) -> None:
        self.cursor, self.memory, self.matrix = None, torch.empty(0), torch.empty(0)

    def remember(self, piece: Tensor, column: int) -> None:
        """Notes (B, C, 1, w) of the current row."""
        start = self.left + column
        self.memory[:, -1, start : start + piece.shape[3]] = piece[:, :, 0].transpose(1, 2)

    def next_row(self) -> None:
        if self.above:
            self.memory[:, :-1] = self.memory[:, 1:].clone()

    def _answer(self, piece: Tensor, column: int) -> Tensor:
        n, width = len(piece), piece.shape[3]
        (rows, columns), step = self.taps, self.dilation[0]
        if rows == columns == 1:
            taps = piece[:, :, 0].transpose(1, 2)
        else:
            if self.kind == "B":
                self.remember(piece, column)
            span = (columns - 1) * step
            window = self.memory[:, : (rows - 1) * step + 1 : step, column : column + width + span]
            taps = window.unfold(2, span + 1, 1)[..., ::step].permute(0, 2, 1, 4, 3)  # (B, w, rows, columns, C)
        out = torch.addmm(self.bias, taps.reshape(n * width, -1), self.matrix)  # type: ignore[arg-type]
        return out.view(n, width, -1).transpose(1, 2).unsqueeze(2)


class Masked(Causal):
    """A square convolution under a mask: all of the rows above, the left of its own row, and of its own place the colours before (A)
    or up to (B) its own (van den Oord et al. 2016a, section 3.4). Channels belong to the colours in blocks of equal size.

    Args:
        size: of the square, odd; the stored kernel has the masked taps too.
        colours: of the image, in the order in which a pixel's are drawn.
    """

    def __init__(self, before: int, after: int, size: int, kind: Kind, colours: int, dilation: int) -> None:
        reach = size // 2 * dilation
        super().__init__(before, after, (size, size), reach, reach, kind, dilation)
        mine, theirs = (torch.arange(width) * colours // width for width in (after, before))
        mask = torch.ones(after, before, size // 2 + 1, size, dtype=torch.bool)
        mask[:, :, -1, size // 2 :] = False
        mask[:, :, -1, size // 2] = mine[:, None] > theirs if kind == "A" else mine[:, None] >= theirs
        self.mask: Tensor
        self.register_buffer("mask", mask, persistent=False)

    def live(self) -> Tensor:
        return self.weight[:, :, : self.mask.shape[2]] * self.mask


class Above(Causal):
    """Reads `rows` rows, the last its own (B) or the one above (A), and `columns` around its own: the vertical stack's
    (van den Oord et al. 2016b, section 2.2)."""

    def __init__(self, before: int, after: int, rows: int, columns: int, kind: Kind, dilation: int) -> None:
        above = (rows - 1) * dilation + (kind == "A")
        super().__init__(before, after, (rows, columns), above, columns // 2 * dilation, kind, dilation)


class Left(Causal):
    """Reads `columns` of its own row, the last its own (B) or the one to the left (A): the horizontal stack's."""

    def __init__(self, before: int, after: int, columns: int, kind: Kind, dilation: int) -> None:
        super().__init__(before, after, (1, columns), 0, (columns - 1) * dilation + (kind == "A"), kind, dilation)


class Point(Causal):
    """1 x 1."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, (1, 1), 0, 0, "B", 1)


class Network(Protocol):
    """What `draw` draws with: `along(x, above(x))` is the whole network."""

    def above(self, x: Tensor) -> list[Tensor]:
        """What follows from the rows above alone; each (B, D, H, W)."""
        ...

    def along(self, x: Tensor, above: list[Tensor]) -> Tensor:
        """The parameters (B, P, H, W) of each pixel's distribution."""
        ...


class Cursor:
    """Where the causal layers of a network stand in the images that they are given in pieces."""

    def __init__(self, layers: list[Causal]) -> None:
        self.layers, self.column = layers, 0
        self.first = [layer for layer in layers if layer.kind == "A"]

    def put(self, piece: Tensor) -> None:
        """Tells what now stands at the cursor, to the layers that read the image itself."""
        for layer in self.first:
            layer.remember(piece, self.column)

    def next_row(self) -> None:
        self.column = 0
        for layer in self.layers:
            layer.next_row()


@contextmanager
def unrolled(network: nn.Module, n: int, width: int) -> Iterator[Cursor]:
    """Lets the causal layers inside `network` take images in pieces (n, C, 1, w) at the cursor."""
    cursor = Cursor([layer for layer in network.modules() if isinstance(layer, Causal)])
    for layer in cursor.layers:
        layer.begin(cursor, n, width)
    try:
        yield cursor
    finally:
        for layer in cursor.layers:
            layer.end()


def draw(network: Network, images: Tensor, start: int, pixel: Callable[[Tensor, slice], Tensor], together: int) -> Tensor:
    """Draws the rows from `start` on of images (B, C, H, W) in place, each pixel given all before it; the rows above are given.

    Args:
        pixel: parameters (B, P) and which colours to values (B, that many).
        together: how many colours of a pixel are drawn at once, the others waiting for them.
    """
    n, colours, height, width = images.shape
    with unrolled(network, n, width) as cursor:  # type: ignore[arg-type]
        for row in range(height):
            line = images[:, :, row : row + 1]
            above = network.above(line)
            if row < start:
                cursor.put(line)
                network.along(line, above)
            for column in range(width if row >= start else 0):
                cursor.column = column
                place, here = line[..., column : column + 1], [part[..., column : column + 1] for part in above]
                for first in range(0, colours, together):
                    chosen = slice(first, first + together)
                    place[:, chosen, 0, 0] = pixel(network.along(place, here)[..., 0, 0], chosen)
                    cursor.put(place)
            cursor.next_row()
    return images
