"""Records that wait on disk until the database can take them."""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import logging
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from .outbox import MAX_BATCH, Batch
from .spool_format import DamagedFileError, decode, encode

logger = logging.getLogger(__name__)

MAX_BYTES = 1_000_000_000
PUTS_BETWEEN_COUNTS = 100

SUFFIX = ".jsonl"
DAMAGED = ".damaged"


@dataclass(frozen=True)
class Spooled:
    """Records as they were found on disk.

    Parameters
    ----------
    files : list of Path
        Where they are until they are removed.
    batch : Batch
        What they are.
    own : bool
        Whether this process queued them.
    """

    files: list[Path]
    batch: Batch
    own: bool


class Spool:
    """A folder of batches that wait for one database.

    Parameters
    ----------
    folder : Path
        Holds the spools of all databases; made when something is put.
    name : str
        Which database: its URL, or the folder of an embedded one.
    max_bytes : int
        What the spool of this database may measure; the oldest files go first.

    Notes
    -----
    Every process has a session: a folder ``<started>-<uuid>``, whose files are named
    ``<number>-<records>.jsonl``, and beside it a lock file that is held as long as the process
    lives. The files of a session are written to the database in order, by one process: its own, or
    another one that got the lock after its end. So nothing is lost between processes, and nothing
    overtakes. What a file system with poor locks lets happen twice does no harm, as storing twice
    does none.

    Methods block, and may be called from any thread; none but `put` raises.
    """

    def __init__(self, folder: Path, name: str, *, max_bytes: int = MAX_BYTES):
        self.root = Path(folder) / hashlib.sha256(name.encode()).hexdigest()[:16]
        self.max_bytes = max_bytes
        self.dropped = 0
        self._session = self.root / f"{time.time_ns():020d}-{uuid.uuid4().hex}"
        self._locks: dict[Path, FileLock] = {}
        self._files: list[Path] = []
        self._bytes = 0
        self._puts = 0
        self._warned: set[str] = set()
        self._guard = threading.RLock()

    @property
    def pending(self) -> int:
        """How many records wait, of this process and of those whose session was taken over."""
        return sum(map(_records, tuple(self._files)))

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits here that is known of."""
        return not self._files

    def put(self, batch: Batch) -> None:
        """Write the records of a batch; when this returns, they survive whatever happens.

        Raises
        ------
        OSError
            The folder cannot be written, or the disk is full.
        """
        content, records = encode(batch)
        with self._guard:
            self._own_session()
            self._make_room(len(content))
            path = self._session / f"{batch.number:012d}-{records}{SUFFIX}"
            _write_durably(path, content)
            # A batch whose delivery failed comes after younger ones.
            bisect.insort(self._files, path)
            self.dropped += len(batch.forgets) + len(batch.items) - records

    def adopt(self) -> None:
        """Take over the sessions of processes that ended."""
        with self._guard:
            for folder in _folders(self.root):
                if folder not in self._locks and self._lock(folder):
                    for path in _files_in(folder):
                        bisect.insort(self._files, path)
                    self._leave_if_done(folder)

    def first(self) -> Spooled | None:
        """Read what is to be written next: as many of the oldest files as make one batch."""
        with self._guard:
            files: list[Path] = []
            found = Batch()
            for path in tuple(self._files):
                if files and path.parent != files[0].parent:
                    break
                batch = self._read(path)
                if batch is None:
                    self._done_with(path)
                    continue
                # Removals are for what was stored before them.
                if files and (batch.forgets or len(found.items) + len(batch.items) > MAX_BATCH):
                    break
                files.append(path)
                found.forgets.extend(batch.forgets)
                found.items.extend(batch.items)
            return Spooled(files, found, files[0].parent == self._session) if files else None

    def remove(self, spooled: Spooled) -> None:
        """Remove what the database acknowledged."""
        with self._guard:
            for path in spooled.files:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    self._warn("remove", "A spooled file cannot be removed: %s", error)
                self._done_with(path)

    def put_aside(self, spooled: Spooled) -> None:
        """Keep what nobody can make sense of under another name."""
        with self._guard:
            for path in spooled.files:
                self._put_aside(path, "the database client fails on it")
                self._done_with(path)

    def close(self) -> None:
        """Let others take over what is left."""
        with self._guard:
            for folder in tuple(self._locks):
                self._leave(folder)
            self._files.clear()

    # Sessions -----------------------------------------------------------------------------------

    def _own_session(self) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Locked before it is there: a session that is there and not locked is taken over.
        if self._session not in self._locks and not self._lock(self._session):
            raise OSError(f"{self._session} cannot be locked")
        self._session.mkdir(mode=0o700, exist_ok=True)

    def _lock(self, folder: Path) -> bool:
        lock = FileLock(folder.with_suffix(".lock"), thread_local=False)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError, NotImplementedError) as error:
            logger.debug("%s is not taken: %s", folder, error)
            return False
        self._locks[folder] = lock
        return True

    def _leave_if_done(self, folder: Path) -> None:
        if folder != self._session and all(path.parent != folder for path in self._files):
            self._leave(folder)

    def _leave(self, folder: Path) -> None:
        lock = self._locks.pop(folder)
        with contextlib.suppress(OSError):
            for leftover in folder.glob("*.tmp"):
                leftover.unlink(missing_ok=True)
            folder.rmdir()
            Path(lock.lock_file).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            lock.release()

    # Files --------------------------------------------------------------------------------------

    def _read(self, path: Path) -> Batch | None:
        """Give None for a file that is gone, which may be, or damaged, which is put aside."""
        try:
            return decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, DamagedFileError) as error:
            self._put_aside(path, str(error))
            return None

    def _put_aside(self, path: Path, reason: str) -> None:
        kept = self.root / f"{path.parent.name}-{path.stem}{DAMAGED}"
        message = "A spooled file cannot be used (%s); it is kept as %s"
        self._warn("damaged", message, reason, kept)
        with contextlib.suppress(OSError):
            path.replace(kept)

    def _done_with(self, path: Path) -> None:
        with contextlib.suppress(ValueError):
            self._files.remove(path)
        if path.parent in self._locks:
            self._leave_if_done(path.parent)

    def _make_room(self, nbytes: int) -> None:
        if nbytes > self.max_bytes:
            raise OSError(f"{nbytes} bytes are more than the spool may hold")
        if self._puts % PUTS_BETWEEN_COUNTS == 0 or self._bytes + nbytes > self.max_bytes:
            self._bytes = self._count_and_drop(self.max_bytes - nbytes)
        self._puts += 1
        self._bytes += nbytes

    def _count_and_drop(self, most: int) -> int:
        """Tell how many bytes there are; when these are too many, remove files first."""
        sizes = {path: _size(path) for path in _all_files(self.root)}
        total = sum(sizes.values())
        if total <= most:
            return total
        for path, size in sizes.items():
            # More than needed, as counting takes time.
            if total <= most * 9 // 10:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size
                self.dropped += _records(path)
                message = "The spool %s is full; its oldest records are dropped"
                self._warn("full", message, self.root)
        return total

    def _warn(self, what: str, message: str, *arguments: object) -> None:
        level = logging.DEBUG if what in self._warned else logging.WARNING
        self._warned.add(what)
        logger.log(level, message, *arguments)


def _write_durably(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # Not every system can; the name is then as durable as it makes names.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir())
    except OSError:
        return []


def _files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def _all_files(root: Path) -> Iterator[Path]:
    """Give everything that takes space, what is least worth keeping first."""
    yield from sorted(root.glob(f"*{DAMAGED}"))
    for folder in _folders(root):
        yield from _files_in(folder)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _records(path: Path) -> int:
    """Give the number of records that the name of a file tells."""
    number = path.stem.rpartition("-")[2]
    return int(number) if path.suffix == SUFFIX and number.isdecimal() else 0
