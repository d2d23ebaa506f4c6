"""Mends what a DVC that was killed leaves half written, and no DVC would start with any more; flows do it by themselves.

python -m tasks.mend
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from generative.files import sole_owner, write_file
from tasks.record import RECORD

READERS = Path(".dvc/tmp/rwlock")  # DVC's list of who reads and writes what
_USUAL_END = re.compile(r"\n      (size|nfiles): \d+\n\Z")  # what ends here can be read: DVC need not be asked


def mend() -> None:
    """Removes the list of who reads and writes what where it is broken, and the stage in which the record of what is built breaks off.

    Raises:
        UsageError: the record stays broken, but a DVC is at work.
    """
    if _stays(lambda: not _is_list()):
        READERS.unlink(missing_ok=True)
        print(f"{READERS}: half of it was left by a killed DVC; removed", flush=True)
    if _stays(lambda: not _is_record()):
        with sole_owner(READERS.parent):  # by the very lock under which DVC writes the record
            if not _is_record():
                _shorten()


def _stays(broken: Callable[[], bool]) -> bool:
    """Whether it is so for a second: a DVC that is at work may be writing."""
    for _ in range(5):
        if not broken():
            return False
        time.sleep(0.2)
    return True


def _is_list() -> bool:
    try:
        json.loads(READERS.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True


def _is_record() -> bool:
    try:
        text = RECORD.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return True
    if _USUAL_END.search(text):
        return True
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.serialize import YAMLFileCorruptedError, parse_yaml
    from voluptuous import Invalid

    try:
        return bool(COMPILED_LOCKFILE_SCHEMA(parse_yaml(text, RECORD)))
    except (Invalid, YAMLFileCorruptedError):
        return False


def _shorten() -> None:
    """Leaves the stages before the last; the others DVC takes from its cache, or runs again."""
    text = RECORD.read_text(encoding="utf-8", errors="replace")
    stages = [match.start() for match in re.finditer(r"^  \S", text, re.MULTILINE)]
    if len(stages) > 1:
        write_file(RECORD, text[: stages[-1]])
    else:
        RECORD.unlink()
    print(f"{RECORD}: half of it was left by a killed DVC; {max(len(stages) - 1, 0)} stages kept", flush=True)


if __name__ == "__main__":
    from generative.stages.command import guarded

    sys.exit(guarded(mend, "mend"))
