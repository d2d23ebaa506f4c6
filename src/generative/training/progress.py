"""How far a training is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from tqdm import tqdm

QUIET = 10.0  # seconds between plain lines


class Progress:
    """Context manager; told of each point of the curve."""

    def __init__(self, name: str, steps: int, batch: int) -> None:
        self.name, self.steps, self.batch = name, steps, batch
        self.bar: tqdm[Any] | None = None
        self.last, self.began, self.first = 0.0, time.monotonic(), -1

    def __enter__(self) -> Progress:
        return self

    def __call__(self, step: int, row: dict[str, float]) -> None:
        now = time.monotonic()
        if self.first < 0:  # a resumed training did not do the earlier steps now
            self.first, self.began = step, now
            if sys.stderr.isatty():
                self.bar = tqdm(total=self.steps, initial=step, desc=self.name, unit="step", dynamic_ncols=True)
        speed = (step - self.first) * self.batch / max(now - self.began, 1e-9)
        terms = "  ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "step")
        if self.bar is not None:
            self.bar.update(step - self.bar.n)
            self.bar.set_postfix_str(f"{terms}  {speed:,.0f} samples/s")
        elif now - self.last > QUIET or step == self.steps:
            self.last = now
            rate = f"  {speed:,.0f} samples/s  {(self.steps - step) * self.batch / speed:,.0f} s left" if speed else ""
            print(f"{self.name}: step {step}/{self.steps}  {terms}{rate}", flush=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.close()
