"""Runs, noted down while they happen: a stage appends lines to a spool, and the courier (`delivery.py`) brings them to MLflow.

    with Run("train", "vae", params, {"device": "cpu", "data": info.fingerprint}) as run:
        run.metrics({"vae/loss": 140.2}, step=100)
        run.image("reconstructions", Path("sheet.png"), step=100)
        run.model(Path("data/models/vae"), {"steps": "3000"})

A stage never imports MLflow, waits for it or fails because of it. What it notes is in the file before the call returns, so not even
`kill -9` loses a line. GENERATIVE_TRACKING says what happens: `on` (the default), `spool` (note, but start no courier) or `off`.

    data/spool/<id>/events.jsonl   one event a line; its writer holds an flock on it for as long as it lives
    data/spool/<id>/files/         copies of the pictures, files and weights that events name
    data/spool/<id>/state.json     how far the courier has come
    data/spool/courier.log         what the courier had to say
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from generative.errors import UsageError

SPOOL = Path("data/spool")
EVENTS = "events.jsonl"
FILES = "files"
MODES = ("on", "spool", "off")


class Run:
    """One stage at work on one catalogue entry; use it as a context manager."""

    def __init__(self, stage: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        self.mode = os.environ.get("GENERATIVE_TRACKING", "on")
        if self.mode not in MODES:
            raise UsageError(f"GENERATIVE_TRACKING: expected one of {', '.join(MODES)}; got {self.mode!r}")
        self.stage, self.name, self.params, self.tags = stage, name, dict(params), dict(tags)
        self.folder = Path()
        self._events: int | None = None
        self._kept = 0

    def __enter__(self) -> Run:
        if self.mode != "off":
            with self._harmless():
                self._open()
            if self.mode == "on" and self._events is not None:
                with self._harmless():
                    start_courier(self.folder.parent)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        ending = {"status": status(error)}
        if error is not None:
            ending["error"] = f"{type(error).__name__}: {error}"[:500]
        self._note("end", **ending)
        self._close()

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Notes figures of a step; costs about 10 microseconds."""
        self._note("metrics", step=step, values={key: float(value) for key, value in values.items()})

    def image(self, key: str, path: Path, step: int) -> None:
        """Notes a picture (png) of a step; it is copied, the original may go."""
        with self._harmless():
            self._note("image", step=step, key=key, file=self._keep(path))

    def artifact(self, path: Path) -> None:
        """Notes a file; it is copied, the original may go."""
        with self._harmless():
            self._note("artifact", file=self._keep(path), name=path.name)

    def model(self, folder: Path, tags: Mapping[str, str]) -> None:
        """Notes a model folder, to be registered as a version of the model of this name unless its weights already are."""
        with self._harmless():
            if self._events is None:
                return
            with (folder / "weights.safetensors").open("rb") as weights:
                digest = hashlib.file_digest(weights, "sha256").hexdigest()
            # Weights are replaced, never changed in place: a second name for them costs no space and outlives a rebuild.
            kept = [path for path in sorted(folder.rglob("*")) if path.is_file()]
            files = {str(path.relative_to(folder)): self._keep(path, link=True) for path in kept}
            self._note("model", folder=str(folder.resolve()), sha256=digest, tags=dict(tags), files=files)

    def _open(self) -> None:
        """Creates the folder under a hidden name and shows it once its lock is held: what the courier sees unlocked is dead."""
        spool = workspace() / SPOOL
        identity = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{os.getpid()}"
        hidden = spool / f".new-{identity}"
        hidden.mkdir(parents=True)
        self._events = os.open(hidden / EVENTS, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        fcntl.flock(self._events, fcntl.LOCK_EX)
        self._note(
            "start",
            **{"stage": self.stage, "name": self.name, "params": self.params, "tags": self.tags},
            **{"revision": revision(), "execution": execution(self.stage), "pid": os.getpid()},
        )
        self.folder = hidden.rename(spool / identity)

    def _keep(self, path: Path, link: bool = False) -> str:
        """Puts a file's content beside the events and returns its path there."""
        if self._events is None:
            return ""
        self._kept += 1
        kept = Path(FILES, f"{self._kept:04}-{path.name}")
        (self.folder / FILES).mkdir(exist_ok=True)
        try:
            (os.link if link else shutil.copyfile)(path, self.folder / kept)
        except OSError:  # as a link across file systems
            shutil.copyfile(path, self.folder / kept)
        return str(kept)

    def _note(self, event: str, **fields: Any) -> None:
        if self._events is None:
            return
        line = (json.dumps({"event": event, "time": int(time.time() * 1000), **fields}, default=str) + "\n").encode()
        with self._harmless():
            if os.write(self._events, line) < len(line):
                raise OSError("no space left for the whole line")

    def _close(self) -> None:
        if self._events is not None:
            os.close(self._events)
            self._events = None

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """Lets the stage go on untracked where the spool cannot be written; the run then ends as KILLED in MLflow."""
        try:
            yield
        except OSError as error:
            self._close()
            print(f"{self.stage} {self.name}: this run is no longer tracked, {SPOOL} cannot be written: {error}", file=sys.stderr)


def workspace() -> Path:
    """The project's root: a stage runs there, or in a copy that `dvc exp run --temp` removes when it is done."""
    here = Path.cwd()
    return next((folder.parent for folder in here.parents if folder.name == ".dvc"), here)


def status(error: BaseException | None) -> str:
    """How a run ended, in MLflow's words. An exit code above 128 stands for a signal, as in a shell."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "FINISHED"
    signalled = isinstance(error, SystemExit) and isinstance(error.code, int) and not 0 < error.code <= 128
    return "KILLED" if signalled or isinstance(error, KeyboardInterrupt) else "FAILED"


def revision() -> str:
    """The commit checked out, with "-dirty" where tracked files differ from it - but for what the pipeline itself writes.

    params.yaml is left out too: a scale put over it is no change of code, and every run records its parameters.
    """
    written = [f":(exclude){path}" for path in ("params.yaml", "dvc.lock", "data", "results")]
    try:
        head = subprocess.run(["git", "rev-parse", "--verify", "HEAD"], check=False, capture_output=True, text=True)
        if head.returncode:
            return "none"
        same = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", ".", *written], check=False, capture_output=True)
    except FileNotFoundError:
        return "none"
    return head.stdout.strip()[:12] + ("-dirty" if same.returncode else "")


def execution(stage: str) -> dict[str, str]:
    """What this stage is part of: the flow that said so, else the `dvc` above this process, else this process alone."""
    import psutil

    given = os.environ.get("GENERATIVE_EXECUTION")
    if given:
        return {"id": re.sub(r"[^\w.:-]", "-", given), "name": f"flow {datetime.now():%Y-%m-%d %H:%M:%S}"}
    own = psutil.Process()
    process, word = own, stage
    for ancestor in own.parents():  # from the nearest to the topmost: the last one found wins
        try:
            verb = dvc_verb(ancestor.cmdline())
        except psutil.Error:
            continue
        if verb:
            process, word = ancestor, f"dvc {verb}"
    began = process.create_time()
    identity = f"{os.uname().nodename}-{process.pid}-{began:.2f}"
    return {"id": re.sub(r"[^\w.:-]", "-", identity), "name": f"{word} {datetime.fromtimestamp(began):%Y-%m-%d %H:%M:%S}"}


def dvc_verb(words: list[str]) -> str:
    """The sub-command of a `dvc` command line ("repro"); empty for any other command line."""
    if words and Path(words[0]).name.startswith("python"):
        words = words[2:] if words[1:2] == ["-m"] else words[1:]
    if not words or Path(words[0]).name != "dvc":
        return ""
    return next((word for word in words[1:] if not word.startswith("-")), "")


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock of this file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def start_courier(spool: Path) -> None:
    """Starts the courier of this workspace in the background unless it is there. It keeps nothing of its caller open."""
    lock = spool / ".lock"
    lock.touch()
    if is_locked(lock):
        return
    with (spool / "courier.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "generative.training.delivery"],
            cwd=spool.parents[1],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
