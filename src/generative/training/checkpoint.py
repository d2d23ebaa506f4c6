"""What survives a process: the state of an unfinished training, and the folder of a finished model.

A finished model is weights.safetensors beside model.json (the model's file, its parameters, the data set's `Info`); nothing in it can
execute. The state of an unfinished training lives in data/work/<name>, which DVC does not know, because DVC deletes a stage's outputs
before it runs the stage; it is valid for one fingerprint of parameters, data and code, and goes when the training is finished. It ends
with a seal, a hash of fingerprint and content: what is damaged or of another training is never even parsed.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode
from tqdm import tqdm

import generative
from generative import models
from generative.data.store import Info
from generative.errors import UsageError
from generative.files import write_file
from generative.models.model import Model
from generative.params import Training, typed

SOURCE = Path(generative.__file__).parent
SEAL = 32  # bytes
SMALL = 2**28  # bytes: what is built from a few of them is built at once, anything larger is outlined before
FROZEN = ("model", "before")  # in the folder of an encoded data set: what made it, and what made the data set that it was made from


@dataclass(frozen=True)
class Work:
    """The folder of an unfinished training."""

    folder: Path
    fingerprint: str

    @property
    def file(self) -> Path:
        return self.folder / "checkpoint.pt"

    def save(self, step: int, model: nn.Module, optimizers: list[Optimizer], extra: dict[str, Any]) -> None:
        state = {
            "fingerprint": self.fingerprint,
            "step": step,
            "model": model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "extra": extra,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        buffer.write(self._seal(buffer.getbuffer()))
        write_file(self.file, buffer.getvalue())

    def restore(self, model: nn.Module, optimizers: list[Optimizer]) -> tuple[int, dict[str, Any]]:
        """(steps done, what was saved beside them); (0, {}) where there is no state of this very training."""
        content = self.file.read_bytes() if self.file.is_file() else b""
        if content[-SEAL:] != self._seal(memoryview(content)[:-SEAL]):
            return 0, {}  # the training starts anew and writes its own
        state = torch.load(io.BytesIO(content), weights_only=True, map_location=next(model.parameters()).device)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        tqdm.write(f"{self.folder.name}: resumes at step {state['step']}")
        return state["step"], state["extra"]

    def _seal(self, content: memoryview) -> bytes:
        digest = hashlib.sha256(self.fingerprint.encode())
        digest.update(content)
        return digest.digest()


def fingerprint(params: Training, info: Info, world: int) -> str:
    """sha256 over all that a training depends on: parameters, data, number of processes, the code of model, layers and loop."""
    digest = hashlib.sha256(json.dumps([params.model_dump(), info.model_dump(), world, torch.__version__]).encode())
    files = [SOURCE / "models" / f"{params.model}.py", *(SOURCE / "nn").rglob("*.py"), *(SOURCE / "training").glob("*.py")]
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def save(folder: Path, model: nn.Module, params: Training, info: Info) -> None:
    """Writes a finished model into an existing folder."""
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()}
    write_file(folder / "weights.safetensors", safetensors.torch.save(tensors))
    record = {"model": params.model, "params": params.model_dump(), "info": info.model_dump()}
    write_file(folder / "model.json", json.dumps(record, indent=1) + "\n")


def build(kind: type[Model], params: Training, info: Info) -> Model:
    """A fresh model, with the weights that torch's random state gives it.

    Raises:
        UsageError: its weights alone are more than this machine's memory; nothing of that size is asked for.
    """
    import psutil

    if (model := small(kind, params, info)) is not None:
        return model
    there = psutil.virtual_memory().total
    try:
        size = sum(value.nbytes for value in outline(kind, params, info).state_dict().values())
    except RuntimeError as error:
        if "overflowed" not in str(error):
            raise
        size = math.inf
    if size > there:
        expected = f"expected sizes whose weights fit into {there / 1e9:,.0f} GB of memory"
        raise UsageError(f"{params.model}: {expected}, got {size / 1e9:,.0f} GB")
    return kind(params, info)  # type: ignore[call-arg]


def small(kind: type[Model], params: Training, info: Info) -> Model | None:
    """A fresh model, or None, with torch's random state as it was, where it takes more than `SMALL` bytes to make one."""
    state = torch.get_rng_state()
    try:
        with Sparing(SMALL):
            return kind(params, info)  # type: ignore[call-arg]
    except (TooLargeError, RuntimeError):
        torch.set_rng_state(state)
        return None


