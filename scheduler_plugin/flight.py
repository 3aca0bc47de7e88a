"""Single flight: what one cluster computes, others wait for instead of computing it again.

A cluster takes leases, at the database, for the requested tasks of a graph that miss, as their
results are certain to be stored; everything else a graph needs it computes itself. What another one
holds is scheduled behind a gate (see `awaiting`), until its result is there, or until nobody holds
it any more: then the original takes its place.

Why no two clusters wait for each other for ever. A cluster that holds a transformation runs it as
soon as its inputs are there. It waits for other clusters only for inputs of it, near or far; those
are other transformations, strictly upstream. The checksum of a transformation is made of those of
its inputs, so there are no cycles among transformations, and a chain of waits across however many
clusters goes only upstream, each step strictly. Being finite, it ends at a transformation whose
holder waits for nobody and computes it. Three things could break this, and are prevented:

- A running task that submits a graph and waits for it keeps a thread busy meanwhile: a wait of
  another kind. Graphs that running tasks submit wait for no cluster, they only take leases.
- A cluster that cannot go on (no workers, or nobody runs anything) would hold what it never
  computes. The heartbeat beats only while some worker is busy or other clusters are waited for, and
  a task that finds no worker gives its lease back.
- What is put back is computed with all that is upstream of it, without waiting for others again.

Leases save work and promise nothing: without them, or when they are lost, a task is computed twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from seamless_dask_cache.dask_internals import (
    Key,
    close_gate,
    keep_gate,
    let_go,
    node_of,
    pass_gate,
)
from seamless_dask_cache.database import LookupAnswer
from seamless_dask_cache.identity.graph import is_task
from seamless_dask_cache.identity.recipe import Identity
from seamless_dask_cache.observation import apart

from .admission import wish_of
from .answers import Answers, judge_files
from .awaiting import AwaitTask
from .holding import Leases
from .lineage import Lineage
from .recording import prefix_of
from .rewrite import with_alias_targets
from .submission import Submission
from .upstream import Submit, submit_upstream
from .worker import NAME

if TYPE_CHECKING:
    from .engine import Engine

SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 2.0
"""Seconds between two questions whether what is awaited is there."""
CLOSING_SECONDS = 2.0


class Flight:
    """The leases of one scheduler, and what it awaits from others.

    Parameters
    ----------
    engine : Engine
        Judge of the scheduler's graphs.

    Attributes
    ----------
    leases : Leases
        What is computed here.
    gate : str
        Key of the task that everything awaited stands behind.

    Notes
    -----
    Used from the scheduler's event loop only. Does nothing until it is started, nor when nothing
    is stored: a lease promises a result.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        self._news = asyncio.Event()
        self.leases = Leases(engine, self._news)
        self.gate = f"waiting-for-another-cluster-{self.leases.holder[:12]}"
        self._submit: Submit | None = None
        self._taking_part = False
        self._turn = asyncio.Lock()
        self._awaited: dict[Key, float] = {}
        self._running: asyncio.Task[None] | None = None
        self._numbers = itertools.count()
        self._pause = SHORTEST_PAUSE
        self._answered = 0.0

    # Starting and stopping ------------------------------------------------------------------------

    def start(self, submit: Submit, turn: asyncio.Lock) -> None:
        """Take part from now on.

        Parameters
        ----------
        submit : coroutine function
            Schedules a graph like one of a client.
        turn : asyncio.Lock
            Held while a graph is decided and handed over.
        """
        self._submit, self._turn = submit, turn
        self._taking_part = self._engine.policy.lease_seconds > 0 and self._engine.link.writable

    async def close(self) -> None:
        """Give all leases back; the scheduler ends, and with it what is awaited."""
        await self._stop()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.leases.release_all(), CLOSING_SECONDS)

    async def retire(self) -> None:
        """Wait for nobody any more, and give all leases back."""
        await self._stop()
        await self._give_up()
        await self.close()

    async def _stop(self) -> None:
        self._taking_part = False
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    def restart(self) -> None:
        """Drop everything: the scheduler has."""
        self._awaited.clear()
        self.leases.clear()

    # Graphs ---------------------------------------------------------------------------------------

    async def acquire(
        self, messages: list[dict[str, Any]], submissions: list[Submission | None]
    ) -> None:
        """Take leases for what graphs will store, and note what others are computing.

        Parameters
        ----------
        messages : list of dict
            The arguments of ``Scheduler.update_graph``.
        submissions : list
            What is known of each; None where nothing is.
        """
        if self._taking_part:
            try:
                await self._acquire_for(messages, submissions)
            except Exception as error:
                self._engine.survived("single flight", error)

    async def _acquire_for(
        self, messages: list[dict[str, Any]], submissions: list[Submission | None]
    ) -> None:
        wanted: dict[str, set[Key]] = {}
        waiting: list[Submission] = []
        for message, submission in zip(messages, submissions, strict=True):
            if submission is not None and not _is_own(message):
                for key, transformation in self._certain(submission):
                    wanted.setdefault(transformation, set()).add(key)
                if message.get("submitting_task") is None:
                    waiting.append(submission)
        if wanted:
            held = await self.leases.acquire(wanted)
            self._run()
            for submission in waiting:
                submission.awaited = held

    def _certain(self, submission: Submission) -> Iterator[tuple[Key, str]]:
        """Give the tasks that will run and be stored, with their transformations."""
        known, scheduler = submission.identities.known, self._engine.scheduler
        for key in with_alias_targets(submission.graph, submission.keys):
            identity, node = known.get(key), submission.graph.get(key)
            if identity is None or identity.recipe is None or not is_task(node):
                continue
            if key not in submission.trusted and self._is_never_stored(key):
                continue
            if identity.checksum not in submission.answers and node_of(scheduler, key) is None:
                yield key, identity.checksum

    def _is_never_stored(self, key: Key) -> bool:
        policy = self._engine.policy
        return bool(policy.never_store) and wish_of(policy, prefix_of(key)) is False

    async def held_elsewhere(self, transformations: Collection[str]) -> set[str]:
        """Tell which of some transformations other clusters compute at this moment."""
        if not (self._taking_part and transformations):
            return set()
        found = await self._engine.link.leases(list(transformations))
        return set() if found is None else {t for t in found.held if t not in self.leases}

    def awaiting(self, key: Key, identity: Identity) -> AwaitTask:
        """Return the node that waits for another cluster."""
        return AwaitTask(key, identity.checksum, self.gate, self._engine.store)

    def learn(self, keys: Collection[Key]) -> None:
        """Take note of what is awaited among keys that the scheduler has just learned."""
        scheduler = self._engine.scheduler
        if self.gate not in keys:
            return
        close_gate(scheduler, self.gate)
        now = time.monotonic()
        for key in keys:
            if type(node_of(scheduler, key)) is AwaitTask:
                self._awaited.setdefault(key, now)
        self._pause = SHORTEST_PAUSE
        self._run()
        self._news.set()

    # Living --------------------------------------------------------------------------------

    def _run(self) -> None:
        if self._running is None and self._taking_part:
            self._answered = time.monotonic()
            self.leases.begin()
            self._running = asyncio.create_task(self._live())

    async def _live(self) -> None:
        while self.leases or self._awaited:
            try:
                pause = self._next()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._news.wait(), pause)
                self._news.clear()
            except Exception as error:
                self._engine.survived("single flight", error)
            await asyncio.sleep(SHORTEST_PAUSE)  # what else ends now is given back together with it
            try:
                await self.leases.beat(awaiting=bool(self._awaited))
                await self._look()
            except Exception as error:
                self._engine.survived("single flight", error)
                await self._give_up()
        self._running = None

    async def _give_up(self) -> None:
        """Compute everything here: what failed once may fail each time, and nobody may hang."""
        try:
            await self._put_back(self._still_awaited())
        except Exception as error:
            self._engine.survived("computing what was awaited", error)

    def _next(self) -> float:
        """Return the seconds until there is something to do."""
        pauses = [self.leases.next_beat - time.monotonic()]
        if self._awaited:
            timeout = keep_gate(self._engine.scheduler, self.gate)
            pauses += [self._pause, LONGEST_PAUSE if timeout is None else timeout / 4]
        return max(0.0, min(pauses) - SHORTEST_PAUSE)

    # What is awaited ------------------------------------------------------------------------------

    def _still_awaited(self) -> dict[Key, str]:
        """Return what is awaited, with its transformation, and drop what is not any more."""
        scheduler, awaited = self._engine.scheduler, {}
        for key in list(self._awaited):
            node = node_of(scheduler, key)
            if type(node) is AwaitTask:
                awaited[key] = node.transformation
            else:
                del self._awaited[key]
        return awaited

    async def _look(self) -> None:
        """Ask for what is awaited: let it go on where it is there, or where nobody computes it."""
        awaited = self._still_awaited()
        if not awaited:
            return
        self._pause = min(LONGEST_PAUSE, self._pause * 1.2)
        found = await self._engine.link.leases(list(set(awaited.values())))
        now = time.monotonic()
        if found is None:
            if now > self._answered + self._engine.policy.patience:
                await self._put_back(awaited)
            return
        self._answered = now
        await self._serve({k: t for k, t in awaited.items() if t in found.known})
        free = {k: t for k, t in awaited.items() if t not in found.known and t not in found.held}
        await self._take_over(free)
        await self._put_back({k: awaited[k] for k in self._overdue(now) if k in awaited})

    def _overdue(self, now: float) -> list[Key]:
        patience = self._engine.policy.lease_patience
        if patience is None:
            return []
        return [key for key, since in self._awaited.items() if now > since + patience]

    async def _serve(self, keys: Mapping[Key, str]) -> None:
        """Restore what another cluster has stored; compute what cannot be served all the same."""
        if not keys:
            return
        answers = await self._usable(await self._engine.link.lookup(list(set(keys.values()))))
        async with self._turn:
            served = {k for k, t in keys.items() if t in answers and self._restore(k, answers[t])}
        await self._put_back({k: t for k, t in keys.items() if k not in served})

    async def _usable(self, answers: Answers) -> Answers:
        looking = asyncio.to_thread(apart, self._servable, answers)
        try:
            return await asyncio.wait_for(looking, self._engine.policy.patience)
        except asyncio.TimeoutError:
            return {}

    def _servable(self, answers: Answers) -> Answers:
        changed, _ = judge_files(answers, {})
        for transformation in changed:
            del answers[transformation]
        return self._engine._servable(answers)

    def _restore(self, key: Key, answer: LookupAnswer) -> bool:
        engine = self._engine
        identity = engine.keys.get(key)
        if not isinstance(identity, Identity) or _is_too_old(identity, answer):
            return False
        if not self._pass(key, engine.restoring(key, identity, answer)):
            return False
        engine.reads.note(key, answer.files or {}, ())
        engine.sparing.contents.note(key, answer.result)
        engine.stats.hits += 1
        engine.stats.seconds_saved += answer.seconds or 0.0
        return True

    async def _take_over(self, keys: Mapping[Key, str]) -> None:
        """Compute what nobody computes any more, unless yet another cluster was faster."""
        if not keys:
            return
        wanted: dict[str, set[Key]] = {}
        for key, transformation in keys.items():
            wanted.setdefault(transformation, set()).add(key)
        held = await self.leases.acquire(wanted)
        await self._put_back({k: t for k, t in keys.items() if t not in held})

    async def _put_back(self, keys: Mapping[Key, str]) -> None:
        """Let tasks be computed here, with what is upstream of them."""
        groups: dict[int, tuple[Lineage, list[Key]]] = {}
        for key in keys:
            lineage = self._engine.lineages.get(key)
            if lineage is not None:
                groups.setdefault(id(lineage), (lineage, []))[1].append(key)
        for lineage, some in groups.values():
            await self._put_back_some(lineage, some)

    async def _put_back_some(self, lineage: Lineage, keys: list[Key]) -> None:
        engine, holder = self._engine, f"{NAME}-flight-{next(self._numbers)}"
        nodes = {key: engine.original(key) for key in keys}
        if self._submit is not None:
            nodes = await submit_upstream(engine, self._submit, lineage, nodes, holder)
        async with self._turn:
            count = sum(self._pass(key, node) for key, node in nodes.items())
        let_go(engine.scheduler, holder)
        engine.stats.misses += count
        engine.stats.taken_over += count

    def _pass(self, key: Key, node: Any) -> bool:
        stimulus = f"{NAME}-flight-{time.time()}"
        if type(node_of(self._engine.scheduler, key)) is not AwaitTask:
            return False
        passed = pass_gate(self._engine.scheduler, self.gate, key, node, stimulus)
        if passed:
            self._awaited.pop(key, None)
        return passed


def _is_own(message: Mapping[str, Any]) -> bool:
    """Tell whether the plugin itself submits this graph."""
    return str(message.get("client")).startswith(f"{NAME}-")


def _is_too_old(identity: Identity, answer: LookupAnswer) -> bool:
    return identity.expires is not None and (answer.created or 0.0) + identity.expires < time.time()
