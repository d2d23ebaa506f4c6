"""The record of a training: means over windows of steps, held-out figures at checkpoints, and the time it took."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generative.errors import UsageError
from generative.training.device import Place


class Curve:
    """Rows of figures by step. Values stay on their device until a row is made, so that a GPU is not waited for at every step."""

    def __init__(self, place: Place, saved: dict[str, Any]) -> None:
        self.place = place
        self.rows: list[dict[str, float]] = saved.get("rows", [])
        self.seconds_before: float = saved.get("seconds", 0.0)
        self.saved_at = int(self.rows[-1]["step"]) if self.rows else 0
        self.start = time.monotonic()
        self.window: dict[str, list[Tensor]] = {}
        self.losses: list[tuple[int, str, Tensor]] = []

    @property
    def seconds(self) -> float:
        """Of training, in all processes that took part in it one after the other."""
        return self.seconds_before + time.monotonic() - self.start

    def add(self, step: int, objective: str, loss: Tensor, logs: dict[str, Tensor]) -> None:
        self.losses.append((step, objective, loss.detach()))
        for term, value in logs.items():
            self.window.setdefault(f"{objective}/{term}", []).append(value.detach())

    def point(self, step: int, held_out: dict[str, float], checkpoint: Path) -> dict[str, float]:
        """Closes the window: its means, and the held-out figures beside them.

        Raises:
            UsageError: a loss of the window is not finite.
        """
        self._refuse_not_finite(checkpoint)
        names = list(self.window)
        means = self.place.average(torch.stack([torch.stack(values).float().mean() for values in self.window.values()]))
        row = {"step": float(step), **dict(zip(names, means.tolist(), strict=True))}
        row |= {f"validation/{name}": value for name, value in held_out.items()}
        self.rows.append(row)
        self.window.clear()
        self.losses.clear()
        return row

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of the curve."""
        self.saved_at = int(self.rows[-1]["step"])
        return {"rows": self.rows, "seconds": self.seconds}

    def csv(self) -> str:
        """The rows as text, a line each value: its step, its series (an objective, or validation), its term."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["step", "series", "term", "value"])
        for row in self.rows:
            for name, value in row.items():
                if name != "step":
                    writer.writerow([int(row["step"]), *name.split("/", 1), f"{value:.6g}"])
        return text.getvalue()

    def _refuse_not_finite(self, checkpoint: Path) -> None:
        finite = torch.isfinite(torch.stack([loss.float() for _, _, loss in self.losses])).tolist()
        for (step, objective, loss), good in zip(self.losses, finite, strict=True):
            if not good:
                last = f"the last good checkpoint is {checkpoint}, step {self.saved_at}" if self.saved_at else "no checkpoint yet"
                raise UsageError(
                    f"step {step}: objective {objective}: the loss is {loss.item()}; {last}; "
                    "try a lower learning_rate, a clip_norm above 0, or precision: float32"
                )
