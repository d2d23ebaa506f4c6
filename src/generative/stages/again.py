"""Samples of a trained model once more, as many and under whatever options a person asks for; nothing of the pipeline is touched."""

from __future__ import annotations

import inspect
import math
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from generative.data import store, text
from generative.data.images import to_image
from generative.data.music.notation import tokens
from generative.errors import UsageError
from generative.files import new_folder
from generative.models.exhibit import Music, Sheet
from generative.models.model import Model
from generative.params import closest
from generative.stages import scores
from generative.stages.pictures import draw
from generative.stages.viewer import viewer
from generative.training import checkpoint, device

COUNT, SEED, MOST = 16, 0, 100_000


def again(name: str, asked: dict[str, str]) -> None:
    """Writes samples of the model data/models/NAME into the folder `out` (samples_NAME where none is asked for), which must not be there.

    Raises:
        UsageError: an option that this model does not have, or a value that it cannot take.
    """
    options = dict(asked)
    model: Model = checkpoint.load(Path("data/models") / name, device.place("float32", 1).device)
    if not model.can("sample"):
        raise UsageError(f"{type(model).__name__} has no sampler")
    count = _number(int, "count", options.pop("count", str(COUNT)), 1, MOST)
    seed = _number(int, "seed", options.pop("seed", str(SEED)), 0, 2**32 - 1)
    out = Path(options.pop("out", f"samples_{name}"))
    if out.exists():
        raise UsageError(f"--out: {out} is there already; name a folder that is not")
    dataset = store.open_dataset(Path("data/processed") / model.params.data)  # type: ignore[union-attr]
    condition = _condition(model, dataset, options, count)
    values = _options(model, options)
    device.seed(seed)
    with torch.no_grad():
        samples = model.sample(count, condition, **values)
        with new_folder(out) as folder:
            _write(samples, dataset, folder)
    print(f"sample {name}: {count:,} in {out}")


def _condition(model: Model, dataset: store.Dataset, options: dict[str, str], count: int) -> Tensor | None:
    label, prompt, begun = (options.pop(key, None) for key in ("label", "prompt", "continue"))
    classes = dataset.info.classes
    if prompt is not None:
        return _prompt(prompt, dataset)
    if begun is not None:
        return scores.begun(Path(begun), dataset.info).to(next(model.parameters()).device)
    if label is None:
        return None
    if label not in classes:
        raise UsageError(f"--label: no {label!r} in {dataset.info.name}{closest(label, classes)}")
    return torch.full((count,), classes.index(label), device=next(model.buffers(), next(model.parameters())).device)


def _prompt(prompt: str, dataset: store.Dataset) -> Tensor:
    """The prompt as tokens (T,); words that the data set does not know are named."""
    if dataset.info.kind != "text":
        raise UsageError(f"--prompt: {dataset.info.name} has {dataset.info.kind}, no texts")
    encoded = text.open_tokenizer(dataset.folder).encode(prompt)
    unknown = [prompt[slice(*span)] for token, span in zip(encoded.ids, encoded.offsets, strict=True) if token == text.UNKNOWN]
    if unknown:
        print(f"not in the vocabulary: {', '.join(unknown)}", file=sys.stderr)
    return torch.tensor(encoded.ids, dtype=torch.int64)


def _options(model: Model, given: dict[str, str]) -> dict[str, Any]:
    """The model's own options, each as the type that its sampler's signature names."""
    parameters = inspect.signature(model.sample).parameters.values()
    hints = typing.get_type_hints(model.sample)
    known = {p.name.replace("_", "-"): p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    values = {}
    for option, value in given.items():
        if option not in known:
            raise UsageError(f"--{option}: {type(model).__name__} has no such option{closest(option, ['count', 'seed', 'out', *known])}")
        hint = hints[known[option]]
        kinds = [kind for kind in typing.get_args(hint) or (hint,) if kind is not NoneType]
        values[known[option]] = value if kinds == [str] else _number(kinds[0], option, value, -math.inf, math.inf)
    return values


def _number(kind: Callable[[str], Any], option: str, given: str, low: float, high: float) -> Any:
    expected = "a whole number" if kind is int else "a number"
    try:
        value = kind(given)
    except ValueError:
        raise UsageError(f"--{option}: expected {expected}, got {given!r}") from None
    if not (low <= value <= high and math.isfinite(value)):
        raise UsageError(f"--{option}: expected {expected} from {low} to {high}, got {given}")
    return value


def _write(samples: Tensor, dataset: store.Dataset, folder: Path) -> None:
    if dataset.info.kind == "text":
        names = dataset.info.vocabulary[text.STREAM]
        written = [text.join(text.words(ids, names)) for ids in samples.tolist()]
        (folder / "samples.txt").write_text("".join(f"{one}\n" for one in written), encoding="utf-8")
        print("\n".join(written))
        return
    if dataset.info.kind == "music":
        pieces = [tokens.piece_of(x, dataset.info.vocabulary, f"Piece {i + 1}") for i, x in enumerate(samples.cpu().numpy())]
        scores.write(Music("piece", "", pieces), folder)
        return
    look = viewer(dataset, samples.device)
    seen = look(samples)
    if dataset.info.kind == "points" or seen.dim() != 4:
        np.savetxt(folder / "samples.csv", seen.flatten(1).cpu().numpy(), delimiter=",", fmt="%.6g")
        return
    for number, pixels in enumerate(store.to_pixels(seen).cpu().numpy()):
        to_image(pixels).save(folder / f"{number:05d}.png")
    columns = min(len(seen), 8)
    draw(Sheet("sheet", "", seen[: len(seen) // columns * columns].unflatten(0, (-1, columns))), folder)
