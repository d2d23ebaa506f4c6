"""Contestants take turns, so that whatever else the machine does falls on all of them alike."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATH = f"{ROOT}{os.pathsep}{ROOT / 'src'}"
WARM_UP = 20  # steps before the first round: compilation, caches, imports


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def show(self, digits: int) -> str:
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}..{self.high:.{digits}f})"


class Contestant:
    """A worker process (see worker.py) on one thread, in a folder of its own."""

    def __init__(self, command: list[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log.txt"
        self.command = command
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self._answer()

    def run(self, steps: int) -> dict[str, float]:
        """CPU and wall milliseconds a step."""
        assert self.process.stdin
        print(steps, file=self.process.stdin, flush=True)
        return {clock: seconds / steps * 1000 for clock, seconds in self._answer().items()}

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()

    def _answer(self) -> dict[str, float]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self.command)}: ended with {self.process.wait()}\n{self.log.read_text()[-3000:]}")
        return json.loads(line)


def environment() -> dict[str, str]:
    """One thread, no GPU, our code in reach, and runs noted down but not delivered."""
    ours = {"OMP_NUM_THREADS": "1", "PYTHONPATH": PATH, "GENERATIVE_DEVICE": "cpu", "GENERATIVE_TRACKING": "spool"}
    return os.environ | ours | {"CUDA_VISIBLE_DEVICES": ""}


Rounds = dict[str, dict[str, list[float]]]  # contestant -> clock -> milliseconds a step of each round


def race(commands: Mapping[str, list[str]], folder: Path, steps: int, rounds: int, warm_up: int = WARM_UP) -> Rounds:
    """Starts every contestant, then lets them run one after another, `rounds` times, after `warm_up` steps each."""
    contestants = {name: Contestant(command, folder / name.replace(" ", "_")) for name, command in commands.items()}
    times: Rounds = {name: {"cpu": [], "wall": []} for name in commands}
    try:
        for contestant in contestants.values():
            contestant.run(warm_up)
        for _ in range(rounds):
            for name, contestant in contestants.items():
                for clock, value in contestant.run(steps).items():
                    times[name][clock].append(value)
    finally:
        for contestant in contestants.values():
            contestant.end()
    return times


def ratio(times: Rounds, above: str, below: str, clock: str = "cpu") -> Spread:
    """How many times as long `above` takes as `below`, compared within each round."""
    return Spread.of([a / b for a, b in zip(times[above][clock], times[below][clock], strict=True)])
