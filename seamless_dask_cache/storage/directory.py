"""A buffer store in a directory, shared by any number of processes.

Layout: ``hh/<hex>``, where ``hh`` are the first two of the 64 hex digits of the checksum; this is
what seamless-remote reads as a buffer folder. Files under construction are in ``.tmp``. The seals
of large buffers are in ``.seals``, as ``hh/<hex>``; see `seamless_dask_cache.storage.seals`.

Writing: a temporary file in the same filesystem, hashed while it is written, flushed to the disk,
renamed (or first renamed and then, soon, flushed: what a power failure spoils, reading notices). A
file under its final name is therefore whole, whoever is killed at whatever moment;
what a killed writer leaves behind in ``.tmp`` is removed once it is an hour old.

Reading: a large buffer is compared with its seal. Where there is no seal, or the buffer does not
look like it, the checksum decides, and a seal is made of what it approves. So a seal may be lost or
damaged at any time; it can only cost time.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from seamless_dask_cache.checksum import checksum_hex
from seamless_dask_cache.errors import CorruptBufferError, StoreError
from seamless_dask_cache.storage.arriving import ArrivingBuffer
from seamless_dask_cache.storage.base import (
    BufferStore,
    Frames,
    Key,
    as_frames,
    refuse_corrupt,
    refuse_mismatch,
)
from seamless_dask_cache.storage.folder import (
    buffers,
    is_older,
    listed,
    parts,
    removed,
    seal_of_file,
    size,
)
from seamless_dask_cache.storage.private_memory import load
from seamless_dask_cache.storage.seals import Seal, seal_of, unpack
from seamless_dask_cache.storage.syncing import SYNCING
from seamless_dask_cache.whole_files import flush_folder

_log = logging.getLogger(__name__)

SOON: Literal["soon"] = "soon"
_TEMPORARY = ".tmp"
_SEALS = ".seals"
_STALE_SECONDS = 3600.0

# Below this size, the checksum takes less time than opening one more file on a network file system.
_SEAL_FROM = 1 << 20


class DirectoryStore(BufferStore):
    """Buffers as files ``hh/<hex>`` in a directory.

    Parameters
    ----------
    path : str or path-like
        Made at the first `put`, if it is missing.
    verify : bool
        Whether `get` compares the content with the checksum.
    durable : bool or "soon"
        Whether `put` waits until the content is on the disk, or lets a thread see to that soon.
        Unless it waits, a power failure can leave damaged files, which `get` recognizes if `verify`
        is set.

    Notes
    -----
    Safe for any number of threads and processes, which may put, get and delete the same buffer at
    the same time. `get` maps files of 1 MiB and more into private memory (copy on write) where the
    disk is local: they are loaded by the first look at them, which is the verification if there is
    one. Elsewhere it reads them into such memory.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        verify: bool = True,
        durable: bool | Literal["soon"] = True,
    ):
        super().__init__(verify=verify)
        self.path = Path(path).expanduser().absolute()
        self.durable = durable
        self._swept = False

    def get(self, checksum: Key) -> bytes | memoryview | None:  # noqa: D102  (the interface says it)
        key = checksum_hex(checksum)
        path = self._file(key)
        try:
            content = load(path, self.path)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as exc:
            raise _store_error(exc, path) from exc
        if self.verify:
            self._verify(content, key)
        return content

    def put(self, checksum: Key, frames: Frames) -> bool:  # noqa: D102
        key = checksum_hex(checksum)
        views = as_frames(frames)
        # A file of another size is the remains of an accident: replace it.
        if size(self._file(key)) == sum(map(len, views)):
            return False
        self._write(views, key)
        return True

    def add(self, frames: Frames) -> str:  # noqa: D102
        return self._write(as_frames(frames)).key

    def has(self, checksum: Key) -> bool:  # noqa: D102
        return size(self._file(checksum_hex(checksum))) is not None

    def delete(self, checksum: Key) -> bool:  # noqa: D102
        path = self._file(checksum_hex(checksum))
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as exc:
            raise _store_error(exc, path) from exc
        self._drop_seal(path.name)
        return True

    def __iter__(self) -> Iterator[str]:
        return (path.name for path in buffers(self.path))

    def nbytes(self) -> int:  # noqa: D102
        return sum(size(path) or 0 for path in buffers(self.path))

    def sweep(self, older_than: float = _STALE_SECONDS) -> int:
        """Remove what killed writers left behind, and seals without a buffer.

        Parameters
        ----------
        older_than : float
            Age in seconds, counted from the last write: a writer that is alive is not disturbed.

        Returns
        -------
        int
            How many files were removed.
        """
        seals = (path for path in buffers(self.path / _SEALS) if not self.has(path.name))
        return self._sweep_temporary(older_than) + sum(map(removed, seals))

    def __repr__(self) -> str:
        return f"<DirectoryStore {str(self.path)!r}>"

    def _file(self, key: str) -> Path:
        return self.path / key[:2] / key

    def _seal_file(self, key: str) -> Path:
        return self.path / _SEALS / key[:2] / key

    def _write(self, views: Sequence[memoryview], expected: str | None = None) -> Seal:
        """Write a buffer that may be known by its checksum already."""
        with self.arriving(expected) as buffer:
            for view in views:
                buffer.write(view)
        return buffer.seal()

    @contextlib.contextmanager
    def arriving(self, checksum: Key | None = None) -> Iterator[ArrivingBuffer]:
        """Take a buffer that arrives part by part; it is stored when the context ends.

        Parameters
        ----------
        checksum : str, bytes or Checksum, optional
            What the buffer must turn out to be.

        Yields
        ------
        ArrivingBuffer
            To write the parts to.

        Raises
        ------
        StoreError
            When the content can't be written, or does not match the checksum. Nothing of it is
            left in the store then, nor when the context ends by any other error.
        """
        expected = None if checksum is None else checksum_hex(checksum)
        try:
            with self._temporary() as path, ArrivingBuffer(path) as buffer:
                yield buffer
                self._take_in(buffer, expected)
        except StoreError:
            raise
        except OSError as exc:
            raise _store_error(exc, self._file(expected) if expected else self.path) from exc
        self._keep_seal(buffer.seal())

    def _take_in(self, buffer: ArrivingBuffer, expected: str | None) -> None:
        seal = buffer.seal()
        path = self._file(seal.key)
        if expected is not None:
            refuse_mismatch(seal.key, expected, str(self.path))
        elif size(path) == seal.nbytes:
            return  # nobody could know before it was hashed
        if self.durable is True or (self.durable == SOON and not SYNCING.soon(buffer.fileno())):
            buffer.flush()
        is_new = not path.parent.is_dir()
        path.parent.mkdir(exist_ok=True)
        buffer.path.replace(path)
        if self.durable is True:
            flush_folder(path.parent)
            if is_new:
                flush_folder(self.path)

    def open(self, checksum: Key) -> BinaryIO | None:
        """Open the file of a buffer; None if it is not here. Not verified: see `verify_file`.

        Raises
        ------
        StoreError
            When it can't be opened.
        """
        path = self._file(checksum_hex(checksum))
        try:
            # A fifo in its place would block.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise _store_error(exc, path) from exc
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
        return None

    def verify_file(self, file: BinaryIO, checksum: Key) -> None:
        """Compare an open buffer with its seal or checksum, without loading it.

        Raises
        ------
        CorruptBufferError
            When it does not match. The store has dropped it by then, if it could.
        StoreError
            When it can't be read.
        """
        key = checksum_hex(checksum)
        nbytes = os.fstat(file.fileno()).st_size
        try:
            seal = self._seal_of_record(key) if nbytes >= _SEAL_FROM else None
            if seal is None or seal.nbytes != nbytes or not seal.fits_parts(parts(file)):
                self._check_seal(seal_of_file(file), key)
        except CorruptBufferError:
            self._drop(file, key)
            raise
        except (OSError, ValueError) as exc:  # ValueError: it became shorter meanwhile
            raise StoreError(errno.EIO, str(exc), str(self._file(key))) from exc

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[Path]:
        """Name a file that does not exist, and remove it if it does afterwards."""
        folder = self.path / _TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        if not self._swept:
            self._swept = True
            self._sweep_temporary(_STALE_SECONDS)
        path = folder / f"{os.getpid()}.{threading.get_ident()}.{uuid.uuid4().hex}"
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):
                path.unlink()

    def _sweep_temporary(self, older_than: float) -> int:
        limit = time.time() - older_than
        return sum(
            removed(path) for path in listed(self.path / _TEMPORARY) if is_older(path, limit)
        )

    def _verify(self, content: bytes | memoryview, key: str) -> None:
        if len(content) >= _SEAL_FROM and self._looks_right(content, key):
            return
        try:
            self._check_seal(seal_of(content), key)
        except CorruptBufferError:
            self._drop_if_corrupt(key)
            raise

    def _check_seal(self, seal: Seal, key: str) -> None:
        """Refuse a buffer with the seal of another one; keep the seal of a good one."""
        refuse_corrupt(seal.key, key, seal.nbytes, str(self._file(key)))
        self._keep_seal(seal)

    def _drop_if_corrupt(self, key: str) -> None:
        """Look once more, as another process may have written it anew meanwhile."""
        with contextlib.suppress(OSError, CorruptBufferError):
            file = self.open(key)
            if file is not None:
                with file:
                    self.verify_file(file, key)

    def _drop(self, file: BinaryIO, key: str) -> None:
        path = self._file(key)
        with contextlib.suppress(OSError):
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                _log.warning("dropping a corrupt buffer: %s", path)
                removed(path)
                self._drop_seal(key)

    def _looks_right(self, content: bytes | memoryview, key: str) -> bool:
        seal = self._seal_of_record(key)
        return seal is not None and seal.fits(content)

    def _seal_of_record(self, key: str) -> Seal | None:
        try:
            seal = unpack(self._seal_file(key).read_bytes())
        except OSError:
            return None
        return seal if seal is not None and seal.key == key else None

    def _keep_seal(self, seal: Seal) -> None:
        # Whoever may only read, or finds the disk full, does without.
        if seal.nbytes < _SEAL_FROM:
            return
        path = self._seal_file(seal.key)
        with contextlib.suppress(OSError), self._temporary() as temporary:
            temporary.write_bytes(seal.pack())
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(path)

    def _drop_seal(self, key: str) -> None:
        # One that stays does no harm: what it says of the buffer of that name stays true.
        removed(self._seal_file(key))


def _store_error(exc: OSError, path: Path) -> StoreError:
    code = exc.errno if exc.errno is not None else errno.EIO
    return StoreError(code, exc.strerror or str(exc), str(path))
