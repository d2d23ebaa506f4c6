"""Data sets: the sources that draw or read them, and the one on-disk format (`store`) they all end in.

A block's `source: drawn/glyphs` names the file; there is no registry. Each such file holds `Params`, `download` and `preprocess`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from generative.errors import UsageError
from generative.params import closest, shown

FOLDER = Path(__file__).parent


def find(source: str, where: str) -> ModuleType:
    """The module of a source, with its `Params`, `download` and `preprocess`.

    Args:
        where: file and key that name the source, for the message.

    Raises:
        UsageError: no such source.
    """
    known = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob("*/[a-z]*.py"))
    if source not in known:
        raise UsageError(f"{where}: no source {shown(source, plain=False)} in src/generative/data{closest(source, known)}")
    return importlib.import_module(f"generative.data.{source.replace('/', '.')}")
