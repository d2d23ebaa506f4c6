"""What the sample stage left, as parts of a web page that need no other file."""

from __future__ import annotations

import base64
import csv
import html
import struct
from collections.abc import Callable
from pathlib import Path

from generative.errors import UsageError

Shown = tuple[str, tuple[int, int]]  # HTML, and the (width, height) that it would like
ROW = (3, 1)  # of what has no size of its own: a row for itself


def exhibit(title: str, path: Path) -> Shown:
    """The file as it should be seen or heard.

    Raises:
        UsageError: the file is missing, or is not what its name says.
    """
    try:
        content = path.read_bytes()
        return FORMS[path.suffix](title, path, content)
    except (OSError, ValueError, KeyError, struct.error):
        raise UsageError(
            f"{path}: missing or damaged, though data/samples/{path.parent.name}.json names it; `dvc checkout` restores it"
        ) from None


def _png(title: str, path: Path, content: bytes) -> Shown:
    return _image(title, path, content, b"\x89PNG", struct.unpack(">II", content[16:24]))


def _gif(title: str, path: Path, content: bytes) -> Shown:
    return _image(title, path, content, b"GIF8", struct.unpack("<HH", content[6:10]))


def _image(title: str, path: Path, content: bytes, magic: bytes, size: tuple[int, int]) -> Shown:
    if not content.startswith(magic):
        raise ValueError
    source = f"data:image/{path.suffix[1:]};base64,{base64.b64encode(content).decode()}"
    return f'<img src="{source}" width="{size[0]}" height="{size[1]}" alt="{html.escape(title)}">', size


def _text(title: str, path: Path, content: bytes) -> Shown:  # noqa: ARG001
    return f"<pre>{html.escape(content.decode())}</pre>", ROW


def _table(title: str, path: Path, content: bytes) -> Shown:  # noqa: ARG001
    head, *rows = csv.reader(content.decode().splitlines())
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=scroll><table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table></div>", ROW


def _sound(title: str, path: Path, content: bytes) -> Shown:  # noqa: ARG001
    source = f"data:audio/wav;base64,{base64.b64encode(content).decode()}"
    return f'<audio controls src="{source}" aria-label="{html.escape(title)}"></audio>', ROW


def _file(title: str, path: Path, content: bytes) -> Shown:  # noqa: ARG001
    source = f"data:application/octet-stream;base64,{base64.b64encode(content).decode()}"
    return f'<a download="{html.escape(path.name)}" href="{source}">{html.escape(path.name)}</a>', ROW


FORMS: dict[str, Callable[[str, Path, bytes], Shown]] = {
    ".png": _png,
    ".gif": _gif,
    ".txt": _text,
    ".csv": _table,
    ".wav": _sound,
    ".mid": _file,
    ".musicxml": _file,
}
