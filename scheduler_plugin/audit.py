"""The audit: compute what is on record once more, and quarantine what comes out differently.

Nothing of the program is touched: an audited task and everything it needs run under keys of their
own, of lowest priority, and only its verdict is kept. No result of an audit is stored.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import random
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from seamless_dask_cache.dask_internals import Graph, Key, at_work, let_go
from seamless_dask_cache.database import AsyncDatabaseClient, LookupAnswer
from seamless_dask_cache.identity.graph import is_task
from seamless_dask_cache.identity.recipe import Identity

from .audit_graphs import (
    PLACES,
    message_for,
    message_of,
    name_of,
    places_everywhere,
    with_upstream,
)
from .audit_task import AuditTask, OnRecord
from .audit_watch import Watch
from .lineage import Lineage
from .preparing import Preparation
from .quarantine import quarantine
from .rewrite import HeldTask, rewrite
from .storing import StoringTask
from .submission import Submission
from .worker import NAME

if TYPE_CHECKING:
    from .plugin import CachePlugin

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 32
LOOKED_UP_AT_ONCE = 10_000

TOO_LATE = "it was not finished in time"
STABLE = "the same code and inputs now give another result than the one on record"
UNSTABLE = "the same code and inputs give another result each time"


class Candidate(NamedTuple):
    """A transformation that can be computed once more.

    Attributes
    ----------
    key : key
    transformation : str
        Checksum.
    function : str
    lineage : Lineage
        How it is made.
    """

    key: Key
    transformation: str
    function: str
    lineage: Lineage


class UncheckableError(Exception):
    """A transformation cannot be audited, for the reason in the message."""


async def audit(
    plugin: CachePlugin,
    message: dict[str, Any],
    fraction: float,
    seed: int | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """Compute a random part of what is on record once more, and compare.

    Parameters
    ----------
    plugin : CachePlugin
    message : dict
        ``expr_ser`` and ``keys`` as in ``update-graph``, and ``futures``, a list of keys; without
        any of them, everything that the scheduler holds is meant.
    fraction : float
        Of the transformations that have a result on record; at least one is drawn.
    seed : int, optional
        Of the draw.
    timeout : float, optional
        Seconds.

    Returns
    -------
    dict
        The fields of `seamless_dask_cache.auditing.Audit`.

    Raises
    ------
    DatabaseError
        When the database cannot tell what is on record.
    ValueError
        When a graph cannot be judged.
    """
    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + timeout
    run = Auditing(plugin)
    with at_work(plugin._scheduler):
        pool = await asyncio.wait_for(run.pool(message), timeout)
        sample = drawn(pool, fraction, seed)
        rows = await run.all(sample, None if deadline is None else deadline - loop.time())
    return {"eligible": len(pool), **rows}


def drawn(pool: Iterable[Candidate], fraction: float, seed: int | None) -> list[Candidate]:
    """Draw a part of some candidates, at least one; the same ones for the same seed."""
    ordered = sorted(pool, key=lambda candidate: candidate.transformation)
    number = max(1, math.ceil(fraction * len(ordered))) if ordered else 0
    return random.Random(seed).sample(ordered, number)


class Auditing:
    """One audit.

    Parameters
    ----------
    plugin : CachePlugin
        Whose records are audited.
    """

    def __init__(self, plugin: CachePlugin):
        self._plugin = plugin
        self._engine = plugin.running()
        self._scheduler: Any = plugin._scheduler
        self._name = f"{NAME}-audit-{uuid.uuid4().hex[:12]}"
        self._runs = itertools.count()
        self._watch = Watch()

    # What there is to audit ---------------------------------------------------------------------

    async def pool(self, message: dict[str, Any]) -> list[Candidate]:
        """Return what is on record, among what was asked for; every transformation once."""
        if "expr_ser" in message or message.get("futures"):
            found = await self._asked_for(message)
        else:
            found = self._held()
        by_transformation = {candidate.transformation: candidate for candidate in found}
        on_record = await self._on_record(list(by_transformation))
        return [by_transformation[transformation] for transformation in on_record]

    def _held(self) -> list[Candidate]:
        engine, found = self._engine, []
        for key, lineage in engine.lineages.items():
            identity = engine.keys.get(key)
            if isinstance(identity, Identity) and is_task(lineage.graph[key]):
                found.append(Candidate(key, identity.checksum, identity.function, lineage))
        return found

    async def _asked_for(self, message: dict[str, Any]) -> list[Candidate]:
        lineages = self._engine.lineages
        known = [key for key in message.get("futures") or () if key in lineages]
        messages = [message_for(lineages[key], key) for key in known]
        if "expr_ser" in message:
            messages.append(message)
        submissions = [await self._prepared(each) for each in messages]
        return [candidate for submission in submissions for candidate in self._tasks_of(submission)]

    def _tasks_of(self, submission: Submission) -> list[Candidate]:
        lineages, known = self._engine.lineages, submission.identities.known
        graph = submission.graph
        externals = {k: lineages[k] for k in submission.externals if k in lineages}
        lineage = Lineage(graph, submission.annotations, submission.everywhere, externals)
        return [
            Candidate(key, known[key].checksum, known[key].function, lineage)
            for key in submission.order
            if key in known and is_task(graph[key])
        ]

    async def _prepared(self, message: dict[str, Any]) -> Submission:
        # Not by the engine, which would promise other clusters that all of it will be computed.
        (submission,) = await Preparation(self._engine, [message]).run()
        if submission is None:
            raise ValueError("the cache cannot judge this graph")
        return submission

    async def _on_record(self, transformations: list[str]) -> list[str]:
        found: list[str] = []
        connection = self._engine.link.connection
        for start in range(0, len(transformations), LOOKED_UP_AT_ONCE):
            part = transformations[start : start + LOOKED_UP_AT_ONCE]
            found += await connection.ask_in_time(partial(_look_up, part))
        return found

    # Auditing -------------------------------------------------------------------------------------

    async def all(self, sample: list[Candidate], timeout: float | None) -> dict[str, Any]:
        """Audit some candidates, a few at a time, until the time is over."""
        slots = asyncio.Semaphore(max(1, min(MOST_AT_ONCE, self._scheduler.total_nthreads)))
        report = Report()
        work = [asyncio.create_task(self._audited(c, slots, report)) for c in sample]
        self._scheduler.add_plugin(self._watch, name=self._name)
        try:
            if work:
                await asyncio.wait(work, timeout=timeout)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            self._scheduler.remove_plugin(name=self._name)
        for candidate, task in zip(sample, work, strict=True):
            if task.cancelled() and not report.has(candidate):
                report.not_checkable.append(_row(candidate, reason=TOO_LATE))
        return vars(report)

    async def _audited(
        self, candidate: Candidate, slots: asyncio.Semaphore, report: Report
    ) -> None:
        async with slots:
            try:
                await self._judge(candidate, report)
            except UncheckableError as error:
                report.not_checkable.append(_row(candidate, reason=str(error)))
            except Exception as error:
                logger.info("auditing %r failed", candidate.key, exc_info=True)
                reason = f"auditing it raised {type(error).__name__}: {error}"
                report.not_checkable.append(_row(candidate, reason=reason))

    async def _judge(self, candidate: Candidate, report: Report) -> None:
        first, verdict = await self._run(candidate)
        if "error" in verdict:
            report.failed.append(_row(candidate, reason=verdict["error"]))
        elif verdict["same"]:
            report.same += 1
        else:
            again = await self._run_again(candidate)
            reason = STABLE if again == verdict["result"] else UNSTABLE
            found = _row(candidate, reason=reason, first=first, second=verdict["result"])
            # The end of the audit must not come between the database and what is known here.
            stored = asyncio.ensure_future(quarantine(self._plugin, found))
            report.different.append(found | {"quarantined": True})
            report.different[-1]["quarantined"] = await asyncio.shield(stored)

    async def _run_again(self, candidate: Candidate) -> str | None:
        """Tell a wrong record from an unsteady computation; None where that has no answer."""
        try:
            _, verdict = await self._run(candidate)
        except UncheckableError:
            return None
        result: str | None = verdict.get("result")
        return result

    async def _run(self, candidate: Candidate) -> tuple[str, dict[str, Any]]:
        """Compute a transformation once; return its result on record, and the verdict."""
        _, annotations = with_upstream(candidate.lineage, candidate.key)
        everywhere = candidate.lineage.everywhere
        submission = await self._prepared(message_for(candidate.lineage, candidate.key))
        on_record = await self._still_on_record(candidate, submission)
        holder = f"{self._name}-{next(self._runs)}"
        planned = self._planned(candidate.key, submission, on_record, holder)
        names = {key: name_of(key, f"{holder}-{i}") for i, key in enumerate(planned)}
        renamed = {names[k]: node.substitute(names, key=names[k]) for k, node in planned.items()}
        places = {
            name: {names[key]: value for key, value in by_key.items() if key in names}
            for name, by_key in annotations.items()
            if name in PLACES
        }
        mine = names[candidate.key]
        rewritten = message_of(renamed, places, places_everywhere(everywhere), {mine}, holder)
        verdict = await self._ended(mine, rewritten, holder)
        if "unclear" in verdict:
            raise UncheckableError(verdict["unclear"])
        return on_record.result, verdict

    async def _ended(self, key: Key, message: dict[str, Any], holder: str) -> dict[str, Any]:
        ended = self._watch.end_of(self._scheduler, key)
        try:
            await self._plugin.handed_over(message, None)
            verdict = await ended
            if key in self._plugin.tainted:
                raise UncheckableError(f"upstream of it: {self._reason(key)}")
            return verdict
        finally:
            self._watch.forget(key)
            let_go(self._scheduler, holder)

    def _reason(self, key: Key) -> str:
        entry = self._engine.keys.get(key)
        return getattr(entry, "reason", "an effect")

    async def _still_on_record(self, candidate: Candidate, submission: Submission) -> OnRecord:
        """Return what is on record for what the task is now.

        Raises
        ------
        UncheckableError
            When it is not what it was, or cannot be computed.
        """
        key, known = candidate.key, submission.identities.known
        if key not in known:
            raise UncheckableError(submission.identities.refused[key].reason)
        if known[key].checksum != candidate.transformation:
            raise UncheckableError("its code, or what it reads, changed in the meantime")
        if candidate.transformation in submission.changed:
            raise UncheckableError(f"{submission.changed[candidate.transformation]} changed")
        gone = [k for k in submission.externals if k not in self._scheduler.tasks]
        if gone:
            raise UncheckableError(f"its input {gone[0]!r} is gone")
        answer = submission.answers.get(candidate.transformation)
        if answer is not None:
            return OnRecord(answer.result, answer.content)
        name = candidate.transformation
        found = await self._engine.link.lookup([name])
        if name not in found:
            raise UncheckableError("it is not on record any more")
        return OnRecord(found[name].result, None)

    def _planned(self, key: Key, submission: Submission, on_record: OnRecord, name: str) -> Graph:
        """Return the graph that computes a task, with hits among what it needs restored."""
        node, identity = submission.graph[key], submission.identities.known[key]
        plan = rewrite(
            submission.graph,
            node.dependencies,
            submission.identities,
            submission.answers,
            held=_nothing_held,
            storing=lambda key, node, identity, requested: node,
            restoring=self._engine.restoring,
        )
        task = StoringTask(node, identity.code, name, True, identity.trusted, identity.covers)
        return {**plan.graph, key: AuditTask(task, on_record)}


@dataclass
class Report:
    """What an audit has found so far; the lists are of plain rows."""

    same: int
    different: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    not_checkable: list[dict[str, Any]]

    def __init__(self) -> None:
        self.same, self.different, self.failed, self.not_checkable = 0, [], [], []

    def has(self, candidate: Candidate) -> bool:
        """Tell whether a candidate is among the different ones."""
        return any(row["transformation"] == candidate.transformation for row in self.different)


async def _look_up(
    transformations: list[str], client: AsyncDatabaseClient
) -> dict[str, LookupAnswer]:
    return await client.lookup(transformations, inline=False)


def _row(candidate: Candidate, **more: Any) -> dict[str, Any]:
    key, transformation, function, _ = candidate
    return {"key": key, "function": function, "transformation": transformation, **more}


def _nothing_held(key: Key) -> HeldTask | None:
    return None
