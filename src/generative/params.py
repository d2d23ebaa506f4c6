"""The typed catalogue: what a block of params.yaml may say.

Nothing has a default: a value that is not in params.yaml does not exist, so that DVC's hash covers everything a result depends on.
A kind of data or a model adds its own lines in a class `Params` beside its code, derived from `Source` or `Training`.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from generative.errors import UsageError

PARAMS_FILE = Path("params.yaml")
SECTIONS = ("data", "encodings", "models")

NAME = re.compile("[a-z0-9][a-z0-9_]{0,99}", re.ASCII)  # also a folder's name and part of the names of DVC's stages
DEEPEST = 32  # nested lists and mappings; ten thousands of them would end the process inside the YAML library

Positive = Annotated[int, Field(gt=0, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what every generator takes
Batch = Annotated[int, Field(gt=0, le=2**16)]
Threads = Annotated[int, Field(gt=0, le=1024)]
Width = Annotated[int, Field(gt=0, le=2**16)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, lt=10)]
Weight = Annotated[float, Field(ge=0, le=1e9)]
Widths = Annotated[list[Width], Field(min_length=1, max_length=64)]


class Block(BaseModel):
    """One entry of the catalogue: flat, strict, complete and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Source(Block):
    """What every data set states. `source` names the file under src/generative/data that reads or draws it."""

    source: str
    seed: Seed
    validation: Annotated[int, Field(ge=0)]  # examples held back from training for the curves; never the test split


class Encoding(Block):
    """A data set made by passing another one through a trained model (`Model.encode`)."""

    data: str
    beside: str  # a data set whose examples are kept in front of what the model makes of `data`; `data` itself where there is none
    model: str
    batch_size: Batch


class Training(Block):
    """What every model states. `model` names the file under src/generative/models that defines it."""

    model: str
    data: str
    against: str  # the data set whose examples the model should find stranger than its own; its own where there is none
    judge: str  # the classifier of the catalogue that measures samples; its own name where none is needed
    compared: Annotated[int, Field(ge=0, le=2**20)]  # samples that evaluate compares with as many held-out examples; 0 for none
    seed: Seed
    steps: Positive
    batch_size: Batch
    accumulate: Positive  # batches whose gradients are averaged into one step
    learning_rate: Rate
    schedule: Literal["constant", "cosine"]  # of the learning rate over the steps; cosine ends at 0
    clip_norm: Weight  # largest norm of an objective's gradient; 0 leaves it alone
    precision: Literal["float32", "bfloat16"]
    threads: Threads  # of torch: part of the catalogue, because it changes the last bits of a sum
    log_every: Positive  # steps a point of the curve averages over
    checkpoint_every: Positive  # steps between checkpoints, each with held-out figures

    def asked(self, **values: Any) -> Self:
        """The block with the values that a person asks for in its place; None asks for none.

        Raises:
            UsageError: a value that the block could not have.
        """
        return typed(type(self), self.model_dump() | {key: value for key, value in values.items() if value is not None}, "sample")


class Evolution(Training):
    """What a model that evolves states besides (`training/evolve.py`, which says what the keys above mean to it)."""

    batch_size: Annotated[int, Field(ge=4, le=2**16)]
    schedule: Literal["constant"]  # the search sets its own step size
    clip_norm: Annotated[float, Field(ge=0, le=0)]  # there is no gradient
    chunk: Positive  # trials a worker takes at once; part of the catalogue, because it changes the last bits of a sum
    workers: Annotated[int, Field(gt=0, le=1024)]  # processes that share the trials; 1 does them here. No result depends on it
    held_out_every: Positive  # generations between held-out figures of the mean
    trials: Positive  # of each held-out figure
    averaged: Positive  # generations whose means are averaged into the model, at most the later half of them
    least_step: Weight  # below which the step size does not fall


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlong, _SHORT.maxstring, _SHORT.maxother = 2, 80, 120, 120

AnyBlock = TypeVar("AnyBlock", bound=Block)


