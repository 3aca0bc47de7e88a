"""The scheduler plugin: hooks that adapt Dask's events to the engine, and nothing else."""

from __future__ import annotations

import asyncio
import itertools
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from distributed import SchedulerPlugin

from seamless_dask_cache.config import Settings
from seamless_dask_cache.dask_internals import (
    Graph,
    Key,
    add_worker_plugin,
    as_original,
    hand_over,
    hold,
    is_started,
    let_go,
    remove_worker_plugin,
    take_from_task,
)
from seamless_dask_cache.database import AsyncDatabaseClient
from seamless_dask_cache.embedded import Endpoint, default_cache_dir, ensure_server
from seamless_dask_cache.errors import DatabaseError
from seamless_dask_cache.identity.graph import Refusal
from seamless_dask_cache.storage import BufferStore, open_store

from .engine import Engine
from .explain import explain
from .lineage import Lineage, upstream_graph
from .link import DatabaseLink
from .policy import Policy
from .restore import RestoreTask
from .rewrite import Plan
from .submission import Submission
from .worker import NAME, StoringTask, WorkerCache

logger = logging.getLogger(__name__)


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
        self._original: Any = None
        self._current: Submission | None = None
        self._warned = False
        self._holding: dict[Key, list[tuple[str, set[Key]]]] = {}
        self._holders = itertools.count()
        self._healing: set[asyncio.Task[None]] = set()

    # Starting and stopping ----------------------------------------------------------------------

    async def start(self, scheduler: Any) -> None:
        """Connect, take over ``update-graph``, and equip the workers."""
        endpoint = await self._first_endpoint()
        policy = self.policy if endpoint.writable else self.policy.updated(read_only=True)
        store = open_store(self.settings.buffers or endpoint.buffers)
        link = DatabaseLink(
            self._connect,
            patience=policy.patience,
            on_stored=self._acknowledge,
            writable=not policy.read_only,
        )
        await link.open(must_answer=self.must_answer)
        self._scheduler = scheduler
        self._turn = asyncio.Lock()
        self.engine = Engine(scheduler, link, store, policy)
        predecessor = scheduler.plugins.get(NAME)
        pending: list[Key] = []
        if isinstance(predecessor, CachePlugin) and predecessor is not self:
            pending = [key for key, task in scheduler.tasks.items() if task.state != "memory"]
            del scheduler.plugins[NAME]
            await predecessor.retire()
            self._inherit(predecessor)
        self._original = scheduler.stream_handlers["update-graph"]
        scheduler.stream_handlers["update-graph"] = self._intercept
        scheduler.handlers["seamless_dask_cache"] = self._answer
        await add_worker_plugin(scheduler, WorkerCache(store, policy), NAME)
        for key in pending:  # no hook heard of their end
            if key in scheduler.tasks and scheduler.tasks[key].state == "memory":
                self._taint(key, "it ended while the cache was replaced", key)

    @property
    def _folder(self) -> Path:
        given = self.settings.cache_dir
        return Path(given) if given else default_cache_dir()

    async def _first_endpoint(self) -> Endpoint:
        try:
            return await self._endpoint()
        except (DatabaseError, OSError):
            if self.must_answer:
                raise
            return Endpoint("", "", self._folder / "buffers")

    async def _endpoint(self) -> Endpoint:
        settings = self.settings
        if settings.database is None:
            return await asyncio.to_thread(ensure_server, self._folder)
        return Endpoint(settings.database, settings.token or "", self._folder / "buffers")

    async def _connect(self) -> AsyncDatabaseClient:
        endpoint = await self._endpoint()
        client = AsyncDatabaseClient(
            endpoint.url, token=endpoint.token or None, timeout=self.policy.patience
        )
        try:
            await client.get_protocol()
        except BaseException:
            await client.close()
            raise
        return client

    def _acknowledge(self, items: list[dict[str, Any]]) -> None:
        if self.engine is not None:
            self.engine.acknowledge(items)

    async def close(self) -> None:
        """Write what is queued, then disconnect; the scheduler calls this when it closes."""
        self._restore_handler()
        if self.engine is not None:
            self.engine.threads.close()
            await self.engine.link.close()

    async def retire(self) -> None:
        """Flush, then leave the scheduler and its workers as they were."""
        self._restore_handler()
        if self.engine is not None:
            await self.engine.link.close()
        await remove_worker_plugin(self._scheduler, NAME)
        # The handler stays: a restored key may still have to be healed.

    def _inherit(self, predecessor: CachePlugin) -> None:
        self.tainted, self._submitters = predecessor.tainted, predecessor._submitters
        self._holding, self._holders = predecessor._holding, predecessor._holders
        if self.engine is not None and predecessor.engine is not None:
            self.engine.inherit(predecessor.engine)

    def _restore_handler(self) -> None:
        if self._original is not None:
            self._scheduler.stream_handlers["update-graph"] = self._original

    # Graphs -------------------------------------------------------------------------------------

    async def _intercept(self, **message: Any) -> None:
        """Stand in for ``Scheduler.update_graph``.

        The stream of one client is handled message by message, so awaiting here keeps their order.
        Two clients' graphs may be prepared at the same time, but are decided and handed over one
        after the other: nobody else adds tasks between the look at the scheduler and its update.
        """
        if message.get("submitting_task") is not None:
            self._submitters.add(message["submitting_task"])
        submission = await self._prepared(message)
        async with self._turn:
            if submission is not None:
                message = self._decided(message, submission)
            try:
                await self._original(**message)
            finally:
                self._current = None

    async def _prepared(self, message: dict[str, Any]) -> Submission | None:
        if self.engine is None or NAME not in self._scheduler.plugins:
            return None
        try:
            return await self.engine.prepare(message)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # users' classes may raise SystemExit while they are hashed
            self._survived("judging a graph", error)
            return None

    def _decided(self, message: dict[str, Any], submission: Submission) -> dict[str, Any]:
        engine = self._engine()
        try:
            plan = engine.decide(submission)
            rewritten: dict[str, Any] = engine.rewritten(message, submission, plan)
            engine.count(submission, plan)
            if plan.restored and submission.externals:
                self._hold(submission, plan)
        except Exception as error:
            self._survived("rewriting a graph", error)
            return message
        self._current = submission
        return rewritten

    def _hold(self, submission: Submission, plan: Plan) -> None:
        """Keep scattered inputs of what is restored until it is in memory: it may fail."""
        holder = f"{NAME}-hold-{next(self._holders)}"
        if hold(self._scheduler, submission.externals, holder):
            outstanding = set(plan.restored)
            for key in outstanding:
                self._holding.setdefault(key, []).append((holder, outstanding))

    def _arrived(self, key: Key) -> None:
        for holder, outstanding in self._holding.pop(key, ()):
            outstanding.discard(key)
            if not outstanding:
                let_go(self._scheduler, holder)

    def _engine(self) -> Engine:
        if self.engine is None:
            raise RuntimeError("the plugin has not been started")
        return self.engine

    def _survived(self, action: str, error: BaseException) -> None:
        if self.engine is not None:
            self.engine.stats.errors += 1
        level = logging.DEBUG if self._warned else logging.WARNING
        self._warned = True
        logger.log(level, "%s failed; it runs without the cache (%s)", action, error, exc_info=True)

    # Hooks --------------------------------------------------------------------------------------

    def update_graph(self, scheduler: Any, *, tasks: list[Key], **kwargs: Any) -> None:
        """Learn the new keys; in the same tick in which the scheduler made them."""
        if self._current is None or self.engine is None:
            return
        self.engine.learn(self._current, tasks)

    def transition(self, key: Key, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Follow tasks to their end: record what was stored, forget what is forgotten."""
        if self.engine is None:
            return
        try:
            if finish == "memory" and start == "processing":
                self._finished(key)
            elif finish == "forgotten":
                self.tainted.discard(key)
                self._submitters.discard(key)
                self.engine.forget(key)
            if key in self._holding and finish in ("memory", "erred", "forgotten"):
                self._arrived(key)
        except Exception as error:
            self._survived(f"noting that {key!r} is {finish}", error)

    def restart(self, scheduler: Any) -> None:
        """Forget everything about keys; the scheduler has."""
        self.tainted.clear()
        self._submitters.clear()
        self._holding.clear()
        if self.engine is not None:
            self.engine.restart()

    def _finished(self, key: Key) -> None:
        engine = self._engine()
        task = self._scheduler.tasks[key]
        facts = take_from_task(self._scheduler, key, NAME) or {}
        if isinstance(task.run_spec, RestoreTask):
            engine.stats.restored += "restored" in facts
            engine.stats.bytes_restored += facts.get("restored", 0)
            return
        engine.stats.computed += 1
        engine.stats.errors += "error" in facts
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
        if "result" in facts and isinstance(task.run_spec, StoringTask):
            engine.record(key, facts)

    def _taint(self, key: Key, reason: str, origin: Key) -> None:
        self.tainted.add(key)
        self._engine().keys.taint(key, reason, origin)

    # Healing --------------------------------------------------------------------------------------

    async def _heal(self, key: Key, transformation: str, result: str, gone: bool) -> bool:
        """Put the original task in the place of one that could not restore its result.

        What is upstream is submitted like any graph, so hits among it are restored in their turn. A
        client of our own wants it until the task, started again, waits for it.

        Returns
        -------
        bool
            False when the original is not known any more.
        """
        engine, scheduler = self._engine(), self._scheduler
        engine.distrust(transformation, result, gone=gone)
        lineage, node = engine.lineages.get(key), engine.original(key)
        if lineage is None or node is None:
            return False
        graph, annotations = upstream_graph(lineage, key, scheduler.tasks)
        holder = f"{NAME}-heal-{next(self._holders)}"
        if graph:
            await self._submit(graph, annotations, lineage, set(node.dependencies), holder)
        healed = as_original(scheduler, key, node)
        engine.stats.healed += healed
        leaving = asyncio.create_task(self._leave(key, holder))
        self._healing.add(leaving)
        leaving.add_done_callback(self._healing.discard)
        return healed

    async def _submit(
        self,
        graph: Graph,
        annotations: dict[str, dict[Key, Any]],
        lineage: Lineage,
        keys: set[Key],
        holder: str,
    ) -> None:
        message = {
            "client": holder,
            "expr_ser": hand_over(graph, annotations),
            "keys": keys & graph.keys(),
            "span_metadata": {"collections": []},
            "internal_priority": None,
            "submitting_task": None,
            "annotations": dict(lineage.everywhere),
        }
        await self._intercept(**message)

    async def _leave(self, key: Key, holder: str) -> None:
        # The scheduler tells nobody when it takes a task back, so it is asked.
        while is_started(self._scheduler, key):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        let_go(self._scheduler, holder)

    # Questions from clients and workers -----------------------------------------------------------

    async def _answer(self, action: str, arguments: dict[str, Any] | None = None) -> Any:
        """Answer one remote call of ``Cache`` or of a restore task."""
        engine = self._engine()
        arguments = arguments or {}
        if action == "heal":
            return await self._heal(**arguments)
        if action == "stats":
            return {**engine.stats.as_dict(), "database": await engine.link.summary()}
        if action == "flush":
            return await engine.link.flush(arguments.get("timeout"))
        if action == "explain":
            return await explain(engine, arguments)
        if action == "disable":
            return await self.retire()
        raise ValueError(f"unknown action {action!r}")
