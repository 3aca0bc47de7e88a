"""Threads that work on SQLite: coalesced reads and group commit.

A *lane* is one connection and the only thread that ever touches it. A *gathering* collects the jobs
that requests bring while its lane is busy, and hands them over together: reads then share one SQL
statement, writes one transaction, so that the cost of a thread switch, of a statement and of an
fsync is paid per group instead of per request. A lone request waits for nobody.

Plain ``sqlite3`` in an own thread, because ``aiosqlite`` switches threads for every statement,
where a group needs to do so once for a whole transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, NamedTuple, TypeVar

from .regulars import Regulars

T = TypeVar("T")
Job = TypeVar("Job")

Reader = Callable[[sqlite3.Connection, Sequence[Any]], Mapping[Any, Any]]
"""Answers many keys at once; keys that are not in the answer are unknown.

One with an attribute ``alone``, a function of connection and key, has a way for a single key that
looks at one row.
"""

Write = Callable[[sqlite3.Connection], Any]
"""One write, whole or not at all; what it returns goes back to the request."""

Writer = Callable[[sqlite3.Connection, Sequence[Any]], None]
"""Writes many rows at once, whole or not at all."""


class Read(NamedTuple):
    """One key that a request asks for, and the function that answers it."""

    reader: Reader
    key: Hashable


AtOnce = Callable[[sqlite3.Connection, Sequence[Any]], bool]
"""Writes many rows and commits, in one call of SQLite; or does nothing and returns false."""


class Row(NamedTuple):
    """One row that a request brings, and the functions that write it, together with others."""

    writer: Writer
    values: Any
    at_once: AtOnce | None = None


class Outcome(NamedTuple):
    """What became of one job: a value, or the error that it raised."""

    value: Any = None
    error: Exception | None = None


class Lane:
    """One SQLite connection and the only thread that touches it.

    Parameters
    ----------
    connect : callable
        Opens the connection; called in the thread.
    name : str
        Name of the thread.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], name: str):
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        try:
            self._connection = self._thread.submit(connect).result()
        except BaseException:
            self._thread.shutdown()
            raise

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some work in the thread, after what was brought before."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work, self._connection)

    def close(self) -> None:
        """Finish the work in the thread, then close the connection."""
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()


