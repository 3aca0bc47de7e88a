"""A buffer store in a directory, shared by any number of processes.

Layout: ``hh/<hex>``, where ``hh`` are the first two of the 64 hex digits of the checksum; this is
what seamless-remote reads as a buffer folder. Files under construction are in ``.tmp``.

Writing: a temporary file in the same filesystem, hashed while it is written, flushed to the disk,
renamed. A file under its final name is therefore whole, whoever is killed at whatever moment;
what a killed writer leaves behind in ``.tmp`` is removed once it is an hour old.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import mmap
import os
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from seamless_dask_cache.checksum import checksum_hex
from seamless_dask_cache.errors import CorruptBufferError, StoreError
from seamless_dask_cache.storage.base import (
    BufferStore,
    Frames,
    Key,
    as_frames,
    refuse_mismatch,
    verified,
)

_log = logging.getLogger(__name__)

_TEMPORARY = ".tmp"
_STALE_SECONDS = 3600.0
_HEX_DIGITS = frozenset("0123456789abcdef")

# Below this size, setting up a map costs more than it saves.
_MAP_FROM = 1 << 20
# Hashing and writing in turns of this size finds the bytes in the processor's cache.
_WRITE_CHUNK = 1 << 20

# Before Python 3.13 each map holds a file descriptor for as long as an array lives in it, and a
# process has few of those (often 1024): beyond this many maps, files are read instead.
_MAX_MAPS = 256
_live_maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


class DirectoryStore(BufferStore):
    """Buffers as files ``hh/<hex>`` in a directory.

    Parameters
    ----------
    path : str or path-like
        Made at the first `put`, if it is missing.
    verify : bool
        Whether `get` compares the content with the checksum.
    durable : bool
        Whether `put` waits until the content is on the disk. Without, a power failure can leave
        damaged files, which `get` recognizes if `verify` is set.

    Notes
    -----
    Safe for any number of threads and processes, which may put, get and delete the same buffer at
    the same time. `get` maps files of 1 MiB and more into private memory (copy on write): they are
    loaded by the first look at them, which is the verification if there is one.
    """

    def __init__(self, path: str | os.PathLike[str], *, verify: bool = True, durable: bool = True):
        super().__init__(verify=verify)
        self.path = Path(path).expanduser().absolute()
        self.durable = durable
        self._swept = False

    def get(self, checksum: Key) -> bytes | memoryview | None:  # noqa: D102  (the interface says it)
        key = checksum_hex(checksum)
        path = self._file(key)
        try:
            content = _read(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise _store_error(exc, path) from exc
        if self.verify:
            self._verify(content, key)
        return content

    def put(self, checksum: Key, frames: Frames) -> bool:  # noqa: D102
        key = checksum_hex(checksum)
        views = as_frames(frames)
        path = self._file(key)
        # A file of another size is the remains of an accident: replace it.
        if _size(path) == sum(map(len, views)):
            return False
        try:
            self._write(path, key, views)
        except StoreError:
            raise
        except OSError as exc:
            raise _store_error(exc, path) from exc
        return True

    def has(self, checksum: Key) -> bool:  # noqa: D102
        return _size(self._file(checksum_hex(checksum))) is not None

    def delete(self, checksum: Key) -> bool:  # noqa: D102
        path = self._file(checksum_hex(checksum))
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as exc:
            raise _store_error(exc, path) from exc
        return True

    def __iter__(self) -> Iterator[str]:
        return (path.name for path in self._files())

    def nbytes(self) -> int:  # noqa: D102
        return sum(_size(path) or 0 for path in self._files())

    def sweep(self, older_than: float = _STALE_SECONDS) -> int:
        """Remove what killed writers left behind; return how many files.

        Parameters
        ----------
        older_than : float
            Age in seconds, counted from the last write: a writer that is alive is not disturbed.
        """
        limit = time.time() - older_than
        removed = 0
        for path in _listed(self.path / _TEMPORARY):
            # Another process may sweep at the same time.
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < limit:
                    path.unlink()
                    removed += 1
        return removed

    def __repr__(self) -> str:
        return f"<DirectoryStore {str(self.path)!r}>"

    def _file(self, key: str) -> Path:
        return self.path / key[:2] / key

    def _files(self) -> Iterator[Path]:
        for folder in _listed(self.path):
            if len(folder.name) == 2 and _HEX_DIGITS.issuperset(folder.name):
                yield from filter(_is_buffer, _listed(folder))

    def _write(self, path: Path, key: str, views: Sequence[memoryview]) -> None:
        temporary = self._temporary(key)
        try:
            self._write_temporary(temporary, key, views)
            path.parent.mkdir(exist_ok=True)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    def _write_temporary(self, path: Path, key: str, views: Sequence[memoryview]) -> None:
        digest = hashlib.sha256()
        with path.open("xb", buffering=0) as file:
            for view in views:
                _write_hashed(file, view, digest)
            refuse_mismatch(digest.hexdigest(), key, str(self.path))
            if self.durable:
                os.fsync(file.fileno())

    def _temporary(self, key: str) -> Path:
        folder = self.path / _TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        if not self._swept:
            self._swept = True
            self.sweep()
        return folder / f"{key}.{os.getpid()}.{threading.get_ident()}.{uuid.uuid4().hex}"

    def _verify(self, content: bytes | memoryview, key: str) -> None:
        path = self._file(key)
        try:
            verified(content, key, str(path))
        except CorruptBufferError:
            _log.warning("dropping a corrupt buffer: %s", path)
            with contextlib.suppress(OSError):
                path.unlink()
            raise


def _read(path: Path) -> bytes | memoryview:
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size < _MAP_FROM:
            return file.readall()
        mapped = _map(file.fileno())
        return file.readall() if mapped is None else memoryview(mapped)


def _map(descriptor: int) -> mmap.mmap | None:
    """Map a file into private memory, or return None where that does not work."""
    options: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
    if not options and len(_live_maps) >= _MAX_MAPS:
        return None
    try:
        mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY, **options)
    except (OSError, ValueError):
        return None
    _live_maps.add(mapped)
    return mapped


def _write_hashed(file: Any, view: memoryview, digest: Any) -> None:
    for start in range(0, len(view), _WRITE_CHUNK):
        chunk = view[start : start + _WRITE_CHUNK]
        digest.update(chunk)
        while chunk:
            # A raw file may write less than it was given.
            chunk = chunk[file.write(chunk) :]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_buffer(path: Path) -> bool:
    name = path.name
    return len(name) == 64 and name[:2] == path.parent.name and _HEX_DIGITS.issuperset(name)


def _store_error(exc: OSError, path: Path) -> StoreError:
    code = exc.errno if exc.errno is not None else errno.EIO
    return StoreError(code, exc.strerror or str(exc), str(path))
