"""Where music21 keeps the scores that come with it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from generative.errors import UsageError


def corpus() -> Path:
    """The folder of the corpus, found without importing music21. Raises: UsageError: it is not installed."""
    found = find_spec("music21")
    if found is None or found.origin is None:
        raise UsageError("music21: not installed, but its corpus holds the data; `pip install music21` brings it")
    return Path(found.origin).parent / "corpus"
