"""The engine: what happens to a submitted graph between its arrival and its scheduling."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
import uuid
from collections.abc import Collection, Iterable
from functools import partial
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
from seamless_dask_cache.identity.effects import NETWORK
from seamless_dask_cache.identity.graph import Refusal, is_task
from seamless_dask_cache.identity.recipe import Identity
from seamless_dask_cache.storage import BufferStore

from .answers import Answers, expired, judge_files, servable
from .documents import describing
from .identifying import IdentifyingThreads
from .keys import KeyMemory, refuse_downstream
from .lineage import Lineage
from .link import DatabaseLink
from .policy import Policy
from .reads import ReadMemory, Reads, fits
from .restore import RestoreTask
from .rewrite import HeldTask, Plan, rewrite
from .stats import Stats
from .submission import Submission, judge_annotations
from .worker import CONTENT, StoringTask

logger = logging.getLogger(__name__)

MAX_NOTES = 100_000


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
        self.reads = ReadMemory()
        self.lineages: dict[Key, Lineage] = {}
        self.broken: set[str] = set()
        self.effects: dict[str, str] = {}
        self.remarks: dict[str, str] = {}
        self.threads = IdentifyingThreads(policy.patience)
        self.described: set[str] = set()
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
        effects = dict(self.effects)
        work = partial(submission.identify, self.policy, never=never, effects=effects)
        await self.threads.run(work)
        answers = await self.link.lookup(submission.transformations())
        for transformation in expired(submission, answers, time.time()):
            self._drop(answers, transformation)
        submission.answers = await self._countable_in_time(submission, answers)
        return submission

    async def _countable_in_time(self, submission: Submission, answers: Answers) -> Answers:
        # A file system that hangs must not hold the thread that all graphs share.
        held = self.reads.among([*submission.graph, *submission.externals])
        try:
            looking = asyncio.to_thread(self._countable, submission, answers, held)
            found = await asyncio.wait_for(looking, self.policy.patience)
        except asyncio.TimeoutError:
            logger.warning("The file system does not answer. Computing without the cache.")
            submission.outdated.update(dict.fromkeys(held, "a file system that does not answer"))
            return {}
        for transformation in submission.changed:
            self._drop(found, transformation)
        return found

    def _countable(
        self, submission: Submission, answers: Answers, held: dict[Key, Reads]
    ) -> Answers:
        judge_files(submission, answers, held)
        return self._servable(answers)

    def _servable(self, answers: Answers) -> Answers:
        return servable(answers, self.store, self.broken)

    def _drop(self, answers: Answers, transformation: str) -> None:
        answers.pop(transformation, None)
        self.link.forget(transformation)

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

    # Deciding: in one tick with the scheduler ---------------------------------------------------

    def decide(self, submission: Submission) -> Plan:
        """Rewrite a prepared graph against what the scheduler holds at this moment."""
        graph, tasks = submission.graph, self.scheduler.tasks
        held = [key for key in graph if key in tasks and tasks[key].run_spec is not None]
        externals = submission.externals
        found = self.keys.contradictions(submission.identities, held, externals)
        for key in submission.outdated.keys() & {*held, *externals}:
            reason = f"its result is held by the scheduler, and {submission.outdated[key]} changed"
            found[key] = Refusal(reason, key)
        if found:
            refuse_downstream(graph, submission.identities, found, submission.order)
        name = f"{self._session}-{next(self._graphs)}"

        def storing(key: Key, node: Any, identity: Identity, requested: bool) -> StoringTask:
            options = (identity.code, name, requested, identity.trusted, identity.covers)
            return StoringTask(node, *options)

        def restoring(key: Key, identity: Identity, answer: LookupAnswer) -> RestoreTask:
            return RestoreTask(
                key,
                identity.checksum,
                answer.result,
                answer.content,
                self.store,
                self.policy.allow_pickle,
            )

        plan = rewrite(
            graph,
            submission.keys,
            submission.identities,
            submission.answers,
            held=self._held,
            storing=storing,
            restoring=restoring,
        )
        submission.restored = plan.restored
        self._describe(submission, plan)
        return plan

    def _describe(self, submission: Submission, plan: Plan) -> None:
        identifier, submission.identifier = submission.identifier, None
        if plan.computed and identifier is not None and not self.policy.read_only:
            self.link.describe(describing(submission, identifier, plan.computed, self.described))

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
            if key in submission.restored:
                self.reads.note(key, submission.restored[key].files or {}, ())

    def _lineage_of(self, submission: Submission) -> Lineage:
        externals = {k: self.lineages[k] for k in submission.externals if k in self.lineages}
        return Lineage(submission.graph, submission.annotations, submission.everywhere, externals)

    def record(self, key: Key, facts: dict[str, Any]) -> None:
        """Queue the record of a result that a worker stored."""
        identity = self.keys.get(key)
        if isinstance(identity, Refusal):
            return
        self.broken.discard(facts["result"])
        self.remarks.pop(identity.checksum, None)
        content = facts.get("content")
        if "environment" in facts:
            self._note_environment(facts["record"]["environment"], facts["environment"])
        files = self.reads.of(key)
        if files is None or not fits(files):
            why = "one in two states" if files is None else "too many to keep count of"
            _keep(self.remarks, identity.checksum, f"of the files that it was made of, {why}")
            return
        item = {
            "transformation": identity.checksum,
            "result": facts["result"],
            "record": {
                **facts["record"],
                "tf_checksum": identity.checksum,
                "result_checksum": facts["result"],
                **({"files_read": files} if files else {}),
            },
            "files": files,
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

    def _note_environment(self, checksum: str, distributions: dict[str, str]) -> None:
        note = {"kind": "environment", "distributions": distributions}
        if checksum not in self.described:
            self.described.add(checksum)
            self.link.describe(lambda: ([], {checksum: note}))

    def judge_run(
        self, key: Key, node: Any, facts: dict[str, Any], inputs: Collection[Key]
    ) -> str | None:
        """Take in what a task was seen to do; return why its result has no identity, if so.

        Parameters
        ----------
        key : key
            Of the task, which has just ended.
        node : GraphNode
            What the scheduler let run for it.
        facts : dict
            What the worker tells of it.
        inputs : collection of keys
            What it depends on.
        """
        identity = self.keys.get(key)
        if isinstance(identity, Refusal):
            return None
        self.reads.note(key, facts.get("reads", {}), inputs)
        if is_task(node) and "observed" not in facts:
            return "it ran where it could not be observed"
        remote = [name for name in facts.get("remote", ()) if not _covers(identity, name)]
        if remote and NETWORK not in self.policy.allow_effects:
            used = f"{NETWORK}: it used a remote file system ({', '.join(remote)})"
            facts = {"effect": used, "lasting": True, "of_code": True, **facts}
        if "remark" in facts:
            _keep(self.remarks, identity.checksum, facts["remark"])
        if "effect" in facts:
            self._note_effect(identity, facts)
        return facts.get("effect")

    def _note_effect(self, identity: Identity, facts: dict[str, Any]) -> None:
        """Remember, for later graphs, that a transformation or its code showed an effect."""
        if facts.get("lasting"):
            own = facts.get("of_code") and "." not in identity.function
            _keep(self.effects, identity.code if own else identity.checksum, facts["effect"])

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
        return StoringTask(node, identity.code, name, True, identity.trusted, identity.covers)

    def inherit(self, predecessor: Engine) -> None:
        """Take over what another engine knows of the scheduler's keys."""
        self.keys, self.lineages = predecessor.keys, predecessor.lineages
        self.effects, self.reads = predecessor.effects, predecessor.reads

    def restart(self) -> None:
        """Drop everything about all keys."""
        self.keys = KeyMemory()
        self.lineages.clear()
        self.reads.clear()

    def forget(self, key: Key) -> None:
        """Drop everything about a key that the scheduler forgot."""
        self.keys.forget(key)
        self.reads.forget(key)
        self.lineages.pop(key, None)


def _keep(notes: dict[str, str], checksum: str, text: str) -> None:
    while len(notes) >= MAX_NOTES:
        del notes[next(iter(notes))]
    notes[checksum] = text


def _covers(identity: Identity, protocol: str) -> bool:
    return any(path.startswith(f"{protocol}://") for path, _ in identity.covers)


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
