"""The command line of both flows."""

from __future__ import annotations

import argparse
import os
import signal
from importlib import import_module
from pathlib import Path
from typing import Any

from generative.errors import UsageError
from generative.files import sole_owner

LOCK = Path(".prefect/flow")  # one flow a folder: what one DVC is at work on, another refuses


def main(name: str, about: str) -> int:
    """Run the flow `name` as the command line says; the exit code is 0, 1 (refused, or stages failed) or 130 (interrupted)."""
    arguments = _arguments(name, about)
    from generative.stages.command import guarded

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite end at any time, also while Prefect is still starting
    return guarded(lambda: _run(name, arguments), name)


def _arguments(name: str, about: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog=f"python -m flows.{name}", description=about)
    if name == "catalogue":
        parser.add_argument("names", nargs="*", metavar="NAME", help="an entry of params.yaml; everything where none is given")
    else:
        parser.add_argument("name", metavar="NAME", help="a model of params.yaml")
    parser.add_argument("--workers", type=_positive, metavar="N", help="stages at once; the number of cores where not given")
    return vars(parser.parse_args())


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def _refuse_unknown(flow: str, names: list[str]) -> None:
    from generative import params

    content = params.read()
    sections = ["models"] if flow == "model" else params.SECTIONS
    known = [key for section in sections for key in content[section]]
    for name in names:
        if name not in known:
            raise UsageError(f"{params.PARAMS_FILE}: {name}: no such entry in {' or '.join(sections)}{params.closest(name, known)}")


def _run(name: str, arguments: dict[str, Any]) -> None:
    from flows import server

    _refuse_unknown(name, arguments.get("names", [arguments.get("name")]))
    ours = "PREFECT_API_URL" not in os.environ
    with sole_owner(LOCK):
        print("Prefect is starting", flush=True)  # which takes seconds, and half a minute where it must create its database
        place = server.start() if ours else "PREFECT_API_URL"
        flow = getattr(import_module(f"flows.{name}"), name)  # imports Prefect while its server starts
        server.wait(place)
        try:
            flow(**arguments)
        finally:
            if ours:
                server.settle()
