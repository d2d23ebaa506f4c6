"""What every stage's command line shares: a quick --help, one message for what a user can mend, and the record of the run."""

from __future__ import annotations

import argparse
import errno
import inspect
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from generative.errors import UsageError
from generative.files import die_with_parent, write_file
from generative.training.tracking import Run, revision

ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and run the command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the command again",
    errno.EFBIG: "larger than this file system or `ulimit -f` allows",
    errno.EACCES: "no permission; it must be readable, and the folder it is in writable",
    errno.EPERM: "no permission; it must be readable, and the folder it is in writable",
    errno.EROFS: "the file system is read-only; the folder it is in must be writable",
    errno.ENOTDIR: "a file is in the way of a folder; move it away",
    errno.EEXIST: "something is in the way; move it away",
    errno.EISDIR: "a folder is in the way of a file; move it away",
    errno.ENOENT: "no such file; `dvc repro` makes what is missing",
    None: "not written whole; is the disk full?",  # numpy and shutil give no number
}


def command_line(stage: Callable[..., None], section: str, options: dict[str, str] | None = None) -> None:
    """Runs `python -m generative.stages.STAGE NAME`; exits with 1 after one message for what a user can mend.

    Args:
        section: of params.yaml, whose entries NAME may be.
        options: what --help says of those of the stage that may stand after NAME; any other `--key value` is passed to the stage too.
            None where it has no options.
    """
    title = stage.__name__
    parser = argparse.ArgumentParser(
        prog=f"python -m generative.stages.{title}",
        description=inspect.getdoc(stage),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", help=f"an entry of {section} in params.yaml")
    for option, meaning in (options or {}).items():
        parser.add_argument(f"--{option}", help=meaning)
    known, rest = parser.parse_known_args()
    if rest and options is None:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    name = known.name
    given = {option: getattr(known, option) for option in options or {} if getattr(known, option) is not None}
    given |= _pairs(parser, rest)
    if "DVC_STAGE" in os.environ:  # outside DVC the parent is a person's shell, which may go, as with nohup
        die_with_parent()
        # A DVC that died before that line has left us to a process outside its group, which is ours too; torchrun's workers have their own.
        if os.getpgrp() not in (os.getpid(), os.getpgid(os.getppid())):
            sys.exit(f"{title} {name}: DVC is gone")
    sys.exit(guarded(lambda: stage(name, **given), f"{title} {name}"))


def _pairs(parser: argparse.ArgumentParser, words: list[str]) -> dict[str, str]:
    """`--key value` or `--key=value`, which argparse does not know, as a dictionary."""
    pairs, words = {}, [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    for key, value in zip(words[::2], [*words[1::2], None], strict=False):
        if not key.startswith("--") or value is None:
            parser.error(f"expected --option value, got {key}")
        pairs[key.removeprefix("--")] = value
    return pairs


def guarded(work: Callable[[], None], title: str) -> int:
    """Does the work and returns the exit code; what a user can mend becomes one message on stderr."""
    try:
        work()
    except UsageError as error:
        print(f"{title}: {error}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"{title}: more memory than there is: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in ADVICE:
            raise
        print(f"{title}: {error.filename or error}: {ADVICE[error.errno]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{title}: stopped", file=sys.stderr)
        return 130
    return 0


@contextmanager
def recorded(stage: str, name: str, params: dict[str, Any], **tags: str) -> Iterator[Record]:
    """The run of a stage: in MLflow while it lasts, and in the journal data/runs/<stage>/<name>.json once it has ended well.

    The journal has what may differ from run to run and therefore stands in no output: when, how long, on what, of which revision.
    """
    start = time.monotonic()
    facts: dict[str, Any] = {"stage": stage, "name": name, "params": params, "revision": revision(), **tags}
    with Run(stage, name, params, tags) as run:
        record = Record(run)
        yield record
    facts["when"] = datetime.now(UTC).isoformat(timespec="seconds")
    facts["seconds"] = round(record.seconds or time.monotonic() - start, 1)
    write_file(Path("data/runs") / stage / f"{name}.json", json.dumps(facts, indent=1) + "\n")


@dataclass
class Record:
    """What a stage may add to the record of its run."""

    run: Run
    seconds: float | None = None  # that the work took, where it is more than this process has done


def use_threads(block: dict[str, Any]) -> int:
    """Tells the numeric libraries how many threads a model's block asks for, before any of them is imported; returns the number."""
    threads = block.get("threads")
    count = threads if isinstance(threads, int) and threads > 0 else 1  # a wrong value is refused when the block is typed
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(count)
    return count
