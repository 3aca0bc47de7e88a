"""What the plugin tells those who look: one short call per occasion."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Container, Iterable, Mapping
from functools import partial, wraps
from typing import Any, TypeVar

from seamless_dask_cache.dask_internals import Key, run_offloaded
from seamless_dask_cache.dask_internals.display import (
    RestoreProgress,
    show_restores,
    stream_restore,
)

from ..history import History
from ..rewrite import Plan
from ..submission import Submission
from ..worker import NAME
from . import dashboard, metrics
from .counting import GraphCounts, count_graph, prefix_of
from .events import TOPIC, graph_event, lifecycle_event

logger = logging.getLogger(__name__)

COUNTED_AT_ONCE = 2_000
F = TypeVar("F", bound=Callable[..., None])


def _harmless(method: F) -> F:
    """Let no fault of showing reach what is shown."""

    @wraps(method)
    def wrapped(self: Seeing, *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception:
            self.faults += 1
            logger.debug("%s failed", method.__name__, exc_info=True)

    return wrapped  # type: ignore[return-value]


class Seeing:
    """Shows what the cache of one scheduler does.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler.

    Attributes
    ----------
    history : History
        What happened since the cache was enabled.
    followed : container of keys
        The tasks whose transitions `moved` wants to hear of.
    since : float
        When that was, in seconds since 1970.
    faults : int
        How often showing something failed; this is logged at DEBUG and has no other effect.

    Notes
    -----
    Used in the scheduler's event loop. Large graphs are counted in a thread, after they were handed
    to the scheduler, so their numbers come a moment later; `settled` waits for that.
    """

    def __init__(self, scheduler: Any):
        self.history = History()
        self.since = time.time()
        self.faults = 0
        self._scheduler = scheduler
        self._progress = RestoreProgress(scheduler)
        self.followed: Container[Key] = self._progress.shown
        self._counting: set[asyncio.Task[None]] = set()

    # Lifecycle --------------------------------------------------------------------------------

    @_harmless
    def start(self) -> None:
        """Join the scheduler's dashboard, task stream and metrics, as far as it has them."""
        for join in (partial(show_restores, NAME), metrics.install):
            try:
                join()
            except Exception:
                logger.debug("a part of Dask's diagnostics is not there", exc_info=True)
        dashboard.install(self._scheduler)

    @_harmless
    def stop(self) -> None:
        """Give Dask's own progress bars back what belongs to them."""
        self._progress.clear()

    async def settled(self) -> None:
        """Wait until all graphs so far are counted."""
        await asyncio.gather(*self._counting)

    # What the plugin tells ----------------------------------------------------------------------

    @_harmless
    def graph(self, submission: Submission, plan: Plan) -> None:
        """A graph was decided."""
        if len(submission.graph) <= COUNTED_AT_ONCE:
            self._note_graph(count_graph(submission, plan))
            return
        counting = asyncio.create_task(self._count(submission, plan))
        self._counting.add(counting)
        counting.add_done_callback(self._counting.discard)

    async def _count(self, submission: Submission, plan: Plan) -> None:
        try:
            self._note_graph(await run_offloaded(count_graph, submission, plan))
        except Exception:
            self.faults += 1
            logger.debug("a graph could not be counted", exc_info=True)

    def _note_graph(self, counts: GraphCounts) -> None:
        self.history.note_all(time.time(), counts.by_prefix)
        self.history.note_refusals(counts.refusals)
        self._scheduler.log_event(TOPIC, graph_event(counts))

    @_harmless
    def restoring(self, keys: Iterable[Key]) -> None:
        """These keys, which the scheduler has just learned, are restored."""
        self._progress.begin(keys)

    @_harmless
    def moved(self, key: Key) -> None:
        """A task changed its state; needed for those in `followed` only."""
        self._progress.moved(key)

    @_harmless
    def restored(self, key: Key) -> None:
        """A restore task brought its result back."""
        self.history.note(time.time(), self._prefix(key), restored=1)

    @_harmless
    def restored_in_bulk(
        self, keys: Iterable[Key], worker: str, start: float, stop: float, nbytes: int = 0
    ) -> None:
        """A worker brought many results back in one call, without tasks of their own."""
        counts: dict[str, int] = {}
        last: dict[str, Key] = {}
        for key in keys:
            prefix = self._prefix(key)
            counts[prefix] = counts.get(prefix, 0) + 1
            last[prefix] = key
        for prefix, count in counts.items():
            self.history.note(time.time(), prefix, restored=count)
        if last:
            key = last[max(counts, key=counts.__getitem__)]
            stream_restore(
                self._scheduler, NAME, key, worker=worker, start=start, stop=stop, nbytes=nbytes
            )

    @_harmless
    def computed(self, key: Key, *, error: bool = False) -> None:
        """A task ran to its end; `error` tells of a fault of the cache that it survived."""
        self.history.note(time.time(), self._prefix(key), computed=1, errors=int(error))

    @_harmless
    def stored(self, items: Iterable[Mapping[str, Any]]) -> None:
        """The database acknowledged some records."""
        now = time.time()
        for item in items:
            entry = item["entry"]
            self.history.note(now, entry["key_prefix"], stored=1, bytes_stored=entry["nbytes"])

    @_harmless
    def healed(self, key: Key, result: str) -> None:
        """A restored task is computed after all."""
        self._progress.end(key)
        self.event("healed", key=key, result=result)

    @_harmless
    def event(self, action: str, **details: object) -> None:
        """Something else happened; see `events` for the actions and their details."""
        event = lifecycle_event(action, **details)
        self.history.note_event(time.time(), event)
        self._scheduler.log_event(TOPIC, event)

    def _prefix(self, key: Key) -> str:
        # Dask has split the key already.
        task = self._scheduler.tasks.get(key)
        return prefix_of(key) if task is None else str(task.prefix.name)
