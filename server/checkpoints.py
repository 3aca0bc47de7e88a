"""Moving what was written out of the write-ahead log as soon as nobody writes.

SQLite does so by itself when the log is long. Until then every read looks for each page in the log
first, which takes a tenth of a lookup in a large file; and whoever copies the file alone, against
all advice, does not have the last writes.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sqlite3

from .lanes import Lane

logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.2
"""How long nobody must have written."""


class Checkpoints:
    """Makes a checkpoint when nobody has written for a moment.

    Parameters
    ----------
    lane : Lane
        The writer's.

    Notes
    -----
    Belongs to one event loop.
    """

    def __init__(self, lane: Lane):
        self._lane = lane
        self._last = 0.0
        self._task: asyncio.Task[None] | None = None

    def written(self) -> None:
        """Say that something was written."""
        self._last = asyncio.get_running_loop().time()
        if self._task is None:
            self._task = asyncio.create_task(self._when_idle())

    async def close(self) -> None:
        """Make no more of them; the last connection that is closed empties the log."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _when_idle(self) -> None:
        done = -math.inf
        while self._last > done:
            await self._be_idle()
            done = self._last
            try:
                await self._lane.run(_checkpoint)
            except sqlite3.Error as error:  # a full disk: the log stays, and nothing is lost
                logger.warning("the write-ahead log cannot be moved into the file: %s", error)
        self._task = None

    async def _be_idle(self) -> None:
        loop = asyncio.get_running_loop()
        while (rest := self._last + IDLE_SECONDS - loop.time()) > 0:  # noqa: ASYNC110 - for time
            await asyncio.sleep(rest)


def _checkpoint(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