def read(path: Path = PARAMS_FILE) -> dict[str, dict[str, Any]]:
    """The file's three sections as plain dictionaries, before any value is checked.

    Raises:
        UsageError: no such file, not YAML, or not a mapping of the three sections to blocks.
    """
    from ruamel.yaml.error import YAMLError

    try:
        content = _parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file here; run from the project's folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    except (YAMLError, ValueError, KeyError) as error:  # the last two where a value is not what its form or tag says, as 2026-13-45
        raise UsageError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected the sections {', '.join(SECTIONS)}, got {type(content).__name__}")
    for key in content:
        if key not in SECTIONS:
            raise UsageError(f"{path}: {shown(key)}: no such section{closest(key, SECTIONS)}")
    for section in SECTIONS:
        blocks = content.get(section)
        content[section] = blocks = {} if blocks is None else blocks
        if not isinstance(blocks, dict):
            raise UsageError(f"{path}: {section}: expected named blocks, got {type(blocks).__name__}")
        for name, block in blocks.items():
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise UsageError(f"{path}: {section}.{shown(name)}: a name is of lower-case letters, digits and _, 100 at most")
            if not isinstance(block, dict):
                raise UsageError(f"{path}: {section}.{name}: expected a block of keys, got {type(block).__name__}")
    return content


def block(content: Mapping[str, Mapping[str, Any]], section: str, name: str, path: Path = PARAMS_FILE) -> Any:
    """One block as it stands in the file.

    Raises:
        UsageError: no such block, with the closest name that exists.
    """
    try:
        return content[section][name]
    except KeyError:
        raise UsageError(f"{path}: {section}.{name}: no such entry{closest(name, content[section])}") from None


def origins(content: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, str]:
    """All that a data set is made of, whether by encoding it or by keeping it, each with the encoding that takes it up."""
    found: dict[str, str] = {}
    waiting = [name]
    while waiting:
        made = waiting.pop()
        raw = content["encodings"].get(made)
        for source in (raw.get("data"), raw.get("beside")) if isinstance(raw, Mapping) else ():
            if isinstance(source, str) and source not in found:
                found[source] = made
                waiting.append(source)
    return found


def typed(params: type[AnyBlock], raw: Any, where: str) -> AnyBlock:
    """The block as `params`.

    Args:
        where: file and keys that lead to the block, for the message.

    Raises:
        UsageError: the first key that is misspelt, missing, of a wrong type or out of range.
    """
    try:
        return params.model_validate(raw)
    except ValidationError as error:
        raise UsageError(_explain(error, params, where)) from None


def closest(name: object, names: Any) -> str:
    """`; did you mean X?` where one of `names` is close, else what there is."""
    near = difflib.get_close_matches(shown(name), [str(n) for n in names], n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; there are: {', '.join(map(str, names))}" if names else "; there are none"


def shown(value: object, plain: bool = True) -> str:
    """A value of the file for a message: one line, shortened. Text that is harmless stands without quotes where `plain`."""
    if plain and isinstance(value, str) and value.isprintable() and len(value) <= _SHORT.maxstring:
        return value
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a whole number of {value.bit_length():,} bits"
    return _SHORT.repr(value)


def _parsed(text: str) -> Any:
    from ruamel.yaml import YAML

    depth = 0
    for event in YAML(typ="safe").parse(text):
        depth += type(event).__name__.endswith("StartEvent") - type(event).__name__.endswith("EndEvent")
        if depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} deep")
    return YAML(typ="safe").load(text)


def _explain(error: ValidationError, params: type[Block], where: str) -> str:
    # A misspelt key shows up as two errors, one extra and one missing: the extra one says more.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    key = ".".join(shown(part) for part in first["loc"])
    where = f"{where}.{key}" if key else where
    if first["type"] == "extra_forbidden":
        return f"{where}: no such key{closest(key, params.model_fields)}"
    if first["type"] == "missing":
        return f"{where}: missing; nothing has a default"
    message = first["msg"].replace("Input should be", "expected").replace("Value error, ", "")
    return f"{where}: {message}, got {shown(first['input'], plain=False)}"
