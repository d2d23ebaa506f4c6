"""Texts from records, each through a template such as "recipe for {title} | {directions}": JSON lines, a list in JSON, or a csv.

A list of strings is joined with blanks. What cannot be used is skipped and noted: a line that is no JSON, a record without one of the
template's fields, a text that stood there before.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from generative.data import store, text
from generative.data.origin import Origin, bring, read_all, skipped
from generative.errors import UsageError
from generative.params import PARAMS_FILE, Source

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv")
FIELD = re.compile(r"\{(\w+)\}")


class Params(Source, text.Tokens, Origin):
    template: str
    test: Annotated[int, Field(ge=0)]

    @field_validator("template")
    @classmethod
    def _has_fields(cls, template: str) -> str:
        if not FIELD.search(template):
            raise ValueError("expected a text with fields such as {title}")
        return template


def download(params: Params, name: str, folder: Path) -> None:
    """The files as they are."""
    bring(params, folder, SUFFIXES, f"{PARAMS_FILE}: data.{name}")


def preprocess(params: Params, name: str, raw: Path, folder: Path) -> store.Info:
    """A text a record, in an order drawn from the seed: test first, then validation, the rest trains and teaches the tokenizer."""
    where = f"{PARAMS_FILE}: data.{name}"
    files, notes = read_all(params, raw, where)
    usable, more = _texts(files, params.template)
    notes += more
    held = params.test + params.validation
    if len(usable) <= held:
        complaint = f"{where}.test: expected test + validation below the {len(usable):,} usable records, got {held:,}"
        raise UsageError(complaint + "".join(f"\n  {note}" for note in notes))
    shuffled = [usable[i] for i in np.random.default_rng(params.seed).permutation(len(usable))]
    parts = {"test": shuffled[: params.test], "validation": shuffled[params.test : held], "train": shuffled[held:]}
    tokenizer = text.learn(parts["train"], params, where)
    encoded = {split: text.encode(part, tokenizer) for split, part in parts.items()}
    cut = sum(len(ids) > params.length for part in encoded.values() for ids in part)
    notes += [f"cut to {params.length} tokens: {cut:,} of {len(usable):,} texts"] if cut else []
    splits = {split: {"x": text.rows(encoded[split], params.length)} for split in store.SPLITS}
    return text.write(folder, splits, tokenizer, params, name, notes)


def _texts(files: dict[str, str], template: str) -> tuple[list[str], list[str]]:
    """(each text once, what was skipped)."""
    texts: dict[str, None] = {}
    reasons: dict[str, list[str]] = {}
    for name, content in files.items():
        for number, record in _records(name, content):
            filled = _fill(template, record)
            if isinstance(filled, list):
                reasons.setdefault(filled[0], []).append(f"{name} {number}")
            elif filled in texts:
                reasons.setdefault("stood there before", []).append(f"{name} {number}")
            else:
                texts[filled] = None
    return list(texts), skipped(reasons)


def _records(name: str, content: str) -> Iterator[tuple[int, Any]]:
    """(number from 1, record or the error that stands in its place; 0 for one that ends the file)."""
    if name.lower().endswith(".csv"):
        try:
            yield from enumerate(csv.DictReader(content.splitlines(keepends=True)), start=1)
        except csv.Error as error:
            yield 0, error
        return
    if content.lstrip().startswith("["):
        try:
            yield from enumerate(json.loads(content), start=1)
        except (ValueError, RecursionError) as error:
            yield 1, error
        return
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, error


def _fill(template: str, record: Any) -> str | list[str]:
    """The text, or the reason why there is none."""
    if isinstance(record, Exception):
        return ["not JSON"] if isinstance(record, ValueError | RecursionError) else ["not a csv"]
    if not isinstance(record, dict):
        return ["not a record with fields"]
    values = {field: _plain(record.get(field)) for field in FIELD.findall(template)}
    empty = [field for field, value in values.items() if not value]
    return [f"no {empty[0]}"] if empty else FIELD.sub(lambda match: values[match[1]], template)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(filter(None, (_plain(part) for part in value if not isinstance(part, list))))
    return " ".join(str(value).split()) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
