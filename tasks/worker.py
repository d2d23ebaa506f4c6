"""What a Dask worker does in its clone for a flow in another: data come and go through DVC's remote, DVC's record in parcels."""

from __future__ import annotations

import hashlib
import platform
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from itertools import dropwhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ruamel.yaml import YAML

from generative.errors import UsageError
from generative.files import sole_owner, write_file
from tasks.dvc import LOCK, Outcome, StageFailedError, ask, outcome, run
from tasks.mend import mend
from tasks.record import HEAD, RECORD, entry, merged

SAME = ("dvc.yaml", "params.yaml", "src/generative/**/*.py", "src/generative/**/*.css", "tasks/*.py")
LIBRARIES = ("dvc", "numpy", "torch")


@dataclass(frozen=True)
class Parcel:
    """What a clone needs to know of stages that ran in another: their part of dvc.lock, and the outputs that no remote keeps."""

    lock: str
    files: dict[str, bytes]

    def unpack(self) -> None:
        """Write it down here, whatever stood there."""
        known = RECORD.read_text() if RECORD.exists() else HEAD
        write_file(RECORD, merged(known, self.lock))
        for path, content in self.files.items():
            write_file(Path(path), content)


@dataclass(frozen=True)
class Order(Parcel):
    """A stage to bring up to date, with the whole of dvc.lock and what else the stages `before` it left."""

    stage: str
    before: Sequence[str]
    facts: Mapping[str, str]  # that must be the same where it runs
    execution: str
    topic: str  # of the events that carry the stage's lines


def pack(stages: Iterable[str]) -> Parcel:
    """What this clone knows of these stages."""
    stages = list(stages)
    known, pipeline = RECORD.read_text(), YAML(typ="safe").load(Path("dvc.yaml"))["stages"]
    paths = [path for stage in stages for path in _kept_by_nobody(stage, pipeline) if Path(path).exists()]
    return Parcel("".join(entry(known, stage) for stage in stages), {path: Path(path).read_bytes() for path in paths})


def _kept_by_nobody(stage: str, pipeline: dict[str, Any]) -> list[str]:
    """The outputs that DVC does not cache, and the journal of the run."""
    kind, _, name = stage.partition("@")
    block = pipeline[kind].get("do", pipeline[kind])
    outputs = [out for part in ("outs", "metrics", "plots") for out in block.get(part, ()) if isinstance(out, dict)]
    paths = [path for out in outputs for path, options in out.items() if options.get("cache") is False]
    return [path.replace("${key}", name) for path in paths] + [f"data/runs/{kind}/{name}.json"]


def facts() -> dict[str, str]:
    """What the outputs depend on beside the data: the content of the code and of params.yaml, and the versions that compute."""
    files = {str(path): hashlib.md5(path.read_bytes()).hexdigest() for pattern in SAME for path in sorted(Path().glob(pattern))}
    return files | {name: version(name) for name in LIBRARIES} | {"Python": platform.python_version()}


def differing(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """What is not the same, in words; empty where all is."""
    for key in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(key, "none"), theirs.get(key, "none")
        if a != b and Path(key).suffix:
            return f"{key} is not the flow's; expected a clone of the same commit, with the same changes, got another"
        if a != b:
            return f"{key}: expected {a} as where the flow runs, got {b}"
    return ""


@dataclass(frozen=True)
class Introduction:
    """What a worker says of itself before it is given work."""

    folder: str  # with the machine's name
    facts: Mapping[str, str]
    remote: str  # the default remote of its DVC; empty where there is none


def introduce() -> Introduction:
    """Who works here."""
    return Introduction(f"{socket.gethostname()}:{Path.cwd()}", facts(), remote())


def remote() -> str:
    """The name of DVC's default remote; empty where there is none."""
    try:
        return ask("remote", "default").strip()
    except UsageError:
        return ""


def carry_out(given: Mapping[str, Any]) -> tuple[Outcome, Parcel]:
    """Bring the stage up to date in this clone, and say what it left.

    Args:
        given: an Order, as a dictionary: Dask's scheduler unpacks what passes through it, and has none of our code.

    Raises:
        StageFailedError: the stage or DVC ended with an error, or nobody waits for it any more.
    """
    from distributed import get_worker

    order, worker = Order(**given), get_worker()
    task = worker.state.tasks[worker.get_current_task()]

    def say(line: str) -> None:
        worker.log_event(order.topic, (order.stage, line))

    def wanted() -> bool:
        return task.state == "executing"  # not any more where the flow was stopped or killed: Dask cannot end a task that has begun

    if difference := differing(order.facts, facts()):
        raise StageFailedError(f"worker {worker.address} in {Path.cwd()}: {difference}")
    with sole_owner(LOCK):
        say(f"at work on {worker.address}")
        mend()
        order.unpack()
        _trade("pull --force", order.before, wanted)
        heard = run(["repro", "--single-item", "--pull", order.stage], say, wanted, order.execution)
        _trade("push", [order.stage], wanted)
        return outcome(order.stage, heard), pack([order.stage])


trades: dict[str, Callable[..., Any]] = {}  # by token: what was set up here for a flow that asks again and again


Packed = tuple[dict[str, Any], list[bytearray]]  # by Dask, for which no scheduler has to know our code


def packed(what: object) -> Packed:
    """Anything, as plain types, to be unpacked by a worker."""
    from distributed.protocol.serialize import serialize

    header, frames = serialize(what, serializers=["pickle"])
    return header, [bytearray(frame) for frame in frames]  # writable, as arrays should be


def answer(token: str, given: Mapping[str, Any] | None, request: Packed) -> tuple[bool, Any]:
    """(whether the trade of this token is known here, the answer to a request of it).

    Args:
        given: how the trade is set up, packed, and the facts that must be the same here; None to ask whoever knows it already.

    Raises:
        StageFailedError: this clone is not the flow's.
    """
    from distributed.protocol.serialize import deserialize

    unpacked: Callable[..., Any] = deserialize
    if token not in trades:
        if given is None:
            return False, None
        if difference := differing(given["facts"], facts()):
            raise StageFailedError(f"{introduce().folder}: {difference}")
        trades.clear()
        trades[token] = unpacked(*given["setup"])()
    return True, trades[token](*unpacked(*request))


def shard(module: str, source: Any, wanted: Any) -> bytes:
    """A file of episodes, as the module of its source makes it."""
    with TemporaryDirectory() as folder:
        import_module(module).make(source, Path(folder), wanted)
        return (Path(folder) / wanted.file).read_bytes()


def _trade(command: str, stages: Sequence[str], wanted: Callable[[], bool]) -> None:
    """Move what stages made; a failure is told with its place and in all of DVC's words."""
    if not stages:
        return  # DVC would take none for all
    arguments, lines = [*command.split(), *stages], list[str]()
    try:
        run(arguments, lines.append, wanted)
    except StageFailedError as error:
        words = " ".join(dropwhile(lambda line: not line.startswith("ERROR: "), lines)).removeprefix("ERROR: ")
        raise type(error)(f"dvc {' '.join(arguments)} in {Path.cwd()}: {words or error}") from None
