"""Copies of database files, which servers may be writing to meanwhile.

A copy holds what was committed at one moment. It is made under another name and gets its own when
it is whole, checked and on the disk: no crash leaves half of one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from .database import open_for_reading
from .failures import MaintenanceError

STEP_PAGES = 4_096
"""Pages that are copied at once (16 MB): in between, Ctrl-C is heard and progress is told."""

INSTRUCTIONS = 100_000
"""Of SQLite's virtual machine, some milliseconds: as often a long statement hears Ctrl-C."""

MAX_LINES = 1_000_000
"""Of what SQLite finds damaged; by itself it stops after 100."""

FAILURES = (sqlite3.Error, UnicodeDecodeError)
"""What ``sqlite3`` raises; the latter when the text of an error quotes what is damaged."""

LOGS = ("-wal", "-journal")
"""Endings of files beside a database whose content SQLite takes for a part of it."""


class BackupReport(NamedTuple):
    """What was copied."""

    pages: int
    nbytes: int
    transformations: int | None
    """How many have a result; None where the file is too damaged to count them."""
    seconds: float


def back_up(
    source: Path,
    copy: Path,
    *,
    overwrite: bool = False,
    check: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> BackupReport:
    """Copy a database as it is at this moment; servers go on meanwhile.

    The copy needs no file beside it. Small buffers are in it, the folder of large ones is not.

    Parameters
    ----------
    source, copy : Path
    overwrite : bool
        Whether a copy that exists is replaced; it stays as it is until the new one is whole.
    check : bool
        Whether the copy must pass SQLite's ``quick_check``.
    progress : callable, optional
        Told after each step how many pages are copied, and how many there are.

    Returns
    -------
    BackupReport

    Raises
    ------
    MaintenanceError
        There is no such database, it is damaged, or the copy cannot be made in this place. Nothing
        is left behind.
    """
    began = time.perf_counter()
    _require_place(source, copy, overwrite)
    with (
        snapshot(source) as connection,
        complaining(f"cannot copy {source} to {copy}"),
        _temporary_beside(copy) as temporary,
    ):
        nbytes = _require_space(connection, copy.parent)
        pages = _copy_pages(connection, temporary, progress)
        connection.close()  # writers cannot empty their log while this is open
        rows = _look_into(temporary, source, check)
        _put_in_place(temporary, source, copy, overwrite)
    return BackupReport(pages, nbytes, rows, time.perf_counter() - began)


@contextlib.contextmanager
def snapshot(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a database for reading; what others write meanwhile is not seen.

    Under WAL, which our server uses, that hinders no writer. The published server uses a rollback
    journal: it cannot commit until this ends, and after 5 seconds gives up the request.

    Raises
    ------
    MaintenanceError
        The file is missing, or no database of this kind.
    """
    with contextlib.ExitStack() as stack:
        with complaining(f"cannot open {file} as a database"):
            if not file.is_file():
                raise MaintenanceError(f"{file} is {'no file' if file.exists() else 'missing'}")
            connection = stack.enter_context(contextlib.closing(open_for_reading(file)))
            connection.execute("BEGIN")
            # The first read inside the transaction: it determines the moment that is seen.
            _require_ours(connection, file)
        yield connection


@contextlib.contextmanager
def complaining(what: str) -> Iterator[None]:
    """Let errors of SQLite and of the system say what could not be done."""
    try:
        yield
    except FAILURES as error:
        raise MaintenanceError(f"{what}: {text_of(error)}") from error
    except OSError as error:
        raise MaintenanceError(f"{what}: {error.strerror or error}") from error


@contextlib.contextmanager
def interruptible(connection: sqlite3.Connection) -> Iterator[None]:
    """Let Ctrl-C end a statement that spends long inside SQLite.

    Python looks for signals when it runs code, so it is given some now and then. What that raises,
    the ``sqlite3`` module swallows, and SQLite says that it was interrupted.
    """
    connection.set_progress_handler(lambda: 0, INSTRUCTIONS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if str(error) != "interrupted":
            raise
        raise KeyboardInterrupt from None
    finally:
        connection.set_progress_handler(None, 0)


def damage(connection: sqlite3.Connection, pragma: str = "integrity_check") -> Iterator[str]:
    """Let SQLite look for damage of its structures, and give each line that it says about it.

    Parameters
    ----------
    connection : sqlite3.Connection
    pragma : str
        ``integrity_check``, or ``quick_check``, which does not compare indices with their tables.

    Raises
    ------
    sqlite3.DatabaseError, UnicodeDecodeError
        So much is damaged that SQLite gives up; see `is_damage`.
    """
    for (text,) in connection.execute(f"PRAGMA {pragma}({MAX_LINES})"):
        # Some versions put many lines into one row, below a heading.
        lines = (line for line in text.splitlines() if line != "ok" and line[:3] != "***")
        yield from map(printable, lines)


def is_damage(error: Exception) -> bool:
    """Tell whether an error, one of `FAILURES`, says that the file is damaged.

    Others are of this moment: subclasses stand for locks, full disks, interruption, wrong SQL.
    """
    return type(error) in (sqlite3.DatabaseError, UnicodeDecodeError)


def text_of(error: Exception) -> str:
    """Give the text of an error in one line that can be printed, whatever it quotes."""
    if isinstance(error, UnicodeDecodeError):
        return printable(error.object.decode("utf-8", "backslashreplace"))
    return printable(str(error))


def lenient(raw: bytes) -> str:
    """Read a text as SQLite has it: bytes that are not UTF-8 must not end the work on a file."""
    return raw.decode("utf-8", "surrogateescape")


def printable(text: str) -> str:
    """Give a text so that it is one line, and nothing in it that a terminal obeys."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _require_ours(connection: sqlite3.Connection, file: Path) -> None:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'transformation'"
    if connection.execute(query).fetchone() is None:
        raise MaintenanceError(f"{file} is no database of this kind: it has no transformations")


def _require_place(source: Path, copy: Path, overwrite: bool) -> None:
    """Refuse to write where that would destroy something, or the copy would be wrong."""
    with complaining(f"cannot write {copy}"):
        _require_another(source, copy)
        if os.path.lexists(copy):
            if not stat.S_ISREG(copy.lstat().st_mode):
                raise MaintenanceError(f"{copy} exists, and is no ordinary file")
            if not overwrite:
                raise MaintenanceError(f"{copy} exists already (--overwrite replaces it)")
        if not copy.parent.is_dir():
            raise MaintenanceError(f"the folder {copy.parent} is missing")
        for log in (f"{copy}{ending}" for ending in LOGS):
            if os.path.lexists(log):
                raise MaintenanceError(
                    f"{log} exists: SQLite would take it for a part of the copy. A program uses a "
                    f"database {copy}, or died using it; remove this file if none does"
                )


def _require_another(source: Path, copy: Path) -> None:
    if copy.exists() and source.exists() and copy.samefile(source):
        raise MaintenanceError(f"{copy} is {source} itself")
    # Of a file that is in use, the log may come any moment.
    if copy.resolve() in [Path(f"{source.resolve()}{ending}") for ending in (*LOGS, "-shm")]:
        raise MaintenanceError(f"{copy} is where SQLite keeps what belongs to {source}")


def _require_space(connection: sqlite3.Connection, folder: Path) -> int:
    """Give the size in bytes; refuse before the disk is full, which servers would suffer from."""
    query = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    nbytes: int = connection.execute(query).fetchone()[0]
    free = shutil.disk_usage(folder).free
    if nbytes > free:
        raise MaintenanceError(
            f"the copy needs {nbytes:,} bytes, and {folder} has room for {free:,}: the disk is full"
        )
    return nbytes


@contextlib.contextmanager
def _temporary_beside(copy: Path) -> Iterator[Path]:
    """Make a file in the folder of the copy; it is gone afterwards, unless it was renamed."""
    with complaining(f"cannot write in {copy.parent}"):
        handle, name = tempfile.mkstemp(".part", ".seamless-backup-", copy.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        for ending in ("", *LOGS, "-shm"):
            Path(f"{name}{ending}").unlink(missing_ok=True)


def _copy_pages(
    connection: sqlite3.Connection, temporary: Path, progress: Callable[[int, int], None] | None
) -> int:
    def tell(_: int, remaining: int, total: int) -> None:
        # Called even if nobody wants to know: this is where Python hears Ctrl-C.
        if progress is not None:
            progress(total - remaining, total)

    with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as target:
        # Nobody reads this before it is whole and flushed: no journal, no syncing on the way.
        target.execute("PRAGMA journal_mode = OFF")
        target.execute("PRAGMA synchronous = OFF")
        connection.backup(target, pages=STEP_PAGES, progress=tell)
        # The header came along and says WAL. A reader of such a file makes others beside it, and
        # fails where it cannot, as in a read-only archive. A writable server turns to WAL again.
        (mode,) = target.execute("PRAGMA journal_mode = DELETE").fetchone()
        if mode != "delete":
            raise MaintenanceError(f"the copy stays in the journal mode {mode}")
        pages: int = target.execute("PRAGMA page_count").fetchone()[0]
        return pages


def _look_into(temporary: Path, source: Path, check: bool) -> int | None:
    """Read the copy as it is on the disk; refuse it if it is damaged, and count transformations."""
    uri = f"{temporary.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True)
    connection.text_factory = lenient
    with contextlib.closing(connection), interruptible(connection):
        if check:
            _require_sound(connection, source)
        return _count_transformations(connection)


def _require_sound(connection: sqlite3.Connection, source: Path) -> None:
    found = _first_damage(connection)
    if found is not None:
        raise MaintenanceError(
            f"{source} is damaged, and so was its copy, which is removed (--no-check keeps it): "
            f"{found}"
        )


def _first_damage(connection: sqlite3.Connection) -> str | None:
    try:
        return next(damage(connection, "quick_check"), None)
    except FAILURES as error:
        if not is_damage(error):
            raise
        return text_of(error)


def _count_transformations(connection: sqlite3.Connection) -> int | None:
    try:
        rows: int = connection.execute("SELECT count(*) FROM transformation").fetchone()[0]
    except FAILURES as error:
        if not is_damage(error):
            raise
        return None
    return rows


def _put_in_place(temporary: Path, source: Path, copy: Path, overwrite: bool) -> None:
    _flush(temporary)
    shutil.copymode(source, temporary)  # who may read the one may read the other
    _require_place(source, copy, overwrite)  # copying took its time, and others may have come
    temporary.replace(copy)
    with contextlib.suppress(OSError):  # not every system can flush a folder
        _flush(copy.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
