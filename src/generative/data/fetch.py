"""Brings one published file into a folder, under its checksum, from a mirror or the first source that has it.

pooch checks and moves in one step too, but begins a broken download again from nothing, and unpacks what a server sends
with `Content-Encoding: gzip`, after which no checksum of a .gz fits. Hence these lines on requests: they continue where a
download stopped, even one whose process was killed, with the part that is there already.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from generative.errors import UsageError

if TYPE_CHECKING:
    from requests import Response

MIRROR = "GENERATIVE_MIRROR"  # environment variable: a folder or a base URL, laid out as <mirror folder>/<file name>
PARTS = Path("data/work/downloads")
SILENCE = 30.0  # seconds without data after which a source is given up
ATTEMPTS = 5  # connections to one source, each going on where the last one broke
CHUNK = 1 << 18
QUIET = 10.0  # seconds between plain lines of progress

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=200)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Url = Annotated[str, Field(pattern=r"^https?://")]
Urls = Annotated[list[Url], Field(min_length=1)]


class FetchError(Exception):
    """A source did not give the file; says why."""


def fetch(file_name: str, sha256: str, urls: Sequence[str], folder: Path, mirror_folder: str) -> Path:
    """The checked file in `folder`.

    Args:
        urls: base addresses, tried in order after the mirror; the file lies at <address>/<file name>.
        mirror_folder: the name of its folder in a mirror.

    Raises:
        UsageError: no source had the file under this checksum; each is named with its reason. Nothing is left in `folder`;
            what came of a broken download waits in `PARTS` to be gone on with.
    """
    target, reasons = folder / file_name, []
    for source in _sources(file_name, urls, mirror_folder):
        try:
            if isinstance(source, Path):
                _copy(source, sha256, target)
            else:
                _download(source, sha256, target)
            return target
        except FetchError as failure:
            reasons.append(f"{source}: {failure}")
            print(f"{file_name}: {reasons[-1]}", file=sys.stderr, flush=True)
    heading = f"{file_name}: no source has it as it should be (set {MIRROR} to a copy of your own):"
    raise UsageError("\n  ".join([heading, *reasons]))


def place(path: str) -> Path:
    """The path as it stands, or else seen from the mirror, where that is a folder of this machine."""
    here, mirror = home(path), os.environ.get(MIRROR, "")
    mirrored = home(mirror) / path
    return mirrored if mirror and not here.exists() and mirrored.exists() else here


def absent(where: str, what: str, path: str) -> UsageError:
    """What to say of a path of the block at `where` that leads nowhere."""
    advice = f"put it there, seen from this project's folder or from the one that {MIRROR} names"
    return UsageError(f"{where}.path: expected {what}, got {path!r}, where there is none: {advice}")


def home(path: str) -> Path:
    """The path with ~ resolved, where it leads to somebody's home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _sources(file_name: str, urls: Sequence[str], mirror_folder: str) -> Iterator[str | Path]:
    mirror = os.environ.get(MIRROR, "")
    if mirror.startswith(("http://", "https://")):
        yield f"{mirror.rstrip('/')}/{mirror_folder}/{file_name}"
    elif mirror:
        yield Path(mirror).expanduser() / mirror_folder / file_name
    for url in urls:
        yield f"{url.rstrip('/')}/{file_name}"


def _copy(source: Path, sha256: str, target: Path) -> None:
    if not source.is_file():
        raise FetchError("no such file")
    partial = target.with_name(target.name + ".part")
    shutil.copyfile(source, partial)
    _accept(partial, sha256, target)


def _download(url: str, sha256: str, target: Path) -> None:
    with _part(sha256) as part:
        resumed = part.exists()
        _receive(url, part)
        try:
            _accept(part, sha256, target)
        except FetchError:
            if not resumed:
                raise
            _receive(url, part)  # the older part was of something else: once more from nothing
            _accept(part, sha256, target)


@contextmanager
def _part(sha256: str) -> Iterator[Path]:
    """The place of the partial file, ours alone for as long as we hold it."""
    import fcntl

    PARTS.mkdir(parents=True, exist_ok=True)
    with (PARTS / f"{sha256}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield PARTS / f"{sha256}.part"


def _accept(partial: Path, sha256: str, target: Path) -> None:
    """Moves a file whose checksum is right into its place; removes any other."""
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        size = partial.stat().st_size
        partial.unlink()
        raise FetchError(f"wrong content: expected sha256 {sha256}, got {digest} ({size:,} bytes)")
    beside = target.with_name(target.name + ".part")
    shutil.move(partial, beside)  # may cross to another disk, which a mere renaming cannot
    beside.replace(target)


def _receive(url: str, part: Path) -> None:
    """Adds to `part` what it still lacks."""
    import requests
    from urllib3.exceptions import HTTPError

    with requests.Session() as session:
        for _ in range(ATTEMPTS):
            before = part.stat().st_size if part.exists() else 0
            try:
                headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={before}-"} if before else {})}
                with session.get(url, headers=headers, stream=True, timeout=SILENCE) as response:
                    return _save(response, url, part, before)
            except (requests.RequestException, HTTPError) as error:
                reason = _reason(error)
            if not part.exists() or part.stat().st_size <= before:
                break  # nothing came: the next connection would not do better
    raise FetchError(reason)


def _save(response: Response, url: str, part: Path, before: int) -> None:
    if response.status_code == 416:  # nothing beyond what is there: it is whole, and the checksum says whether it is right
        return
    response.raise_for_status()
    goes_on = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {before}-")
    length = response.headers.get("Content-Length", "")
    start = before if goes_on else 0
    total = start + int(length) if length.isdigit() else None
    with part.open("ab" if goes_on else "wb") as file, _progress(url, start, total) as advance:
        for chunk in response.raw.stream(CHUNK, decode_content=False):
            file.write(chunk)
            advance(len(chunk))


@contextmanager
def _progress(url: str, start: int, total: int | None) -> Iterator[Callable[[int], object]]:
    """Takes the size of each piece that came: a bar on a terminal, plain lines elsewhere."""
    name = url.rpartition("/")[2]
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(desc=name, initial=start, total=total, unit="B", unit_scale=True, dynamic_ncols=True) as bar:
            yield bar.update
        return
    whole = f" of {total / 1e6:,.1f}" if total else ""
    print(f"{name}: from {url}, {start / 1e6:,.1f}{whole} MB are here", file=sys.stderr, flush=True)
    came, last = start, time.monotonic()

    def advance(size: int) -> None:
        nonlocal came, last
        came += size
        if time.monotonic() - last > QUIET:
            last = time.monotonic()
            print(f"{name}: {came / 1e6:,.1f}{whole} MB", file=sys.stderr, flush=True)

    yield advance


def _reason(error: Exception) -> str:
    import requests
    from urllib3.exceptions import ProtocolError

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.TooManyRedirects):
        return "redirects without end"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"no data for {SILENCE:.0f} seconds"
    if isinstance(error, ProtocolError):
        return f"the connection broke: {error.args[0]}"
    return f"{type(error).__name__}: {error}"
