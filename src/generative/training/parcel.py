"""What the courier carries: a spooled run (`tracking.py`) and how much of it MLflow has."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generative.training.tracking import EVENTS

Event = dict[str, Any]

BATCH = 1000  # figures delivered at once


class AwayError(Exception):
    """MLflow cannot be reached or used just now."""


class RefusedError(Exception):
    """MLflow will never take this event."""


@dataclass
class Parcel:
    """One spooled run, and how far it has been delivered to the store at `uri`."""

    folder: Path
    uri: str
    run: str = ""
    offset: int = 0

    @classmethod
    def at(cls, folder: Path, uri: str) -> Parcel:
        """Takes up where the last courier stopped - from the start where that was another store."""
        try:
            state = json.loads((folder / "state.json").read_text())
        except (FileNotFoundError, ValueError):
            return cls(folder, uri)
        return cls(folder, **state) if state["uri"] == uri else cls(folder, uri)

    def advance(self, offset: int) -> None:
        self.offset = offset
        path = self.folder / "state.json.new"
        path.write_text(json.dumps({"uri": self.uri, "run": self.run, "offset": offset}))
        path.replace(self.folder / "state.json")

    def events(self) -> Iterator[tuple[Event, int]]:
        """The whole lines that are still to be delivered, each with the offset behind it."""
        offset = self.offset
        with (self.folder / EVENTS).open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # still being written, or cut off with its writer
                offset += len(line)
                try:
                    event = json.loads(line)
                except ValueError:
                    event = {"event": "damaged"}
                yield event, offset

    def batches(self) -> Iterator[tuple[list[Event], int]]:
        """Figures in batches, every other event by itself."""
        batch: list[Event] = []
        size, behind = 0, self.offset
        for event, offset in self.events():
            figures = len(event["values"]) if event["event"] == "metrics" else 0
            if batch and (not figures or size + figures > BATCH):
                yield batch, behind
                batch, size = [], 0
            if figures:
                batch.append(event)
            else:
                yield [event], offset
            size, behind = size + figures, offset
        if batch:
            yield batch, behind

    def killed(self) -> Event:
        """The end of a run whose writer could not note one."""
        return {"event": "end", "status": "KILLED", "time": int((self.folder / EVENTS).stat().st_mtime * 1000)}

    def discard(self) -> None:
        shutil.rmtree(self.folder.rename(self.folder.with_name(f".old-{self.folder.name}")))


def brief(error: BaseException | str) -> str:
    """A message in one line."""
    return " ".join(str(error).split())[:300]