class Gathering(Generic[Job]):
    """Hands the jobs that came in meanwhile to a lane, together.

    Parameters
    ----------
    lane : Lane
        Where the jobs are done.
    perform : callable
        Does many jobs on a connection and returns one `Outcome` for each, in order.
    performed : callable, optional
        Told, on the event loop, how many jobs were done together.
    regulars : Regulars, optional
        Decides how long a group waits for more; without, it never does.
    """

    def __init__(
        self,
        lane: Lane,
        perform: Callable[[sqlite3.Connection, list[Job]], list[Outcome]],
        performed: Callable[[int], None] | None = None,
        regulars: Regulars | None = None,
    ):
        self._lane = lane
        self._perform = perform
        self._performed = performed
        self._regulars = regulars
        self._waiting: list[tuple[Job, asyncio.Future[Any]]] = []
        self._drain: asyncio.Task[None] | None = None
        self._enough: asyncio.Future[Any] | None = None
        self._wanted = 0

    async def submit(self, job: Job) -> Any:
        """Do one job together with others, and return what it returned or raise what it raised."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, future))
        if self._enough is not None and len(self._waiting) >= self._wanted:
            _settle(self._enough, Outcome())
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._drain_all())
        return await future

    async def join(self) -> None:
        """Wait until everything that was submitted is done."""
        if self._drain is not None:
            await self._drain

    async def _drain_all(self) -> None:
        # A task starts in the next tick: every request that was ready in this one is in the group.
        while self._waiting:
            if self._regulars is not None:
                await self._wait_for(self._regulars)
            group, self._waiting = self._waiting, []
            jobs = [job for job, _ in group]
            outcomes = await self._outcomes(jobs)
            if self._performed is not None:
                self._performed(len(jobs))
            for (_, future), outcome in zip(group, outcomes, strict=True):
                _settle(future, outcome)

    async def _wait_for(self, regulars: Regulars) -> None:
        patience = regulars.patience(len(self._waiting), time.perf_counter())
        if not patience:
            return
        self._enough, self._wanted = asyncio.get_running_loop().create_future(), regulars.expected
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._enough, patience)
        self._enough = None
        regulars.waited(len(self._waiting))

    async def _outcomes(self, jobs: list[Job]) -> list[Outcome]:
        started = time.perf_counter()
        try:
            return await self._lane.run(lambda connection: self._perform(connection, jobs))
        except Exception as error:
            return [Outcome(error=error)] * len(jobs)
        finally:
            if self._regulars is not None:
                ended = time.perf_counter()
                self._regulars.done(len(jobs), len(self._waiting), started, ended)


def _settle(future: asyncio.Future[Any], outcome: Outcome) -> None:
    if future.done():  # the client went away
        return
    if outcome.error is None:
        future.set_result(outcome.value)
    else:
        future.set_exception(outcome.error)


def read_together(connection: sqlite3.Connection, reads: list[Read]) -> list[Outcome]:
    """Answer many reads with one call of each reader.

    Parameters
    ----------
    connection : sqlite3.Connection
    reads : list of Read

    Returns
    -------
    list of Outcome
        The value of an unknown key is None.
    """
    answers = {reader: _answers(connection, reader, reads) for reader in {r.reader for r in reads}}
    return [
        Outcome(error=found) if isinstance(found, Exception) else Outcome(found.get(key))
        for found, key in ((answers[reader], key) for reader, key in reads)
    ]


def _answers(
    connection: sqlite3.Connection, reader: Reader, reads: list[Read]
) -> Mapping[Any, Any] | Exception:
    keys = list(dict.fromkeys(read.key for read in reads if read.reader == reader))
    try:
        return reader(connection, keys)
    except Exception as error:
        return error


def commit_together(connection: sqlite3.Connection, writes: list[Write | Row]) -> list[Outcome]:
    """Do many writes in one transaction; those that fail leave no trace and hinder no other.

    Parameters
    ----------
    connection : sqlite3.Connection
        In autocommit mode.
    writes : list of Write or Row
        Rows of one writer are written with one call, and fail together.

    Returns
    -------
    list of Outcome
        Known only after the commit: an outcome without an error is on disk.
    """
    if _written_at_once(connection, writes):
        return [Outcome()] * len(writes)
    connection.execute("BEGIN IMMEDIATE")
    try:
        outcomes = _attempt_all(connection, writes)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return outcomes


def _written_at_once(connection: sqlite3.Connection, writes: list[Write | Row]) -> bool:
    rows = [write for write in writes if isinstance(write, Row)]
    ways = {row.at_once for row in rows}
    way = ways.pop() if len(ways) == 1 and len(rows) == len(writes) else None
    return way is not None and way(connection, [row.values for row in rows])


def _attempt_all(connection: sqlite3.Connection, writes: list[Write | Row]) -> list[Outcome]:
    rows: dict[Writer, list[Any]] = {}
    for write in writes:
        if isinstance(write, Row):
            rows.setdefault(write.writer, []).append(write.values)
    of_rows = {writer: _writing(writer, many) for writer, many in rows.items()}
    units = [*of_rows.values(), *(write for write in writes if not isinstance(write, Row))]
    if len(units) == 1:
        # What fails takes the transaction along, and nothing else is in it. A savepoint would cost
        # more than the rows: SQLite keeps a copy of each page from before it.
        return [Outcome(units[0](connection))] * len(writes)
    found = {unit: _attempt(connection, unit) for unit in units}
    return [found[of_rows[w.writer] if isinstance(w, Row) else w] for w in writes]


def _writing(writer: Writer, rows: list[Any]) -> Write:
    return lambda connection: writer(connection, rows)


def _attempt(connection: sqlite3.Connection, write: Write) -> Outcome:
    connection.execute("SAVEPOINT one_write")
    try:
        outcome = Outcome(write(connection))
    except Exception as error:
        if not connection.in_transaction:  # SQLite gave up the whole transaction (disk full)
            raise
        connection.execute("ROLLBACK TO one_write")
        outcome = Outcome(error=error)
    connection.execute("RELEASE one_write")
    return outcome
