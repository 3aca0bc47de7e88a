"""Single reads on the event loop itself, for as long as they take microseconds.

Handing a read to a thread costs several times what a lookup by key costs in a file that is in
memory. So the loop has a connection of its own. A read there that took long, as on a cold disk or a
network file system, sends the next ones to the thread again, where nobody waits for them; and so
does one that fails.
"""

from __future__ import annotations

import asyncio
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
        started = self._clock()
        if started < self._again_at:
            return UNANSWERED
        try:
            if not self._connection.in_transaction:
                self._begin()
            value = read.one(self._connection)
        except Exception:
            return UNANSWERED
        ended = self._clock()
        if ended - started > SLOW_SECONDS:
            self._again_at = ended + PAUSE_SECONDS
        return value

    def close(self) -> None:
        """Close the connection."""
        self._closed = True
        self._connection.close()

    def _begin(self) -> None:
        asyncio.get_running_loop().call_soon(self._end)
        self._connection.execute("BEGIN")

    def _end(self) -> None:
        if not self._closed and self._connection.in_transaction:
            self._connection.execute("COMMIT")
