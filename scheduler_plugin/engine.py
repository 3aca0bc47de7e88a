"""The engine: what happens to a submitted graph between its arrival and its scheduling."""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Collection
from typing import Any

from seamless_dask_cache.dask_internals import (
    Key,
    hand_over,
    let_go,
    rely_on,
    tell_types,
)
from seamless_dask_cache.database import LookupAnswer
from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.describer import Describer
from seamless_dask_cache.identity.effects import NETWORK
from seamless_dask_cache.identity.graph import Refusal, is_task
from seamless_dask_cache.identity.recipe import Identity
from seamless_dask_cache.storage import BufferStore

from .admission import Admission
from .answers import Answers, servable
from .awaiting import add_gate
from .documents import describing
from .flight import Flight
from .identifying import IdentifyingThreads
from .keys import KeyMemory, refuse_downstream
from .lineage import Lineage
from .link import DatabaseLink
from .policy import Policy
from .preparing import Preparation
from .reads import ReadMemory, fits
from .recording import Recording, keep_note, prefix_of
from .restore import RestoreTask
from .rewrite import HeldTask, Plan, is_only_data, rewrite
from .sparing import Sparing
from .stats import Stats
from .storing import StoringTask
from .submission import Submission
from .worker import NAME

logger = logging.getLogger(__name__)


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
        self.silent: dict[str, float] = {}
        self.sparing = Sparing(self)
        self.recording = Recording(self)
        self.flight = Flight(self)
        self._warned = False
        self._session = uuid.uuid4().hex[:12]
        self._graphs = itertools.count()
        self._relying = ""

    # Preparing: everything that may take time ---------------------------------------------------

    async def prepare_all(self, messages: list[dict[str, Any]]) -> list[Submission | None]:
        """Materialize, identify and look up graphs that arrived together.

        Parameters
        ----------
        messages : list of dict
            The arguments of ``Scheduler.update_graph``, of one client, in their order.

        Returns
        -------
        list
            One submission for each; None for one that cannot be judged.
        """
        return await Preparation(self, messages).run()

    async def prepare(self, message: dict[str, Any]) -> Submission:
        """Prepare a single graph.

        Raises
        ------
        ValueError
            When it cannot be judged.
        """
        (submission,) = await self.prepare_all([message])
        if submission is None:
            raise ValueError("the cache cannot judge this graph")
        return submission

    def occasion(self) -> str:
        """Return a new name for the occasion on which some code is looked at."""
        return f"{self._session}-{next(self._graphs)}"

    def _servable(self, answers: Answers) -> Answers:
        return servable(answers, self.store, self.broken)

    def survived(self, action: str, error: BaseException) -> None:
        """Count a fault of the cache that reaches nobody; the first one is warned of."""
        self.stats.errors += 1
        level = logging.DEBUG if self._warned else logging.WARNING
        self._warned = True
        logger.log(
            level, "%s failed; it runs without the cache (%s)", action, error, exc_info=error
        )

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
        self.sparing.settle(submission)
        used = {d for node in graph.values() for d in node.dependencies}

        def storing(key: Key, node: Any, identity: Identity, requested: bool) -> StoringTask:
            options = (identity.code, submission.occasion, requested, identity.trusted)
            return StoringTask(node, *options, identity.covers, key in used)

        plan = rewrite(
            graph,
            submission.keys,
            submission.identities,
            submission.answers,
            held=self._held,
            storing=storing,
            restoring=self.restoring,
            awaited=submission.awaited,
            awaiting=self.flight.awaiting,
        )
        add_gate(plan.graph, self.flight.gate)
        submission.restored = plan.restored
        self._set_terms(submission, plan)
        self._describe(submission, plan)
        self._rely_on(plan.relied_on, f"{NAME}-rely-{next(self._graphs)}")
        return plan

    def _rely_on(self, keys: Collection[Key], holder: str) -> None:
        # Other clients may release what a graph was decided by, before the scheduler has read it.
        self.rely_no_more()
        if keys:
            self._relying = holder
            rely_on(self.scheduler, keys, holder)

    def rely_no_more(self) -> None:
        """Let the scheduler forget what the last graph was decided by: it has arrived."""
        holder, self._relying = self._relying, ""
        if holder:
            let_go(self.scheduler, holder)

    def _set_terms(self, submission: Submission, plan: Plan) -> None:
        admission = Admission(self.policy, submission.costs)
        known = submission.identities.known
        if not admission.is_default or submission.trusted:
            order = [key for key in submission.order if key in plan.computed]
            terms = admission.terms(plan.graph, order, known, submission.trusted, prefix_of)
            for key, mine in terms.items():
                node = plan.graph[key]
                if isinstance(node, StoringTask):
                    node.terms = mine

    def restoring(self, key: Key, identity: Identity, answer: LookupAnswer) -> RestoreTask:
        """Return the node that brings a result back."""
        return RestoreTask(
            key,
            identity.checksum,
            answer.result,
            answer.content,
            self.store,
            self.policy.allow_pickle,
        )

    def _describe(self, submission: Submission, plan: Plan) -> None:
        identifier, submission.identifier = submission.identifier, None
        if plan.computed and identifier is not None and not self.policy.read_only:
            self.link.describe(describing(submission, identifier, plan.computed, self.described))

    def _held(self, key: Key) -> HeldTask | None:
        task = self.scheduler.tasks.get(key)
        if task is None or task.run_spec is None:
            return None
        dependencies = frozenset(d.key for d in task.dependencies)
        return HeldTask(task.run_spec, dependencies, task.state == "released")

    def rewritten(self, message: dict[str, Any], submission: Submission, plan: Plan) -> Any:
        """Return the message with the rewritten graph in place of the submitted one."""
        order = message.get("internal_priority")
        if order and self.flight.gate in plan.graph:
            # A client's own order, which older schedulers go by, must name every task.
            message = {**message, "internal_priority": {self.flight.gate: -1, **order}}
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
        stats.awaited += len(plan.awaited)
        if plan.restored:
            stats.seconds_saved += _seconds_saved(submission, plan)

    # Afterwards -------------------------------------------------------------------------------

    def learn(self, submission: Submission, keys: Collection[Key]) -> None:
        """Remember what the keys of a scheduled graph are."""
        known, refused = submission.identities.known, submission.identities.refused
        lineage = self._lineage_of(submission)
        for key in keys:
            entry = known.get(key) or refused.get(key)
            if entry is not None:
                self.keys.learn(key, entry)
                self.lineages.setdefault(key, lineage)
            if key in submission.restored:
                self._learn_restored(key, submission)
        self.sparing.learn(submission, keys)
        self.flight.learn(keys)
        tell_types(self.scheduler, submission.restored)
        self.rely_no_more()

    def _learn_restored(self, key: Key, submission: Submission) -> None:
        identity, answer = submission.identities.known[key], submission.restored[key]
        files = answer.files or {}
        self.reads.note(key, files, ())
        if identity.checksum in submission.by_content and fits(files):
            self.recording.known(key, identity, answer, files)

    def _lineage_of(self, submission: Submission) -> Lineage:
        externals = {k: self.lineages[k] for k in submission.externals if k in self.lineages}
        return Lineage(
            submission.graph,
            submission.annotations,
            submission.everywhere,
            externals,
            submission.identities.inner,
        )

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
        if is_task(node) and "observed" not in facts and not is_only_data(node, identity):
            return "it ran where it could not be observed"
        remote = [name for name in facts.get("remote", ()) if not _covers(identity, name)]
        if remote and NETWORK not in self.policy.allow_effects:
            used = f"{NETWORK}: it used a remote file system ({', '.join(remote)})"
            facts = {"effect": used, "lasting": True, "of_code": True, **facts}
        if "remark" in facts:
            keep_note(self.remarks, identity.checksum, facts["remark"])
        if "effect" in facts:
            self._note_effect(identity, facts)
        return facts.get("effect")

    def _note_effect(self, identity: Identity, facts: dict[str, Any]) -> None:
        """Remember, for later graphs, that a transformation or its code showed an effect."""
        if facts.get("lasting"):
            own = facts.get("of_code") and "." not in identity.function
            keep_note(self.effects, identity.code if own else identity.checksum, facts["effect"])

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
        options = (identity.code, self.occasion(), True, identity.trusted, identity.covers)
        return StoringTask(node, *options)

    def is_made_of(self, key: Key, node: Any) -> bool:
        """Tell whether what the scheduler holds under a node's inputs is what its key stands for.

        A client may have submitted other work under the keys of what was pruned. May take a while.
        """
        identity = self.keys.get(key)
        describer = Describer(Identifier(versions=self.policy.versions), self.policy.allow_effects)
        try:
            found = describer.identify(node.inner, self._upstream, trusted=True)
        except Exception:
            return False
        return isinstance(identity, Identity) and found.checksum == identity.checksum

    def _upstream(self, key: Key) -> Identity:
        found = self.keys.get(key)
        if isinstance(found, Refusal):
            raise RefusedError(found.reason)
        return found

    def inherit(self, predecessor: Engine) -> None:
        """Take over what another engine knows of the scheduler's keys."""
        self.keys, self.lineages = predecessor.keys, predecessor.lineages
        self.effects, self.reads = predecessor.effects, predecessor.reads
        self.sparing.contents.inherit(predecessor.sparing.contents)

    def restart(self) -> None:
        """Drop everything about all keys."""
        self.rely_no_more()
        self.keys = KeyMemory()
        self.lineages.clear()
        self.reads.clear()
        self.sparing.clear()

    def forget(self, key: Key) -> None:
        """Drop everything about a key that the scheduler forgot."""
        self.sparing.forget(key)
        self.keys.forget(key)
        self.reads.forget(key)
        self.lineages.pop(key, None)


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
