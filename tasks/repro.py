"""`dvc repro` of all that is out of date, or of the stages that are named: what `make repro` runs.

    python -m tasks.repro [STAGE ...]    DVC's own options too

Plain `dvc repro` makes the same, and the same dvc.lock. Here that is mended before and then kept in one step (`tasks/record.py`), where DVC
reads and writes the whole of it for every stage: with a hundred of them seconds each.
"""

from __future__ import annotations

import sys

from tasks import mend, record


def repro() -> int:
    """Returns DVC's exit code."""
    from dvc.cli import main as dvc

    record.keep_in_one_step()
    return dvc(["repro", *sys.argv[1:]])


if __name__ == "__main__":
    from generative.stages.command import guarded

    sys.exit(guarded(mend.mend, "repro") or repro())
