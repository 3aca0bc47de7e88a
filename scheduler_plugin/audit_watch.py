"""Waiting for single tasks of a scheduler to end."""

from __future__ import annotations

import asyncio
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

from seamless_dask_cache.dask_internals import Key, take_from_task

from .audit_task import VERDICT

Verdict = dict[str, Any]


class Watch(SchedulerPlugin):  # type: ignore[misc]
    """Tells how audited tasks end.

    Notes
    -----
    Used from the scheduler's event loop only. What is attached to a task is taken at once, before
    the scheduler may forget it.
    """

    def __init__(self) -> None:
        self._awaited: dict[Key, asyncio.Future[Verdict]] = {}
        self._scheduler: Any = None

    def end_of(self, scheduler: Any, key: Key) -> asyncio.Future[Verdict]:
        """Return what will hold the verdict on a task; to be asked before it is submitted."""
        self._scheduler = scheduler
        self._awaited[key] = asyncio.get_running_loop().create_future()
        return self._awaited[key]

    def forget(self, key: Key) -> None:
        """Wait for a task no more."""
        self._awaited.pop(key, None)

    def transition(self, key: Key, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Note the end of a task that is waited for."""
        if key in self._awaited and finish in ("memory", "erred", "forgotten"):
            self._end(key, self._verdict(key, finish))

    def restart(self, scheduler: Any) -> None:
        """Note that the scheduler forgot everything."""
        for key in list(self._awaited):
            self._end(key, {"unclear": "the cluster was restarted"})

    def _end(self, key: Key, verdict: Verdict) -> None:
        future = self._awaited.pop(key)
        if not future.done():
            future.set_result(verdict)

    def _verdict(self, key: Key, finish: str) -> Verdict:
        if finish == "memory":
            nothing = {"unclear": "its worker told nothing of it"}
            return take_from_task(self._scheduler, key, VERDICT) or nothing
        if finish == "erred":
            text = self._scheduler.tasks[key].exception_text
            return {"error": f"it, or what it needs, could not be computed: {text}"}
        return {"unclear": "the scheduler forgot it"}
