"""The open SQLite file: its schema, its connections, and who works on which.

One writer, one connection for single reads that are quick, one for others, coalesced, and a few for
long reads, all under WAL: nobody waits for a writer, and a batch of a million lookups does not hold
up single ones.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from . import at_once_tables, schema
from .checkpoints import Checkpoints
from .failures import ReadOnlyError, StartupError
from .lanes import (
    Gathering,
    Lane,
    Outcome,
    Read,
    Reader,
    Row,
    Write,
    commit_together,
    read_together,
)
from .near import UNANSWERED, NearReads
from .regulars import Regulars

T = TypeVar("T")

CHECKPOINT_PAGES = 8_000
"""Pages in the write-ahead log (32 MB) after which they go into the file. Keys come in no order, so
that a page which many commits touched goes there once instead of many times."""

LONG_READERS = max(2, min(4, os.cpu_count() or 1))


class Database:
    """An open database file.

    Parameters
    ----------
    path : Path
        The SQLite file. Created when it does not exist and `writable` is true.
    writable : bool
        Whether writes are accepted.
    committed : callable, optional
        Told, on the event loop, how many writes shared a commit.

    Raises
    ------
    StartupError
        The file is missing, is not a database, or was made by a newer program.

    Notes
    -----
    The coroutines belong to one event loop; SQLite runs in threads of its own.
    """

    def __init__(
        self, path: Path, *, writable: bool, committed: Callable[[int], None] | None = None
    ):
        self.path, self.writable = path, writable
        self._writer: Lane | None = None
        self._writes: Gathering[Write | Row] | None = None
        self._checkpoints: Checkpoints | None = None
        if writable:
            self._writer = _lane(path, "writer", _connect_writer)
            self._checkpoints = Checkpoints(self._writer)
            self._writes = Gathering(self._writer, commit_together, committed, Regulars())
        reader = _lane(path, "reader", _connect_reader)
        # A writer has made every table; only without one may a reader have stand-ins to give up.
        self._prepare = _as_it_is if writable else _on_real_tables
        self._reads: Gathering[Read] = Gathering(reader, self._read_together)
        self._near = NearReads(partial(_connect_reader, path)) if writable else None
        long_lanes = [_lane(path, "long-reader", _connect_reader) for _ in range(LONG_READERS)]
        self._next_lane = itertools.cycle(long_lanes)
        self._readers = [reader, *long_lanes]

    async def read(self, reader: Reader, key: Hashable) -> Any:
        """Answer one key, at once or together with what others ask meanwhile; None if unknown."""
        read = Read(reader, key)
        answer = UNANSWERED if self._near is None else self._near.answer(read)
        return await self._reads.submit(read) if answer is UNANSWERED else answer

    async def read_long(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do a read that may take long, on a connection where no single read waits behind it."""
        return await next(self._next_lane).run(partial(self._prepare, work))

    def _read_together(self, connection: sqlite3.Connection, reads: list[Read]) -> list[Outcome]:
        return self._prepare(partial(read_together, reads=reads), connection)

    async def write(self, write: Write | Row) -> Any:
        """Do one write, together with what others write in this moment; on disk on return.

        Raises
        ------
        ReadOnlyError
            The database was opened without `writable`.
        """
        if self._writes is None or self._checkpoints is None:
            raise ReadOnlyError("Database server is read-only")
        try:
            return await self._writes.submit(write)
        finally:
            self._checkpoints.written()

    async def close(self) -> None:
        """Finish accepted work, then close the file."""
        for gathering in (self._reads, self._writes):
            if gathering is not None:
                await gathering.join()
        if self._checkpoints is not None:
            await self._checkpoints.close()
        if self._near is not None:
            self._near.close()
        for lane in self._readers:
            lane.close()
        if self._writer is not None:  # the last to close: it empties the write-ahead log
            self._writer.close()


def _lane(path: Path, name: str, connect: Callable[[Path], sqlite3.Connection]) -> Lane:
    try:
        return Lane(lambda: connect(path), name)
    except sqlite3.Error as error:
        raise StartupError(f"cannot open {path} as a database: {error}") from error


def _connect_writer(path: Path) -> sqlite3.Connection:
    connection = _connect(f"{_uri(path)}?mode=rwc")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute("PRAGMA secure_delete = OFF")  # some builds overwrite all that is deleted
    connection.execute("BEGIN IMMEDIATE")
    schema.bring_up_to_date(connection, path)
    connection.execute("COMMIT")
    at_once_tables.prepare_writer(connection)
    return connection


def _connect_reader(path: Path) -> sqlite3.Connection:
    connection = open_for_reading(path)
    schema.check_version(connection, path)
    schema.stand_in_for_missing_tables(connection)
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open a file that may be served at the same time, or lie in a folder that takes no writes."""
    try:
        return _connect(f"{_uri(path)}?mode=ro")
    except sqlite3.OperationalError:
        has_log = Path(f"{path}-wal").exists()
        if has_log or os.access(path.parent, os.W_OK) or not path.exists():
            raise
    # WAL mode needs helper files, and this folder takes none: so nobody writes here either.
    return _connect(f"{_uri(path)}?mode=ro&immutable=1")


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10.0)
    try:
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("PRAGMA mmap_size = 1073741824")
        connection.create_function("from_hex", 1, bytes.fromhex, deterministic=True)
        connection.execute("SELECT count(*) FROM sqlite_master")  # only now the file is read
    except BaseException:
        connection.close()
        raise
    return connection


def _uri(path: Path) -> str:
    return f"file:{quote(str(path.absolute()))}"


def _as_it_is(work: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
    return work(connection)


def _on_real_tables(work: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
    """Do a read; stand-ins give way first where a writer has made the real table meanwhile.

    Who went on reading an empty ``files_read`` would serve results of files that have changed.
    """
    if connection.execute("SELECT 1 FROM temp.sqlite_master LIMIT 1").fetchone() is None:
        return work(connection)
    connection.execute("BEGIN")  # the look at the schema and the read see the same moment
    try:
        schema.drop_stand_ins_of_real_tables(connection)
        return work(connection)
    finally:
        if connection.in_transaction:
            connection.execute("COMMIT")
