"""Counting what became of a submitted graph, per task prefix. Pure functions over plain data."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from dask.utils import key_split

from seamless_dask_cache.dask_internals import Key
from seamless_dask_cache.database import LookupAnswer
from seamless_dask_cache.identity.graph import GraphIdentity, Refusal, is_task

from ..history import Amounts
from ..rewrite import Plan
from ..submission import Submission

UPSTREAM = "what it depends on was refused"
_WHERE = re.compile(r" \(at [^()]*(?:\([^()]*\)[^()]*)*\)$")


class GraphCounts(NamedTuple):
    """What became of one graph.

    Attributes
    ----------
    by_prefix : dict
        Task prefix to amounts.
    refusals : dict
        Reason to number of tasks.
    """

    by_prefix: dict[str, Amounts]
    refusals: dict[str, int]


def count_graph(submission: Submission, plan: Plan) -> GraphCounts:
    """Count what became of the tasks of one decided graph.

    Takes about 2 µs per task, most of it Dask's ``key_split``; reads only what nobody changes once
    a graph is decided, so it may run in a thread.
    """
    graph = submission.graph
    return count_tasks(
        (key for key, node in graph.items() if is_task(node)),
        submission.identities,
        submission.answers,
        computed=plan.computed,
        restored=plan.restored,
        scheduled=plan.graph,
    )


def count_tasks(
    tasks: Iterable[Key],
    identities: GraphIdentity,
    answers: Mapping[str, LookupAnswer],
    *,
    computed: Collection[Key],
    restored: Collection[Key],
    scheduled: Collection[Key],
) -> GraphCounts:
    """Count what became of some tasks.

    Parameters
    ----------
    tasks : iterable of keys
        The tasks of a graph.
    identities : GraphIdentity
        What they are.
    answers : mapping
        Transformation checksum to answer, for those that are hits.
    computed, restored, scheduled : collections of keys
        Those that run; those whose result is brought back; those that the scheduler gets at all.
        What is scheduled but neither, the scheduler held already; it does not count. What is not
        scheduled counts as pruned when anything was restored, and else as not needed.
    """
    by_prefix: defaultdict[str, Amounts] = defaultdict(Amounts)
    reasons: Counter[str] = Counter()
    prefixes = _Prefixes()
    known = identities.known
    for key in tasks:
        if key in computed:
            amounts = by_prefix[prefixes.of(key)]
            if key in known:
                amounts.misses += 1
            else:
                amounts.refused += 1
                reasons[reason_of(key, identities.refused.get(key))] += 1
        elif key in restored or (restored and key not in scheduled):
            answer = answers.get(known[key].checksum) if key in known else None
            _add_hit(by_prefix[prefixes.of(key)], answer, pruned=key not in restored)
    return GraphCounts(dict(by_prefix), dict(reasons))


def reason_of(key: Key, refusal: Refusal | None) -> str:
    """Return why a task was refused, without the place in its arguments; short enough to list."""
    if refusal is None:
        return "unknown"
    if refusal.origin != key:
        return UPSTREAM
    return _WHERE.sub("", refusal.reason)[:200]


def prefix_of(key: Key) -> str:
    """Return the name under which Dask's dashboard shows a task."""
    return str(key_split(key))


class _Prefixes(dict[Key, str]):
    """Prefixes of keys; all tasks of an array share the first part of theirs, so it is kept."""

    def of(self, key: Key) -> str:
        """Return the prefix of a key."""
        return self[key[0]] if type(key) is tuple and key else prefix_of(key)

    def __missing__(self, name: Key) -> str:
        found = self[name] = prefix_of(name)
        return found


def _add_hit(amounts: Amounts, answer: LookupAnswer | None, *, pruned: bool) -> None:
    amounts.hits += 1
    amounts.pruned += pruned
    if answer is not None:
        amounts.seconds_saved += answer.seconds or 0.0
        amounts.bytes_saved += answer.nbytes or 0
