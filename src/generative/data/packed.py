"""Files of arrays as they come from elsewhere: read whole or refused, and never larger in memory than they have a right to be."""

from __future__ import annotations

import gzip
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

from generative.errors import UsageError

# What numpy and zipfile raise on files that are broken or of another kind.
UNREADABLE = (
    OSError, ValueError, EOFError, SyntaxError, KeyError, IndexError, TypeError, OverflowError, MemoryError, RecursionError,
    NotImplementedError, RuntimeError, struct.error, tokenize.TokenError, zlib.error, zipfile.BadZipFile,
)  # fmt: skip


def unzipped(path: Path, most: int) -> bytes:
    """The content of a gzip file.

    Args:
        most: bytes that it may have; a small file can unpack to more than any memory holds.

    Raises:
        UsageError: missing, cut short, damaged, no gzip, or larger than `most`.
    """
    try:
        with gzip.open(path) as file:
            content = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}: expected a whole gzip file, got: {error}") from None
    if len(content) > most:
        raise UsageError(f"{path}: expected at most {most:,} bytes when unpacked, got more")
    return content
