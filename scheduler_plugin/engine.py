"""The engine: what happens to a submitted graph between its arrival and its scheduling."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import time
import uuid
from collections.abc import Iterable
from typing import Any

from seamless_dask_cache.dask_internals import (
    Key,
    ask_holder,
    hand_over,
    is_scattered,
    materialize,
    open_message,
    run_offloaded,
)
from seamless_dask_cache.database import LookupAnswer
from seamless_dask_cache.identity.graph import Refusal, is_task
from seamless_dask_cache.identity.recipe import Identity
from seamless_dask_cache.storage import BufferStore

from .keys import KeyMemory, refuse_downstream
from .lineage import Lineage
from .link import DatabaseLink
from .policy import Policy
from .restore import RestoreTask
from .rewrite import HeldTask, Plan, rewrite
from .stats import Stats
from .submission import Submission, judge_annotations
from .worker import CONTENT, StoringTask

logger = logging.getLogger(__name__)

MAX_EFFECTS = 100_000


class Engine:
    """Judges graphs for one scheduler.

    Parameters
    ----------
    scheduler : distributed.Scheduler
        The scheduler; only read here.
    link : DatabaseLink
        The database.
    store : BufferStore
        Where buffers live.
    policy : Policy
        The settings.

    Notes
    -----
    Used from the scheduler's event loop; hashing runs in the scheduler's offload thread on data
    that nothing else touches.
    """

    def __init__(self, scheduler: Any, link: DatabaseLink, store: BufferStore, policy: Policy):
        self.scheduler = scheduler
        self.link = link
        self.store = store
        self.policy = policy
        self.stats = Stats()
        self.keys = KeyMemory()
        self.lineages: dict[Key, Lineage] = {}
        self.broken: set[str] = set()
        self.effects: dict[str, str] = {}
        self._session = uuid.uuid4().hex[:12]
        self._graphs = itertools.count()

    # Preparing: everything that may take time ---------------------------------------------------

    async def prepare(self, message: dict[str, Any]) -> Submission:
        """Materialize, identify and look up one submitted graph.

        Parameters
        ----------
        message : dict
            The arguments of ``Scheduler.update_graph``.
        """
        expression = open_message(message["expr_ser"])
        keys = set(message["keys"])
        graph, annotations = await run_offloaded(materialize, expression, keys)
        submission = Submission(graph, annotations, keys, message.get("annotations") or {})
        submission.trusted, never = judge_annotations(
            graph, annotations, submission.everywhere, message.get("actors")
        )
        externals = submission.external_keys()
        await self._learn_scattered(externals)
        submission.externals = self.keys.snapshot(externals)
        await run_offloaded(submission.identify, self.policy, never=never, effects=self.effects)
        answers = await self.link.lookup(submission.transformations())
        self._drop_expired(submission, answers)
        submission.answers = await self._servable_in_time(answers)
        return submission

    async def _servable_in_time(self, answers: dict[str, LookupAnswer]) -> dict[str, LookupAnswer]:
        # A file system that hangs must not hold the thread that all graphs share.
        try:
            looking = asyncio.to_thread(self._servable, answers)
            return await asyncio.wait_for(looking, self.policy.patience)
        except asyncio.TimeoutError:
            logger.warning("The buffer store does not answer. Computing without the cache.")
            return {}

    async def _learn_scattered(self, keys: set[Key]) -> None:
        """Identify scattered data by its content; workers that hold it hash it, all at once.

        What could not be identified in time is refused from then on, rather than asked for again.
        """
        unknown = [k for k in keys if not self.keys.knows(k) and is_scattered(self.scheduler, k)]
        if not unknown:
            return
        patience = self.policy.patience
        asking = (ask_holder(self.scheduler, CONTENT, key, patience) for key in unknown)
        for key, found in zip(unknown, await asyncio.gather(*asking), strict=True):
            if found is None:
                self.keys.learn(key, Refusal("the content of scattered data is not certain", key))
            else:
                self.keys.learn(key, Identity(found, None, "", ""))

    def _drop_expired(self, submission: Submission, answers: dict[str, LookupAnswer]) -> None:
        """Drop the answers of results that are too old, and of what was made from them."""
        known = submission.identities.known
        if all(identity.expires is None for identity in known.values()):
            return
        now = time.time()
        stale: set[Key] = set()
        for key in submission.order:
            identity = known.get(key)
            if identity is None or identity.expires is None:
                continue
            answer = answers.get(identity.checksum)
            too_old = answer is not None and (answer.created or 0.0) + identity.expires < now
            if too_old or not stale.isdisjoint(submission.graph[key].dependencies):
                stale.add(key)
                if answer is not None:
                    del answers[identity.checksum]
                    self.link.forget(identity.checksum)

    def _servable(self, answers: dict[str, LookupAnswer]) -> dict[str, LookupAnswer]:
        absent = [
            a.result for a in answers.values() if a.content is None and a.result not in self.broken
        ]
        present = self.store.has_many(absent)
        return {
            transformation: answer
            for transformation, answer in answers.items()
            if _intact(answer) or (answer.content is None and answer.result in present)
        }

    # Deciding: in one tick with the scheduler ---------------------------------------------------

    def decide(self, submission: Submission) -> Plan:
        """Rewrite a prepared graph against what the scheduler holds at this moment."""
        graph, tasks = submission.graph, self.scheduler.tasks
        held = [key for key in graph if key in tasks and tasks[key].run_spec is not None]
        found = self.keys.contradictions(submission.identities, held, submission.externals)
        if found:
            refuse_downstream(graph, submission.identities, found, submission.order)
        name = f"{self._session}-{next(self._graphs)}"

        def storing(key: Key, node: Any, identity: Identity, requested: bool) -> StoringTask:
            return StoringTask(node, identity.code, name, requested, identity.trusted)

        def restoring(key: Key, identity: Identity, answer: LookupAnswer) -> RestoreTask:
            return RestoreTask(
                key,
                identity.checksum,
                answer.result,
                answer.content,
                self.store,
                self.policy.allow_pickle,
            )

        return rewrite(
            graph,
            submission.keys,
            submission.identities,
            submission.answers,
            held=self._held,
            storing=storing,
            restoring=restoring,
        )

    def _held(self, key: Key) -> HeldTask | None:
        task = self.scheduler.tasks.get(key)
        if task is None or task.run_spec is None:
            return None
        return HeldTask(task.run_spec, frozenset(d.key for d in task.dependencies))

    def rewritten(self, message: dict[str, Any], submission: Submission, plan: Plan) -> Any:
        """Return the message with the rewritten graph in place of the submitted one."""
        return {**message, "expr_ser": hand_over(plan.graph, submission.annotations)}

    def count(self, submission: Submission, plan: Plan) -> None:
        """Add one decided graph to the counters."""
        stats, identities = self.stats, submission.identities
        stats.graphs += 1
        stats.tasks += submission.count_tasks()
        stats.pruned += plan.pruned
        stats.hits += plan.pruned + sum(is_task(submission.graph[key]) for key in plan.restored)
        for key in plan.computed:
            if key in identities.known:
                stats.misses += 1
            else:
                stats.refused += 1
        if plan.restored:
            stats.seconds_saved += _seconds_saved(submission, plan)

    # Afterwards -------------------------------------------------------------------------------

    def learn(self, submission: Submission, keys: Iterable[Key]) -> None:
        """Remember what the keys of a scheduled graph are."""
        known, refused = submission.identities.known, submission.identities.refused
        lineage = self._lineage_of(submission)
        for key in keys:
            entry = known.get(key) or refused.get(key)
            if entry is not None:
                self.keys.learn(key, entry)
                self.lineages.setdefault(key, lineage)

    def _lineage_of(self, submission: Submission) -> Lineage:
        externals = {k: self.lineages[k] for k in submission.externals if k in self.lineages}
        return Lineage(submission.graph, submission.annotations, submission.everywhere, externals)

    def record(self, key: Key, facts: dict[str, Any]) -> None:
        """Queue the record of a result that a worker stored."""
        identity = self.keys.get(key)
        if isinstance(identity, Refusal):
            return
        self.broken.discard(facts["result"])
        content = facts.get("content")
        item = {
            "transformation": identity.checksum,
            "result": facts["result"],
            "record": {
                **facts["record"],
                "tf_checksum": identity.checksum,
                "result_checksum": facts["result"],
            },
            "recipe": identity.recipe.decode() if identity.recipe else None,
            "content": content,
            "entry": {
                "function": identity.function,
                "key_prefix": _prefix(key),
                "seconds": facts["seconds"],
                "nbytes": facts["nbytes"],
                "created": time.time(),
                "format": facts["format"],
            },
        }
        self.link.store(item)
        self.keys.drop_recipe(key)

    def note_effect(self, key: Key, facts: dict[str, Any]) -> None:
        """Remember that a transformation showed an effect while it ran, for later graphs."""
        identity = self.keys.get(key)
        if facts.get("lasting") and isinstance(identity, Identity):
            while len(self.effects) >= MAX_EFFECTS:
                del self.effects[next(iter(self.effects))]
            self.effects[identity.checksum] = facts["effect"]

    def acknowledge(self, items: list[dict[str, Any]]) -> None:
        """Count records that the database acknowledged."""
        self.stats.stored += len(items)
        self.stats.bytes_stored += sum(item["entry"]["nbytes"] for item in items)

    def distrust(self, transformation: str, result: str, *, gone: bool) -> None:
        """Serve a result no more that could not be restored; drop its record if it is gone."""
        self.broken.add(result)
        if gone:
            self.link.forget(transformation)

    def original(self, key: Key) -> Any:
        """Return the node that computes a restored key, or None when that is not known."""
        lineage = self.lineages.get(key)
        node = None if lineage is None else lineage.graph.get(key)
        identity = self.keys.get(key)
        if node is None or isinstance(identity, Refusal):
            return node
        name = f"{self._session}-{next(self._graphs)}"
        return StoringTask(node, identity.code, name, True, identity.trusted)

    def inherit(self, predecessor: Engine) -> None:
        """Take over what another engine knows of the scheduler's keys."""
        self.keys, self.lineages = predecessor.keys, predecessor.lineages
        self.effects = predecessor.effects

    def restart(self) -> None:
        """Drop everything about all keys."""
        self.keys = KeyMemory()
        self.lineages.clear()

    def forget(self, key: Key) -> None:
        """Drop everything about a key that the scheduler forgot."""
        self.keys.forget(key)
        self.lineages.pop(key, None)


def _intact(answer: LookupAnswer) -> bool:
    return (
        answer.content is not None and hashlib.sha256(answer.content).hexdigest() == answer.result
    )


def _seconds_saved(submission: Submission, plan: Plan) -> float:
    known, answers = submission.identities.known, submission.answers
    total = 0.0
    for key in submission.graph:
        if key in plan.computed or key not in known:
            continue
        answer = answers.get(known[key].checksum)
        if answer is not None and answer.seconds:
            total += answer.seconds
    return total


def _prefix(key: Key) -> str:
    from dask.utils import key_split

    return str(key_split(key))
