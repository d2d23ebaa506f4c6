"""What a person sees of a flow while it runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flows.forecast import left
from flows.plan import Needs
from flows.scheduler import Result
from tasks.dvc import last_lines

_STEP = re.compile(r"step (\d+)/(\d+)")


class View:
    """Context manager, told when a stage begins and ends."""

    def __init__(self, needs: Needs, seconds: Mapping[str, float], workers: int, certain: bool, console: Console | None = None) -> None:
        self.needs, self.seconds, self.workers, self.certain = needs, seconds, workers, certain
        self.running: dict[str, float] = {}  # stage -> when it began
        self.results: list[Result] = []
        self.live: Live | None = None
        console = console or Console()
        if console.is_terminal:
            self.live = Live(console=console, get_renderable=self.show, refresh_per_second=2, transient=True)

    def __enter__(self) -> View:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.live:
            self.live.stop()

    def begun(self, stage: str) -> None:
        self.running[stage] = time.monotonic()

    def ended(self, result: Result) -> None:
        self.running.pop(result.stage, None)
        self.results.append(result)
        print(f"{result.stage} {result.outcome} after {result.seconds:.1f} s{self._left()}", flush=True)

    def show(self) -> RenderableType:
        """The stages at work, and a line on the others."""
        table = Table.grid(padding=(0, 2))
        for stage, began in list(self.running.items()):
            spent = time.monotonic() - began
            share = self._share(stage, spent)
            table.add_row(stage, ProgressBar(total=1, completed=share, width=24), f"{spent:.0f} s")
        failed = [result.stage for result in self.results if result.outcome == "failed"]
        waiting = len(self.needs) - len(self.running) - len(self.results)
        words = f"{len(self.results)} of {len(self.needs)} stages ended, {waiting} waiting{self._left()}"
        lines = [Text(words)] + ([Text(f"failed: {', '.join(failed)}", style="red")] if failed else [])
        return Group(table, *lines)

    def _share(self, stage: str, spent: float) -> float:
        """What part of a stage is done, as its last line says, or else the clock."""
        if match := _STEP.search(last_lines.get(stage, "")):
            return int(match[1]) / int(match[2])
        return min(spent / self.seconds[stage], 0.99)

    def _left(self) -> str:
        if not self.certain:
            return ""
        now, remaining = time.monotonic(), dict(self.seconds)
        for stage, began in list(self.running.items()):
            remaining[stage] = max(self.seconds[stage] - (now - began), 0.0)
        for result in self.results:
            remaining[result.stage] = 0.0
        seconds = left(self.needs, remaining, self.workers)
        return f", about {_span(seconds)} left" if seconds >= 1 else ""


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
