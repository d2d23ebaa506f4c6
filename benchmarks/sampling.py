"""How long it takes to draw images pixel by pixel, with layers that remember and with a pass of the whole network for every pixel.

`python -m benchmarks.sampling [--rounds N]` prints a table. One thread, float32, the sizes of scales/book.yaml, weights as they start.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.race import Spread
from generative import models
from generative.catalogue import Catalogue
from generative.data.store import Info
from generative.nn.masked import Network
from generative.params import typed
from generative.training.device import place, seed

IMAGES = 16
SOME = 24  # pixels that the plain way is timed over: each takes it as long as any other
PUBLISHED: dict[str, tuple[int, dict[str, Any]]] = {  # side of the image, sizes of the net
    "pixelcnn": (16, {"width": 128, "dilations": [1, 1, 1, 1, 1], "levels": 4}),
    "pixelcnn_mixture": (32, {"width": 32, "dilations": [1, 2, 4, 8, 1, 2], "components": 5}),
}


def plain(network: Network, images: Tensor, start: int, pixel: Callable[[Tensor, slice], Tensor], together: int, most: int) -> Tensor:
    """Draws what `generative.nn.masked.draw` draws, or the first `most` pixels of it, each from a pass over whole images."""
    colours, width = images.shape[1], images.shape[3]
    places = [divmod(i, width) for i in range(start * width, images.shape[2] * width)]
    for row, column in places[:most]:
        for first in range(0, colours, together):
            chosen = slice(first, first + together)
            parameters = network.along(images, network.above(images))[:, :, row, column]
            images[:, chosen, row, column] = pixel(parameters, chosen).to(images.dtype)
    return images


def build(name: str, side: int, sizes: dict[str, Any]) -> Any:
    raw = Catalogue.read().raw("models", name) | sizes
    params, kind = models.find(raw["model"], name)
    info = Info(name="none", kind="images", shape=[1, side, side], classes=[], attributes=[], values={}, vocabulary={},
                counts={"train": 1, "validation": 0, "test": 0}, fingerprint="", notes=[])  # fmt: skip
    return kind(typed(params, raw, name), info).to(memory_format=torch.channels_last).eval()  # type: ignore[call-arg]


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@torch.no_grad()
def sampling_times(rounds: int) -> dict[str, dict[str, list[float]]]:
    """CPU seconds for IMAGES images, by model and way; a table of them is printed."""
    place("float32", 1)
    times: dict[str, dict[str, list[float]]] = {}
    print(f"\nDrawing {IMAGES} images: CPU seconds, median (range) of {rounds} rounds")
    for name, (side, sizes) in PUBLISHED.items():
        seed(0)
        model = build(name, side, sizes)
        blank = torch.full((IMAGES, 1, side, side), -1.0).contiguous(memory_format=torch.channels_last)
        few = lambda: plain(model.network, blank.clone(), 0, model.pixel(1.0), 1, SOME)  # noqa: B023, E731
        times[name] = {"ours": [], "plain": []}
        for _ in range(rounds):
            times[name]["ours"].append(seconds(lambda: model.sample(IMAGES)))  # noqa: B023
            times[name]["plain"].append(seconds(few) * side * side / SOME)
        ratios = Spread.of([a / b for a, b in zip(times[name]["plain"], times[name]["ours"], strict=True)])
        ours, slow = (Spread.of(times[name][way]).show(2) for way in ("ours", "plain"))
        print(f"  {name:17s}{side} x {side}   ours {ours}   a pass a pixel {slow}   {ratios.show(0)} times as long", flush=True)
    return times


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampling", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    sampling_times(parser.parse_args().rounds)
