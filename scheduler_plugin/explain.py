"""Explaining: what would become of every task of a collection, and why."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Collection
from typing import Any

from seamless_dask_cache.dask_internals import DataNode, Key, hand_over

from .divergence import DIVERGED
from .engine import Engine
from .explain_misses import Rows, explain_misses
from .lineage import upstream_graph
from .rewrite import HeldTask, Plan, rewrite, with_alias_targets
from .submission import Submission

ARRIVAL_SECONDS = 5.0
AWAITED = "awaited: another cluster computes it"
AWAITED_BEHIND = "awaited: another cluster computes what uses it"
_PATH = re.compile(r" \(at ([^()]*(?:\([^()]*\)[^()]*)*)\)$")


async def explain(engine: Engine, message: dict[str, Any]) -> list[dict[str, Any]]:
    """Judge a graph as if it were submitted now, and schedule nothing.

    Parameters
    ----------
    engine : Engine
        The engine of the scheduler.
    message : dict
        ``expr_ser`` and ``keys`` as in ``update-graph``, and ``futures``, a list of keys of tasks
        that were submitted before; either may be missing.

    Returns
    -------
    list of dict
        One row per task, with the fields of `seamless_dask_cache.explanation.TaskExplanation`.
    """
    rows: Rows = {}
    for key in message.get("futures") or ():
        if key not in rows:
            rows |= await _explain_future(engine, key)
    if "expr_ser" in message:
        rows |= await _explain_graph(engine, message)
    return list(rows.values())


async def _explain_future(engine: Engine, key: Key) -> Rows:
    """Judge a task that was submitted before, by the graph that it came with."""
    deadline = time.monotonic() + ARRIVAL_SECONDS
    # As below: the future's graph may still be on its way.
    while key not in engine.scheduler.tasks and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    lineage = engine.lineages.get(key)
    if lineage is None or key not in lineage.graph:
        return {key: _unknown(key)}
    graph, annotations = upstream_graph(lineage, key, ())
    graph[key] = lineage.graph[key]
    for name, by_key in lineage.annotations.items():
        if key in by_key:
            annotations.setdefault(name, {})[key] = by_key[key]
    packed = hand_over(graph, annotations)
    message = {"expr_ser": packed, "keys": [key], "annotations": dict(lineage.everywhere)}
    return await _explain_graph(engine, message)


def _unknown(key: Key) -> dict[str, Any]:
    row = {"key": key, "function": "", "transformation": None, "result": None, "seconds": None}
    reason = "the cache does not know how it was made"
    return row | {"status": "refused", "reason": reason, "requested": True}


async def _explain_graph(engine: Engine, message: dict[str, Any]) -> Rows:
    submission = await engine.prepare(message)
    await _arrival(engine, submission)
    if submission.externals:
        submission = await engine.prepare(message)
    plan = _planned(submission)
    rows = {
        key: _row(submission, key, key in plan.graph) | {"requested": key in submission.keys}
        for key in submission.order
        if type(submission.graph[key]) is not DataNode
    }
    await explain_misses(engine, submission, rows)
    for row in rows.values():
        if row["status"] == "miss" and row["transformation"] in engine.remarks:
            row["reason"] = engine.remarks[row["transformation"]]
        remark = engine.remarks.get(row["transformation"] or "", "")
        if row["status"] == "hit" and remark.startswith(DIVERGED):
            row["reason"] += f"; {remark}"
    for key, reason in (await _awaited(engine, submission, plan)).items():
        rows[key]["reason"] = reason
    return rows


def _planned(submission: Submission, awaited: Collection[str] = ()) -> Plan:
    return rewrite(
        submission.graph,
        submission.keys,
        submission.identities,
        submission.answers,
        held=_nothing_held,
        storing=lambda key, node, identity, requested: node,
        restoring=lambda key, identity, answer: _Restored(),
        awaited=awaited,
        awaiting=lambda key, identity: _Restored(),
    )


async def _awaited(engine: Engine, submission: Submission, plan: Plan) -> dict[Key, str]:
    """Tell what is not computed here, as another cluster is at it; with the reason."""
    known = submission.identities.known
    requested = with_alias_targets(submission.graph, submission.keys)
    wanted = {known[key].checksum for key in plan.computed & requested if key in known}
    held = await engine.flight.held_elsewhere(wanted)
    if not held:
        return {}
    here = _planned(submission, held)
    behind = dict.fromkeys(plan.computed - here.computed - here.awaited, AWAITED_BEHIND)
    return behind | dict.fromkeys(here.awaited, AWAITED)


async def _arrival(engine: Engine, submission: Submission) -> None:
    """Wait for the keys that the graph needs and that are still on their way to the scheduler.

    Graphs come over the client's stream and questions do not, so a question may overtake them.
    """
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while time.monotonic() < deadline:
        if all(key in engine.scheduler.tasks for key in submission.externals):
            return
        await asyncio.sleep(0.01)


class _Restored:
    dependencies: frozenset[Key] = frozenset()


def _nothing_held(key: Key) -> HeldTask | None:
    return None


def _row(submission: Submission, key: Key, needed: bool) -> dict[str, Any]:
    identity = submission.identities.known.get(key)
    row: dict[str, Any] = {"key": key, "function": "", "transformation": None, "result": None}
    row["seconds"] = None
    if identity is None:
        return row | _refused(submission, key)
    row |= {"function": identity.function, "transformation": identity.checksum}
    answer = submission.answers.get(identity.checksum)
    if answer is not None:
        row |= {"result": answer.result, "seconds": answer.seconds}
        return row | {"status": "hit", "reason": "its result is stored"}
    if not needed:
        return row | {"status": "hit", "reason": "not needed: what uses it is a hit"}
    return row | {"status": "miss", "reason": "no result is stored for this code and these inputs"}


def _refused(submission: Submission, key: Key) -> dict[str, Any]:
    refusal = submission.identities.refused[key]
    path = _PATH.search(refusal.reason)
    row = {"status": "refused", "path": "" if path is None else path[1]}
    if refusal.origin == key:
        return row | {"reason": refusal.reason}
    where = f" (upstream, in {refusal.origin!r})"
    return row | {"reason": refusal.reason + where, "origin": refusal.origin}
