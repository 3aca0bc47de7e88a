"""The worker's half of restoring in bulk: results are loaded aside, and kept if they are wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from seamless_dask_cache.dask_internals import Key, put_data
from seamless_dask_cache.observation import apart

logger = logging.getLogger(__name__)

LOAD = "seamless_dask_cache_load"
KEEP = "seamless_dask_cache_keep"
KEPT = "seamless_dask_cache_kept"

ASIDE_SECONDS = 4.0
"""How long results wait for being wanted, as a multiple of the scheduler's patience."""

Items = list[tuple[Key, str, "bytes | None"]]
Kept = list[tuple[Key, int, str, bytes]]


class Loading:
    """Results on their way into the memory of one worker.

    Parameters
    ----------
    worker : distributed.Worker
    load : callable
        Gives the values of items (key, result checksum, buffer where it is small); those that
        cannot be had are left out. Called in a thread.
    patience : float
        Seconds after which the scheduler does without.

    Notes
    -----
    A worker that hangs may read what it was asked long after the scheduler gave up, when the keys
    may mean something else already. So what is loaded enters its memory at the word of a message
    that comes by the same stream as those on tasks: either before all that the scheduler says
    after it, or not at all. Used from the worker's event loop only.
    """

    def __init__(self, worker: Any, load: Callable[[Items], dict[Key, Any]], patience: float):
        self._worker = worker
        self._load = load
        self._seconds = ASIDE_SECONDS * patience
        self._aside: dict[str, dict[Key, Any]] = {}
        self._kept: dict[str, asyncio.Future[Kept]] = {}

    def join(self) -> None:
        """Answer the scheduler."""
        self._worker.handlers[LOAD] = self.load
        self._worker.handlers[KEPT] = self.kept
        self._worker.stream_handlers[KEEP] = self.keep

    def leave(self) -> None:
        """Answer no more; what is on its way is dropped."""
        self._worker.handlers.pop(LOAD, None)
        self._worker.handlers.pop(KEPT, None)
        # A message without a handler would cost the worker its connection.
        self._worker.stream_handlers[KEEP] = _ignore
        for token in list(self._kept):
            self._drop(token)

    async def load(self, token: str, items: Items) -> bool:
        """Load results aside; tells that this is done."""
        values = await asyncio.to_thread(apart, self._load, items)
        loop = asyncio.get_running_loop()
        self._aside[token], self._kept[token] = values, loop.create_future()
        loop.call_later(self._seconds, self._drop, token)
        return True

    def keep(self, token: str) -> None:
        """Put what was loaded into the worker's memory; keys that it knows are left alone."""
        values, kept = self._aside.pop(token, None), self._kept.get(token)
        if values is None or kept is None:
            return
        try:
            kept.set_result(put_data(self._worker, values))
        except Exception:
            logger.warning("results could not be put into memory", exc_info=True)
            self._drop(token)

    async def kept(self, token: str) -> Kept | None:
        """Return what is in memory now: keys, sizes in bytes, and types. None for nothing."""
        waiting = self._kept.get(token)
        if waiting is None:
            return None
        try:
            return await waiting
        finally:
            self._drop(token)

    def _drop(self, token: str) -> None:
        self._aside.pop(token, None)
        waiting = self._kept.pop(token, None)
        if waiting is not None and not waiting.done():
            waiting.set_result([])


def _ignore(token: str) -> None:
    """Take a message that came too late."""
