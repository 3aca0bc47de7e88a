"""Single reads on the event loop itself, for as long as they take microseconds.

Handing a read to a thread costs several times what a lookup by key costs in a file that is in
memory. So the loop has a connection of its own. A read there that took long, as on a cold disk or a
network file system, sends the next ones to the thread again, where nobody waits for them. One that
fails goes there, too, and so do all of which it is not known that they look at a single row.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from .lanes import Read

SLOW_SECONDS = 0.002
"""A read that took longer would hold up other requests."""
PAUSE_SECONDS = 5.0
"""How long reads go to the thread after a slow one."""

UNANSWERED = object()
"""Stands for a read that belongs into the thread."""


class NearReads:
    """Answers reads at once, or leaves them to others.

    Parameters
    ----------
    connect : callable
        Opens a connection, for the event loop alone.
    clock : callable, optional
        Gives seconds.

    Notes
    -----
    Used from one event loop. Under WAL no reader waits for a writer, so only the disk can be slow.

    The reads of one tick of the loop share a transaction, as beginning one takes as long as a read.
    They see what was acknowledged before: whoever heard of a write cannot ask in the tick in which
    it was told.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        clock: Callable[[], float] = time.perf_counter,
    ):
        self._connection = connect()
        # What would have to wait for a lock belongs into the thread.
        self._connection.execute("PRAGMA busy_timeout = 0")
        self._clock = clock
        self._again_at = -1.0
        self._closed = False

    def answer(self, read: Read) -> Any:
        """Answer one read; None if the key is unknown, `UNANSWERED` for what belongs elsewhere."""
        alone, started = getattr(read.reader, "alone", None), self._clock()
        if alone is None or started < self._again_at:
            return UNANSWERED
        try:
            if not self._connection.in_transaction:
                self._begin()
            return alone(self._connection, read.key)
        except Exception:
            return UNANSWERED
        finally:
            ended = self._clock()
            if ended - started > SLOW_SECONDS:
                self._again_at = max(self._again_at, ended + PAUSE_SECONDS)

    def close(self) -> None:
        """Close the connection."""
        self._closed = True
        self._connection.close()

    def _begin(self) -> None:
        asyncio.get_running_loop().call_soon(self._end)
        self._connection.execute("BEGIN")

    def _end(self) -> None:
        if self._closed or not self._connection.in_transaction:
            return
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            # A transaction that stays would show old rows for ever.
            self._again_at = math.inf
