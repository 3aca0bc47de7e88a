"""The scheduler plugin: hooks that adapt Dask's events to the engine, and nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from distributed import SchedulerPlugin

from seamless_dask_cache.config import Settings
from seamless_dask_cache.dask_internals import (
    Key,
    add_worker_plugin,
    at_work,
    is_busy,
    remove_worker_plugin,
    take_from_task,
)
from seamless_dask_cache.dask_internals.display import lighten
from seamless_dask_cache.dask_internals.support import switch_off, unsupported
from seamless_dask_cache.identity.graph import Refusal, is_task
from seamless_dask_cache.storage import BufferStore, open_store

from .bulk import restore_in_bulk
from .database_home import DatabaseHome
from .divergence import tell
from .engine import Engine
from .healing import Healing
from .intake import GRAPH, ClientHandlers, Intake
from .link import DatabaseLink
from .policy import Policy
from .quarantine import recall
from .questions import ANSWERS
from .restore import RestoreTask
from .seeing import Seeing
from .storing import StoringTask
from .submission import Submission
from .worker import NAME, WorkerCache

LAST_GRAPHS_SECONDS = 2.0
TASK_FINISHED = "task-finished"


class CachePlugin(SchedulerPlugin):  # type: ignore[misc]
    """Give every graph that a scheduler receives a persistent memory.

    Register it with ``client.register_plugin(CachePlugin(...))``; it installs its worker half
    itself.

    Parameters
    ----------
    database : str, optional
        URL of a database server. Without it, the embedded one under `cache_dir` is started or
        found, on the scheduler's machine.
    buffers : str, path or BufferStore, optional
        Where buffers live; all workers must reach it. By default a folder under `cache_dir`.
    cache_dir : str or path, optional
        Home of the embedded database and buffers; the user's cache folder by default.
    token : str, optional
        Bearer token for `database`.
    must_answer : bool
        Whether registering fails when the database does not answer. Otherwise a warning says so,
        and the cache sets in when it does.
    **policy
        Settings, see `Policy`.

    Notes
    -----
    Once registered, no fault of the cache fails a computation: a graph that cannot be judged is
    scheduled as it came.
    """

    name = NAME

    def __init__(
        self,
        database: str | None = None,
        buffers: str | Path | BufferStore | None = None,
        *,
        cache_dir: str | Path | None = None,
        token: str | None = None,
        must_answer: bool = True,
        **policy: Any,
    ):
        settings = Settings.from_arguments(
            database=database, buffers=buffers, cache_dir=cache_dir, token=token
        )
        self.settings = replace(settings, policy={**settings.policy, **policy})
        self.policy = Policy().updated(**self.settings.policy)
        self.must_answer = must_answer
        self.engine: Engine | None = None
        self.tainted: set[Key] = set()
        self._submitters: set[Key] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._original: Any = None
        self._intake: Intake | None = None
        self._handlers: ClientHandlers | None = None
        self._current: Submission | None = None

    # Starting and stopping ----------------------------------------------------------------------

    async def start(self, scheduler: Any) -> None:
        """Connect, take over ``update-graph``, and equip the workers."""
        reason = unsupported(scheduler)
        if reason is not None:
            switch_off(scheduler, reason)
            return
        home = DatabaseHome(self.settings, self.policy.patience)
        endpoint = await home.first_endpoint(must_answer=self.must_answer)
        policy = self.policy if endpoint.writable else self.policy.updated(read_only=True)
        # What the power cuts off is found out at reading, and computed again.
        store = open_store(self.settings.buffers or endpoint.buffers, durable="soon")
        self.seeing = Seeing(scheduler)
        link = DatabaseLink(
            home.connect,
            patience=policy.patience,
            on_stored=self._acknowledge,
            writable=not policy.read_only,
            spool=home.spool(),
            on_event=self.seeing.event,
            is_busy=partial(is_busy, scheduler),
        )
        await link.open(must_answer=self.must_answer)
        self._scheduler, self._turn = scheduler, asyncio.Lock()
        self.engine = Engine(scheduler, link, store, policy)
        await recall(self.engine)
        self.healing = Healing(scheduler, self.engine, self._submit)
        self.engine.flight.start(self._submit, self._turn)
        self.seeing.start()
        predecessor = scheduler.plugins.get(NAME)
        pending: list[Key] = []
        if isinstance(predecessor, CachePlugin) and predecessor is not self:
            pending = [key for key, task in scheduler.tasks.items() if task.state != "memory"]
            del scheduler.plugins[NAME]
            await predecessor.retire()
            self._inherit(predecessor)
        self._take_over(scheduler)
        scheduler.handlers["seamless_dask_cache"] = self._answer
        await add_worker_plugin(scheduler, WorkerCache(store, policy), NAME)
        for key in pending:  # no hook heard of their end
            if key in scheduler.tasks and scheduler.tasks[key].state == "memory":
                self._taint(key, "it ended while the cache was replaced", key)

    def _acknowledge(self, items: list[dict[str, Any]]) -> None:
        if self.engine is None:
            return
        stored = [item for item in items if "diverged" not in item]
        diverged = [item for item in items if "diverged" in item]
        self.engine.recording.acknowledge(items)
        self.seeing.stored(stored)
        if diverged:
            telling = asyncio.create_task(tell(self, diverged))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

    async def close(self) -> None:
        """Write what is queued, then disconnect; the scheduler calls this when it closes."""
        await self._leave_handlers(LAST_GRAPHS_SECONDS)
        if self.engine is not None:
            self.engine.threads.close()
            await self.engine.flight.close()
            await self.engine.link.close()
            self.engine.restart()  # Dask itself keeps schedulers that were closed

    async def retire(self) -> None:
        """Flush, then leave the scheduler and its workers as they were."""
        await self._leave_handlers()
        if self.engine is not None:
            await self.engine.flight.retire()
            self.engine.threads.close()
            await self.engine.link.close()
            self.seeing.stop()
        await remove_worker_plugin(self._scheduler, NAME)
        # The handler stays: a restored key may still have to be healed.

    def _inherit(self, predecessor: CachePlugin) -> None:
        self.tainted, self._submitters = predecessor.tainted, predecessor._submitters
        if self.engine is not None and predecessor.engine is not None:
            self.engine.inherit(predecessor.engine)
            self.healing.inherit(predecessor.healing)

    def _take_over(self, scheduler: Any) -> None:
        """Let all messages of clients come through the intake."""
        self._original = scheduler.stream_handlers[GRAPH]
        self._intake = Intake(self)
        self._handlers = ClientHandlers(scheduler, self._intake)
        self._handlers.replace()
        self._finished_handler = scheduler.stream_handlers[TASK_FINISHED]
        scheduler.stream_handlers[TASK_FINISHED] = self._task_finished

    async def _leave_handlers(self, timeout: float | None = None) -> None:
        if self._intake is not None and self._handlers is not None:
            await self._intake.drain(timeout)
            self._handlers.put_back()
            handlers = self._scheduler.stream_handlers
            if handlers[TASK_FINISHED] == self._task_finished:
                handlers[TASK_FINISHED] = self._finished_handler

    # Graphs -------------------------------------------------------------------------------------

    async def prepared(self, messages: list[dict[str, Any]]) -> list[Submission | None]:
        """Judge graphs that arrived together, for the intake; never raises."""
        nothing: list[Submission | None] = [None] * len(messages)
        for message in messages:
            if message.get("submitting_task") is not None:
                self._submitters.add(message["submitting_task"])
        if self.engine is None or NAME not in self._scheduler.plugins:
            return nothing
        try:
            with at_work(self._scheduler):
                submissions = await self.engine.prepare_all(messages)
                await self.engine.flight.acquire(messages, submissions)
                return submissions
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # users' classes may raise SystemExit while they are hashed
            self._survived("judging a graph", error)
            return nothing

    async def handed_over(self, message: dict[str, Any], submission: Submission | None) -> None:
        """Schedule one graph, rewritten where it was judged, for the intake.

        Graphs of several clients may be prepared at the same time, but are decided and handed over
        one after the other: nobody adds tasks between the look at the scheduler and its update.
        """
        async with self._turn:
            if submission is not None:
                message = await self._decided(message, submission)
            try:
                await self._original(**message)
            finally:
                self._current = None
                if self.engine is not None:
                    self.engine.rely_no_more()

    async def _decided(self, message: dict[str, Any], submission: Submission) -> dict[str, Any]:
        engine = self.running()
        try:
            plan = engine.decide(submission)
            rewritten: dict[str, Any] = engine.rewritten(message, submission, plan)
            engine.count(submission, plan)
            self.seeing.graph(submission, plan)
            loaded = await restore_in_bulk(engine, self.seeing, submission, plan)
            self.healing.hold(submission.externals, (plan.restored.keys() - loaded) | plan.awaited)
        except Exception as error:
            self._survived("rewriting a graph", error)
            return message
        self._current = submission
        return rewritten

    def running(self) -> Engine:
        """Return the engine of a plugin that has been started."""
        if self.engine is None:
            raise RuntimeError("the plugin has not been started")
        return self.engine

    def _survived(self, action: str, error: BaseException) -> None:
        if self.engine is not None:
            self.engine.survived(action, error)

    def _task_finished(self, **message: Any) -> None:
        """Stand in for the handler of ended tasks: what waits for one may not have to run."""
        try:
            facts = (message.get("metadata") or {}).get(NAME)
            key = message["key"]
            # What submitted tasks while it ran has no identity, and so nothing behind it has one.
            if facts and self.engine is not None and key not in self._submitters:
                worker, run = message["worker"], message["run_id"]
                self.engine.sparing.spare(key, worker, run, facts, message["stimulus_id"])
        except Exception as error:
            self._survived("sparing tasks", error)
        self._finished_handler(**message)

    # Hooks --------------------------------------------------------------------------------------

    def update_graph(self, scheduler: Any, *, tasks: list[Key], **kwargs: Any) -> None:
        """Learn the new keys; in the same tick in which the scheduler made them."""
        if self._current is None or self.engine is None:
            return
        self.engine.learn(self._current, tasks)
        self.seeing.restoring(self._current.restored)

    def transition(self, key: Key, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Follow tasks to their end: record what was stored, forget what is forgotten."""
        if self.engine is None:
            return
        if key in self.seeing.followed:
            self.seeing.moved(key)
        try:
            if finish == "memory" and start == "processing":
                self._finished(key)
                lighten(kwargs.get("metadata"), NAME, kwargs.get("worker", ""))
            elif finish == "forgotten":
                self.tainted.discard(key)
                self._submitters.discard(key)
                self.engine.forget(key)
            if finish in ("memory", "erred", "forgotten", "no-worker"):
                self.engine.flight.leases.ended(key)
            if finish in ("memory", "erred", "forgotten"):
                self.healing.ended(key)
        except Exception as error:
            self._survived(f"noting that {key!r} is {finish}", error)

    def restart(self, scheduler: Any) -> None:
        """Forget everything about keys; the scheduler has."""
        self.tainted.clear()
        self._submitters.clear()
        if self._intake is not None:
            self._intake.restart()
        if self.engine is not None:
            self.engine.restart()
            self.engine.flight.restart()
            self.healing.clear()
            self.seeing.stop()

    def _finished(self, key: Key) -> None:
        engine = self.running()
        task = self._scheduler.tasks[key]
        facts = take_from_task(self._scheduler, key, NAME) or {}
        if isinstance(task.run_spec, RestoreTask):
            if "restored" in facts:
                engine.stats.restored += 1
                engine.recording.load(key, facts.get("took", 0.0))
                self.seeing.restored(key)
            engine.stats.bytes_restored += facts.get("restored", 0)
            return
        engine.stats.computed += is_task(task.run_spec)
        engine.stats.errors += "error" in facts
        if is_task(task.run_spec):
            self.seeing.computed(key, error="error" in facts)
        inputs = [dependency.key for dependency in task.dependencies]
        reason, origin = engine.judge_run(key, task.run_spec, facts, inputs), key
        if key in self._submitters:
            reason = reason or "it submitted tasks while it ran"
        if reason is None and not self.tainted.isdisjoint(inputs):
            origin = next(k for k in inputs if k in self.tainted)
            inherited = engine.keys.get(origin)
            reason = inherited.reason if isinstance(inherited, Refusal) else "an effect"
        if reason is not None:
            self._taint(key, reason, origin)
            return
        if isinstance(task.run_spec, StoringTask):
            engine.recording.result(key, facts)

    def _taint(self, key: Key, reason: str, origin: Key) -> None:
        self.tainted.add(key)
        self.running().keys.taint(key, reason, origin)

    async def _submit(self, message: dict[str, Any]) -> None:
        (submission,) = await self.prepared([message])
        await self.handed_over(message, submission)

    # Questions from clients and workers -----------------------------------------------------------

    async def _answer(self, action: str, arguments: dict[str, Any] | None = None) -> Any:
        """Answer one remote call of ``Cache`` or of a restore task."""
        self.running()
        if action not in ANSWERS:
            raise ValueError(f"unknown action {action!r}")
        return await ANSWERS[action](self, **(arguments or {}))
