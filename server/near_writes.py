"""Small commits on the event loop itself, for as long as the disk takes them at once.

Handing a commit to a thread and hearing of its end costs two switches between processors, and a
wait for Python's lock at every statement; on a disk that flushes in a fraction of a millisecond,
that is more than the commit. So the rows of single requests are committed by the loop, and are as
durable. A disk that takes long sends them to the thread again, where only writers wait for it: for
so long that stalls of the loop stay below half a percent of the time. Batches and everything else
always go there, and so do checkpoints.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence

from .lanes import Gathering, Lane, Outcome, Row, Write, commit_begun, commit_together

SLOW_SECONDS = 0.005
"""A commit that took longer sends the next ones to the thread."""

PAUSE_SECONDS = 5.0
"""For at least so long."""

PAUSE_FACTOR = 200.0
"""And for so many times as long as it took."""

BUSY_MILLISECONDS = 10_000
"""How long the thread waits for another program that writes to the file."""

MOST_ROWS = 64
"""Rows that are committed on the loop at once."""

CHECKPOINT_PAGES = 8_000
"""Pages in the write-ahead log (32 MB) after which a commit of the thread takes them into the file.
Keys come in no order, so that a page which many commits touched goes there once instead of many
times."""

CHECKPOINT_ROWS = 2_000
"""After so many rows, a thread moves them from the write-ahead log into the file (25 MB)."""


class NearCommits:
    """Commits small groups of rows at once, or leaves them to others.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, which may be used from any thread, though from one at a time only.
    clock : callable, optional
        Gives seconds.

    Notes
    -----
    Used from one event loop, while nothing is under way in the writer's thread.
    """

    def __init__(
        self, connection: sqlite3.Connection, clock: Callable[[], float] = time.perf_counter
    ):
        self._connection = connection
        self._clock = clock
        self._again_at = -1.0
        self._rows = 0

    def commit(self, writes: Sequence[Write | Row]) -> list[Outcome] | None:
        """Commit some writes; None for what belongs into the thread."""
        started = self._clock()
        is_small = len(writes) <= MOST_ROWS and all(isinstance(write, Row) for write in writes)
        if not is_small or started < self._again_at:
            return None
        try:
            return self._commit(list(writes))
        finally:
            seconds = self._clock() - started
            if seconds > SLOW_SECONDS:
                pause = max(PAUSE_SECONDS, PAUSE_FACTOR * seconds)
                self._again_at = started + seconds + pause

    def _commit(self, writes: list[Write | Row]) -> list[Outcome] | None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:  # another program writes: the loop must not wait for it
            return None
        self._rows += len(writes)
        try:
            return commit_begun(self._connection, writes)
        except Exception as error:
            return [Outcome(error=error)] * len(writes)

    @property
    def wants_checkpoint(self) -> bool:
        """Whether much was written since the last checkpoint."""
        return self._rows >= CHECKPOINT_ROWS

    def checkpoint(self, connection: sqlite3.Connection) -> None:
        """Move what was written into the file; in the writer's thread."""
        self._rows = 0
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def commit_patiently(connection: sqlite3.Connection, writes: list[Write | Row]) -> list[Outcome]:
    """Do many writes in one transaction, as `lanes.commit_together`; in the writer's thread."""
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    try:
        return commit_together(connection, writes)
    finally:
        _hurry(connection)


def _hurry(connection: sqlite3.Connection) -> None:
    """Let what the loop does neither wait for another program nor move pages into the file."""
    connection.execute("PRAGMA busy_timeout = 0")
    connection.execute("PRAGMA wal_autocheckpoint = 0")


class Writes(Gathering[Write | Row]):
    """Commits what comes in meanwhile, together, on the loop or in the writer's thread.

    Parameters
    ----------
    lane : Lane
        The writer's.
    performed : callable, optional
        Told, on the event loop, how many writes shared a commit.
    """

    def __init__(self, lane: Lane, performed: Callable[[int], None] | None = None):
        super().__init__(lane, commit_patiently, performed)
        _hurry(lane.connection)
        self.near = NearCommits(lane.connection)

    async def _outcomes(self, jobs: list[Write | Row]) -> list[Outcome]:
        found = self.near.commit(jobs)
        return await super()._outcomes(jobs) if found is None else found

    async def _settled(self) -> None:
        if self.near.wants_checkpoint:
            await self._lane.run(self.near.checkpoint)
