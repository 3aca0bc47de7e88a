"""The files of a dataset: a pickle, and on request a second one that can be mapped into memory.

``<name>.pickle`` is an ordinary pickle of protocol 5, read by every Python since 3.8. Beside it,
``<name>.mmap`` holds the same data in the format of results (`seamless_dask_cache.results`): .npy
for an array, else a pickle whose large buffers stand apart, each at a multiple of 64 bytes.

The second one belongs to the first when both have the same modification time, to the nanosecond:
the writer sets both, with lowest digits drawn by lot, and who replaces only the pickle leaves
another time. What was copied without its times is read from the pickle.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

from seamless_dask_cache.errors import CorruptDatasetError
from seamless_dask_cache.stores.commits import Change

PROTOCOL = 5
_DRAWN = 1_000_000
_BLOCK = 1 << 20


class Pickler(Protocol):
    """What can be used in place of the module ``pickle``."""

    def dump(self, obj: Any, file: Any, protocol: int | None = None) -> Any:
        """Write a value to a file."""

    def load(self, file: Any) -> Any:
        """Read it again."""


def portable(pickler: Pickler) -> Pickler | str:
    """Give what can travel to another process: the name of a module, which cannot be pickled."""
    return pickler.__name__ if isinstance(pickler, ModuleType) else pickler


def arrived(pickler: Pickler | str) -> Pickler:
    """Undo `portable`."""
    return cast(Pickler, import_module(pickler)) if isinstance(pickler, str) else pickler


class Written(NamedTuple):
    """Checksums of what was written: 64 hex digits each, the second None where there is no map."""

    pickle: str
    mmap: str | None


def write_data(
    change: Change, data: Any, files: tuple[str, str], pickler: Pickler, *, mmap: bool
) -> Written:
    """Write a dataset as a part of a change.

    Parameters
    ----------
    change : Change
    data : object
    files : (str, str)
        Names of the pickle and of the file to map.
    pickler : module or object
    mmap : bool
        Whether the second one is wanted; it is removed if not.
    """
    mapped = _write_mapped(change, data, files[1]) if mmap else None
    if not mmap:
        change.remove(files[1])
    with change.replace(files[0]) as file:
        hashing = _Hashing(file)
        pickler.dump(data, hashing, protocol=PROTOCOL)
    if mmap:
        _give_same_time(*(change.part(name) for name in files))
    return Written(hashing.digest.hexdigest(), mapped)


def read_pickle(file: BinaryIO, pickler: Pickler) -> Any:
    """Load a pickle from an open file.

    Raises
    ------
    CorruptDatasetError
        When it ends too early, is none, or cannot be put together.
    ImportError, AttributeError, MemoryError
        When what it needs is not here.
    """
    try:
        return pickler.load(file)
    except (ImportError, AttributeError, MemoryError):
        raise
    except Exception as error:
        raise CorruptDatasetError(f"{file.name} cannot be loaded: {error!r}") from error


def belongs(mapped: Path, pickled: Path) -> bool:
    """Tell whether the file to map holds what the pickle holds."""
    try:
        times = mapped.stat().st_mtime_ns, pickled.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    # A file system that knows no such fractions of a second cannot tell.
    return times[0] == times[1] and times[0] % _DRAWN != 0


def read_mapped(path: Path) -> Any:
    """Load data whose arrays live in a private memory map of the file (copy on write).

    Raises
    ------
    CorruptDatasetError
        When it is damaged.
    """
    from seamless_dask_cache.errors import CellTypeError
    from seamless_dask_cache.results import load_result
    from seamless_dask_cache.storage.private_memory import load

    content = load(path, path.parent)
    try:
        return load_result(content)
    except CellTypeError as error:
        raise CorruptDatasetError(f"{path} cannot be read: {error}") from error


def digest_of(path: Path) -> str:
    """Compute the SHA-256 of a file, as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        block = memoryview(bytearray(_BLOCK))
        while count := file.readinto(block):
            digest.update(block[:count])
    return digest.hexdigest()


class _Hashing:
    """A file that is hashed while it is written."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, content: Any) -> int:
        self.digest.update(content)
        return self._file.write(content)


def _write_mapped(change: Change, data: Any, file: str) -> str:
    from seamless_dask_cache.results import dump_result

    buffer = dump_result(data)
    with change.replace(file) as opened:
        opened.writelines(buffer.frames)
    return buffer.checksum


def _give_same_time(*paths: Path) -> None:
    now = time.time_ns()
    drawn = now - now % _DRAWN + 1 + secrets.randbelow(_DRAWN - 1)
    for path in paths:
        os.utime(path, ns=(drawn, drawn))
        _bring_to_disk(path)


def _bring_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
