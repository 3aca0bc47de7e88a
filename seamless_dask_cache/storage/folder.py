"""The files of a directory store: looking through them, and bringing their names to the disk."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from seamless_dask_cache.storage.seals import PART, Seal, Sealing

HEX_DIGITS = frozenset("0123456789abcdef")


def parts(file: BinaryIO) -> Iterator[bytes]:
    """Read a file from its start in parts of a MiB."""
    file.seek(0)
    while part := file.read(PART):
        yield part


def seal_of_file(file: BinaryIO) -> Seal:
    """Compute checksum and seal of an open file."""
    sealing = Sealing()
    for part in parts(file):
        sealing.add(memoryview(part))
    return sealing.seal()


def size(path: Path) -> int | None:
    """Return the size of a file in bytes; None where there is none, or something else."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def listed(folder: Path) -> list[Path]:
    """List a folder; one that is missing is empty."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def buffers(folder: Path) -> Iterator[Path]:
    """Give the files of buffers in a folder."""
    for part in listed(folder):
        if len(part.name) == 2 and HEX_DIGITS.issuperset(part.name):
            yield from filter(is_buffer, listed(part))


def is_buffer(path: Path) -> bool:
    """Tell whether a path is that of a buffer, by its name."""
    name = path.name
    return len(name) == 64 and name[:2] == path.parent.name and HEX_DIGITS.issuperset(name)


def is_older(path: Path, limit: float) -> bool:
    """Tell whether a file was last written before a time, in seconds since 1970."""
    try:
        return path.stat().st_mtime < limit
    except OSError:  # another process sweeps at the same time
        return False


def removed(path: Path) -> bool:
    """Remove a file; tell whether that was possible."""
    try:
        path.unlink()
    except OSError:
        return False
    return True
