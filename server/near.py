"""Single reads on the event loop itself, for as long as they take microseconds.

Handing a read to a thread costs several times what a lookup by key costs in a file that is in
memory. So the loop has a connection of its own. A read there that waited for a cold disk or a
network file system sends the next ones to the thread again, where nobody waits for them. (One that
took long although nothing came from a disk was interrupted, as on a busy machine; the thread
would be interrupted, too.) One that fails goes there, and so do all of which it is not known that
they look at a single row.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from .lanes import Read

try:
    import resource
except ImportError:  # Windows: whatever is slow counts as a wait for the disk
    resource = None  # type: ignore[assignment]

_unknown = itertools.count()

SLOW_SECONDS = 0.002
"""A read that took longer may have waited for the disk."""
TOO_SLOW_SECONDS = 0.25
"""A read that took longer is slow, whatever it waited for."""
CACHE_BYTES = 128 * 1024 * 1024
"""How much of the file is kept in memory, at most."""

PAUSE_SECONDS = 5.0
"""How long reads go to the thread after a slow one."""

UNANSWERED = object()
"""Stands for a read that belongs into the thread."""


def _disk_reads() -> int:
    """Count what this process has read from disks, through the page cache or by mapping files."""
    if resource is None:
        return next(_unknown)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_inblock + usage.ru_majflt


class NearReads:
    """Answers reads at once, or leaves them to others.

    Parameters
    ----------
    connect : callable
        Opens a connection, for the event loop alone.
    clock : callable, optional
        Gives seconds.
    disk_reads : callable, optional
        Tells how often this process has waited for a disk so far.

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
        disk_reads: Callable[[], int] | None = None,
    ):
        self._connection = connect()
        # What would have to wait for a lock belongs into the thread.
        self._connection.execute("PRAGMA busy_timeout = 0")
        # Each commit of others ends what is known about pages. A mapped file is unmapped then, and
        # its pages are faulted in again one by one: dearer than reading those that are wanted.
        self._connection.execute("PRAGMA mmap_size = 0")
        self._connection.execute(f"PRAGMA cache_size = -{CACHE_BYTES // 1024}")
        self._clock = clock
        self._disk_reads = disk_reads or _disk_reads
        self._reads_before = self._disk_reads()
        self._again_at = -1.0
        self._closed = False

    def answer(self, read: Read) -> Any:
        """Answer one read; None if the key is unknown, `UNANSWERED` for what belongs elsewhere."""
        alone, started = getattr(read.reader, "alone", None), self._clock()
        if alone is None or started < self._again_at:
            return UNANSWERED
        failed = True
        try:
            if not self._connection.in_transaction:
                self._begin()
            found = alone(self._connection, read.key)
            failed = False
            return found
        except Exception:
            return UNANSWERED
        finally:
            seconds = self._clock() - started
            if seconds > SLOW_SECONDS and (failed or self._waited_for_disk(seconds)):
                self._again_at = max(self._again_at, started + seconds + PAUSE_SECONDS)

    def _waited_for_disk(self, seconds: float) -> bool:
        before, self._reads_before = self._reads_before, self._disk_reads()
        return seconds > TOO_SLOW_SECONDS or self._reads_before != before

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
