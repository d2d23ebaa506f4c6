"""dvc.lock, written as DVC writes it, but in one step and only where it changes.

DVC reads and writes the whole of it for every stage, which takes a second where there are a hundred stages, and one that is killed at it
leaves half a file that no DVC reads any more. Here the stage's own lines are put in place of the old ones, byte for byte as DVC would.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from generative.files import write_file

RECORD = Path("dvc.lock")
HEAD = "schema: '2.0'\nstages:\n"
_BELOW = r"(?:(?! {0,2}\S).*\n)*"  # all that is indented deeper than the name of a stage
_STAGE = re.compile(rf"  \S.*\n{_BELOW}")


def keep_in_one_step() -> None:
    """Let the DVC of this process keep its record this way."""
    from dvc.dvcfile import Lockfile

    _dump = Lockfile.dump_stages

    def instead(lockfile: Any, stages: list[Any], **options: Any) -> None:
        path = Path(lockfile.path)
        before = path.read_text(encoding="utf-8") if path.exists() else HEAD
        if not is_plain(before):
            _dump(lockfile, stages, **options)
        elif (after := _with(before, stages, options)) != before or not path.exists():
            write_file(path, after)
            lockfile.repo.scm_context.track_file(lockfile.relpath)

    Lockfile.dump_stages = instead  # pyright: ignore[reportAttributeAccessIssue] - its parameters need not have DVC's names


def entry(text: str, stage: str) -> str:
    """The lines of a record on a stage; none where it never ran."""
    found = re.search(rf"^  {re.escape(stage)}:\n{_BELOW}", text, re.MULTILINE)
    return found[0] if found else ""


def merged(text: str, entries: str) -> str:
    """The record with new lines on stages in the place of old ones, or at its end."""
    for stage in re.findall(r"^  (\S+):$", entries, re.MULTILINE):
        new, old = entry(entries, stage), entry(text, stage)
        text = text.replace(old, new) if old else text + new
    return text


def is_plain(text: str) -> bool:
    """Whether it is a record of stages and nothing else, each with lines of its own."""
    return text.startswith(HEAD) and _STAGE.sub("", text[len(HEAD) :]) == "" and not re.search(r": [&*]id\d", text)


def _with(text: str, stages: list[Any], options: dict[str, Any]) -> str:
    from dvc.stage.serialize import to_lockfile
    from dvc.utils.serialize import dumps_yaml

    for stage in stages:
        text = merged(text, dumps_yaml({"schema": "2.0", "stages": to_lockfile(stage, **options)}).removeprefix(HEAD))
    return text
