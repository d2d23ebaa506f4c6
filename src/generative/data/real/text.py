"""Any text, as windows of a fixed number of tokens: a file, or a folder of *.txt, which is read as one text in the order of names.

The end of the text is the test split, what comes before it validation: a window never shares a line with one of another split.
"""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from generative.data import store, text
from generative.data.origin import Origin, bring, read_all
from generative.errors import UsageError
from generative.params import PARAMS_FILE, Positive, Source

SUFFIXES = (".txt", ".text", ".md")


class Params(Source, text.Tokens, Origin):
    stride: Positive  # tokens from the start of one training window to the next; below `length` they overlap
    test: Annotated[int, Field(ge=0)]


def download(params: Params, name: str, folder: Path) -> None:
    """The files as they are."""
    bring(params, folder, SUFFIXES, f"{PARAMS_FILE}: data.{name}")


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """Windows of tokens, the tokenizer learnt from the training part."""
    where = f"{PARAMS_FILE}: data.{name}"
    texts, notes = read_all(params, raw, where)
    lines = "\n".join(texts.values()).splitlines(keepends=True)
    parts = _parts(lines, params, where)
    tokenizer = text.learn(parts["train"], params, where)
    flat = {split: np.array([i for ids in text.encode(part, tokenizer) for i in ids], np.int64) for split, part in parts.items()}
    counts = {"validation": params.validation, "test": params.test}
    splits = {"train": {"x": _windows(flat["train"], params.length, params.stride)}}
    splits |= {split: {"x": _windows(flat[split], params.length, params.length)[:count]} for split, count in counts.items()}
    return text.write(folder, splits, tokenizer, params, name, notes)


def _parts(lines: list[str], params: Params, where: str) -> dict[str, list[str]]:
    """The lines of each split: as many at the end as its windows need."""
    sizes = list(map(len, text.encode(lines, text.learn(lines, params, where))))
    from_end = list(accumulate(reversed(sizes)))  # tokens of the last 1, 2, ... lines
    needed = [params.test * params.length, (params.test + params.validation) * params.length]
    if from_end[-1] < needed[1] + params.length:
        raise UsageError(
            f"{where}.test: expected (test + validation + 1) x length of at most the text's {from_end[-1]:,} tokens, "
            f"got {needed[1] + params.length:,}"
        )
    at_test, at_validation = (len(lines) - int(np.searchsorted(from_end, count)) - (count > 0) for count in needed)
    return {"train": lines[:at_validation], "validation": lines[at_validation:at_test], "test": lines[at_test:]}


def _windows(tokens: NDArray[np.int64], length: int, stride: int) -> NDArray[np.int64]:
    if len(tokens) < length:
        return np.empty((0, length), np.int64)
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(tokens, length)[::stride])