class TooLargeError(Exception): ...


class Sparing(TorchFunctionMode):
    """Within it torch makes tensors of so many bytes in all, and raises `TooLargeError` instead of making more."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.left = limit

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        values = [*args, *(kwargs or {}).values()]
        if not any(isinstance(value, Tensor) for value in values):  # it makes one of the sizes that it is given
            numbers = [n for value in values for n in (value if isinstance(value, tuple | list) else [value]) if type(n) is int]
            self._take(math.prod(n for n in numbers if n > 1))
        made = func(*args, **(kwargs or {}))
        self._take(made.nbytes if isinstance(made, Tensor) else 0)
        return made

    def _take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise TooLargeError


def outline(kind: type[Model], params: Training, info: Info) -> Model:
    """The model without its numbers: it knows the sizes of its weights and takes no memory, but a second to import what torch needs."""
    with torch.device("meta"):
        return kind(params, info)  # type: ignore[call-arg]


def load(folder: str | Path, device: str | torch.device = "cpu") -> Any:
    """A finished model from its folder, in eval mode: `generative.load("data/models/vae")`.

    Returns:
        The `Model`, with its block as `.params` and its data set's facts as `.info`.

    Raises:
        UsageError: the folder holds no model, a damaged one, or weights of another model or size.
    """
    folder = Path(folder)
    params, kind, info = read_record(folder)
    path = folder / "weights.safetensors"
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: not a whole file of weights: {error}; `dvc checkout` restores it") from None
    try:
        model = small(kind, params, info)
        if model is None:
            outline(kind, params, info).load_state_dict(tensors, assign=True)  # before all that a damaged record may say is made
            model = kind(params, info)  # type: ignore[call-arg]
        model.load_state_dict(tensors)
    except RuntimeError as error:
        details = textwrap.shorten(str(error), 400)
        raise UsageError(f"{path}: expected the weights that {folder / 'model.json'} describes: {details}") from None
    if model.can("receive"):
        model.receive(frozen(folder, device), None)
    return model.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def frozen(folder: Path, device: str | torch.device) -> list[Model]:
    """The trained models that made a data set, or that a model was trained upon; the first phase first."""
    before = frozen(folder / "before", device) if (folder / "before").exists() else []
    return [*before, load(folder / "model", device)] if (folder / "model").exists() else before


def frozen_files(folder: Path) -> dict[str, bytes]:
    """What `frozen` reads, by path within the folder: written into another, on whatever machine, it is read there."""
    files = [path for part in FROZEN for path in sorted((folder / part).rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def keep_frozen(folder: Path, to: Path) -> None:
    """Copies the trained models that stand in a data set's folder into another folder."""
    for part in FROZEN:
        if (folder / part).exists():
            shutil.copytree(folder / part, to / part)


def trained(name: str, params: Training, info: Info, device: str | torch.device) -> Any:
    """The finished model of an entry, which must be the one that its block and its data describe now.

    Raises:
        UsageError: the folder holds the model of another block or of other data, besides the reasons of `load`.
    """
    folder = Path("data/models") / name
    there, _, made_from = read_record(folder)
    facts = there.model_dump() | made_from.model_dump()
    for key, value in (params.model_dump() | info.model_dump()).items():
        if facts.get(key) != value:
            raise UsageError(
                f"{folder / 'model.json'}: {key}: expected {value!r} as params.yaml and the data say now, got {facts.get(key)!r}; "
                f"`dvc repro train@{name}` makes the model"
            )
    return load(folder, device)


def read_record(folder: Path) -> tuple[Training, type[Model], Info]:
    """What model.json says: the block, the class and the data set's facts."""
    path = folder / "model.json"
    try:
        record = json.loads(path.read_text())
        name, raw, info = record["model"], record["params"], record["info"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{path}: not a model's record ({type(error).__name__}: {error}); `dvc repro train@{folder.name}` makes the model"
        ) from None
    typed_as, kind = models.find(name, f"{path}: model")
    return typed(typed_as, raw, f"{path}: params"), kind, typed(Info, info, f"{path}: info")
