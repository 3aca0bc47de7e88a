"""Healing: computing what could not be restored, and keeping what that takes until it is done."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from seamless_dask_cache.dask_internals import (
    Key,
    as_original,
    hold,
    is_started,
    let_go,
    node_of,
)

from .upstream import Submit, submit_upstream
from .worker import NAME

if TYPE_CHECKING:
    from .engine import Engine


class Healing:
    """Restored tasks of one scheduler, from their graph to the moment they are in memory.

    Parameters
    ----------
    scheduler : distributed.Scheduler
    engine : Engine
        Knows how keys are made.
    submit : coroutine function
        Schedules a graph like one of a client: hits among what is upstream are restored in turn.

    Notes
    -----
    Used from the scheduler's event loop only.
    """

    def __init__(self, scheduler: Any, engine: Engine, submit: Submit):
        self._scheduler = scheduler
        self._engine = engine
        self._submit = submit
        self._holding: dict[Key, list[tuple[str, set[Key]]]] = {}
        self._holders = itertools.count()
        self._leaving: set[asyncio.Task[None]] = set()

    def inherit(self, predecessor: Healing) -> None:
        """Take over what another one keeps."""
        self._holding, self._holders = predecessor._holding, predecessor._holders

    def clear(self) -> None:
        """Drop everything: the scheduler has."""
        self._holding.clear()

    def hold(self, inputs: Collection[Key], restored: Collection[Key]) -> None:
        """Keep scattered inputs of what is restored until it is in memory: it may fail."""
        if not inputs or not restored:
            return
        holder = f"{NAME}-hold-{next(self._holders)}"
        if hold(self._scheduler, inputs, holder):
            outstanding = set(restored)
            for key in restored:
                self._holding.setdefault(key, []).append((holder, outstanding))

    def ended(self, key: Key) -> None:
        """Note that a task is in memory, erred or forgotten."""
        for holder, outstanding in self._holding.pop(key, ()):
            outstanding.discard(key)
            if not outstanding:
                let_go(self._scheduler, holder)

    async def heal(self, key: Key, transformation: str, result: str, gone: bool) -> bool:
        """Put the original task in the place of one that could not restore its result.

        A client of our own wants what is upstream until the task, started again, waits for it.

        Returns
        -------
        bool
            False when the original is not known any more.
        """
        engine, scheduler = self._engine, self._scheduler
        engine.distrust(transformation, result, gone=gone)
        lineage, node = engine.lineages.get(key), engine.original(key)
        if lineage is None or node is None:
            return False
        holder = f"{NAME}-heal-{next(self._holders)}"
        nodes = await submit_upstream(engine, self._submit, lineage, {key: node}, holder)
        # Meanwhile the key may have been let go of, and mean something else.
        restoring = node_of(scheduler, key)
        healed = getattr(restoring, "transformation", None) == transformation and as_original(
            scheduler, key, nodes[key]
        )
        engine.stats.healed += healed
        leaving = asyncio.create_task(self._leave(key, holder))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        return healed

    async def _leave(self, key: Key, holder: str) -> None:
        # The scheduler tells nobody when it takes a task back, so it is asked.
        while is_started(self._scheduler, key):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        let_go(self._scheduler, holder)
