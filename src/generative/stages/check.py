"""check: refuses a faulty params.yaml before DVC removes any output on its account."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def check() -> None:
    """Reads every block of params.yaml and every reference between blocks; the first fault is an error."""
    from generative.catalogue import Catalogue
    from generative.files import write_file

    Catalogue.read().check()
    # The same words every time: the stages that depend on this file run after it, but are not out of date because of it.
    write_file(Path("data/checked.txt"), "params.yaml is valid\n")


if __name__ == "__main__":
    from generative.stages.command import guarded

    argparse.ArgumentParser(prog="python -m generative.stages.check", description=check.__doc__).parse_args()
    sys.exit(guarded(check, "check"))
