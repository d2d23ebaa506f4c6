"""The command line of the flows."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import threading
from contextlib import suppress
from importlib import import_module
from typing import Any

from generative.errors import UsageError
from generative.files import sole_owner
from tasks.dvc import LOCK


def main(name: str, about: str) -> int:
    """Run the flow `name` as the command line says; the exit code is 0, 1 (refused, or stages failed) or 130 (interrupted)."""
    arguments = _arguments(name, about)
    from generative.stages.command import guarded

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite end at any time, also while Prefect is still starting
    return guarded(lambda: _run(name, arguments), name)


def _arguments(name: str, about: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog=f"python -m flows.{name}", description=about)
    if name == "model":
        parser.add_argument("name", metavar="NAME", help="a model of params.yaml")
    else:
        entry, otherwise = ("a model", "all that are evolved") if name == "world_models" else ("an entry", "everything")
        parser.add_argument("names", nargs="*", metavar="NAME", help=f"{entry} of params.yaml; {otherwise} where none is given")
    if name == "world_models":
        told = "rounds, each collected by the controller of the one before (generative.rounds); as params.yaml has them where not given"
        parser.add_argument("--iterations", type=_positive, metavar="N", help=told)
    at_once, what = ("processes of this machine that try candidates", "trials") if name == "world_models" else ("stages at once", "stages")
    parser.add_argument("--workers", type=_positive, metavar="N", help=f"{at_once}; as many as cores, or Dask workers, where not given")
    parser.add_argument("--runner", choices=["process", "dask"], help=f"where {what} run: on this machine, or by a scheduler's workers")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of Dask, as tcp://127.0.0.1:8786; else DASK_SCHEDULER_ADDRESS")
    return _settled(parser, vars(parser.parse_args()))


def _settled(parser: argparse.ArgumentParser, arguments: dict[str, Any]) -> dict[str, Any]:
    """The flow's own parameters: a scheduler is one where stages run on its workers, and only there."""
    runner, scheduler = arguments.pop("runner", None), arguments.get("scheduler")
    if runner == "process" and scheduler:
        parser.error("argument --scheduler: only with --runner dask")
    if runner == "dask" and not scheduler:
        arguments["scheduler"] = scheduler = os.environ.get("DASK_SCHEDULER_ADDRESS")
        if not scheduler:
            parser.error("argument --runner: dask wants the address of a scheduler, by --scheduler or DASK_SCHEDULER_ADDRESS")
    return arguments


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def _refuse_unknown(flow: str, names: list[str]) -> None:
    from generative import params

    content = params.read()
    sections = params.SECTIONS if flow == "catalogue" else ["models"]
    known = [key for section in sections for key in content[section]]
    for name in names:
        if name not in known:
            raise UsageError(f"{params.PARAMS_FILE}: {name}: no such entry in {' or '.join(sections)}{params.closest(name, known)}")


def evolving() -> list[str]:
    """The models of params.yaml that are evolved in a world."""
    from generative import params

    return [name for name, block in params.read()["models"].items() if "held_out_every" in block]


def unrolled(names: list[str], iterations: int | None) -> list[str]:
    """The named controllers, or all, in as many rounds as are asked for, which are written into params.yaml."""
    from generative import rounds

    names = names or evolving()
    return names if iterations is None else [each for name in rounds.beginnings(names) for each in rounds.unroll(name, iterations)]


def _run(name: str, arguments: dict[str, Any]) -> None:
    from flows.report import conclude
    from flows.survey import prepare
    from tasks.cluster import look
    from tasks.dvc import stop_all
    from tasks.mend import mend

    names = arguments.get("names", [arguments.get("name")])
    _refuse_unknown(name, names)
    if scheduler := arguments.get("scheduler"):
        look(scheduler)
    with sole_owner(LOCK):
        if name == "world_models":
            names = arguments["names"] = unrolled(names, arguments.pop("iterations"))
        mend()
        engine = Engine(name)
        try:
            found = prepare(names, engine.start)
            if found.needs:
                print(
                    f"{len(found.needs)} stages to do; Prefect is starting", flush=True
                )  # half a minute where it must create its database
                engine.run(arguments)
            else:
                conclude(found.checked, found)
        finally:
            stop_all()
            if engine.loading.is_alive():  # Python ends badly amid an import
                engine.loading.join()


class Engine:
    """Prefect, and what the stages come from: both take seconds to start, which go by while DVC looks closer."""

    def __init__(self, flow: str) -> None:
        self.flow = flow
        self.ours = "PREFECT_API_URL" not in os.environ
        self.loading = threading.Thread(target=self._load)

    def _load(self) -> None:
        with suppress(Exception):  # `run` imports it too, and there somebody hears what is wrong
            import_module(f"flows.{self.flow}")

    def start(self) -> None:
        from flows import server
        from tasks.dvc import make_ready

        make_ready()
        if self.ours:
            server.start()
        self.loading.start()

    def run(self, arguments: dict[str, Any]) -> None:
        from flows import server

        self.loading.join()
        place = server.journal() if self.ours else "PREFECT_API_URL"
        server.wait(place)
        from httpx import HTTPError

        logging.raiseExceptions = False  # Prefect's log has its own server to go to, and no other message where that fails
        try:
            getattr(import_module(f"flows.{self.flow}"), self.flow)(**arguments)
        except HTTPError as error:
            reason = str(error).partition(" for url")[0] or type(error).__name__
            raise UsageError(f"{place}: Prefect's server failed: {reason}; what is built stays, run the command again") from None
        finally:
            if self.ours:
                server.settle()
