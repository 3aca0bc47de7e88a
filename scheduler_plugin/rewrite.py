"""Rewriting: a graph and what the database knows of it, into the graph that is scheduled.

Pure functions over plain data; nothing here talks to a scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from seamless_dask_cache.dask_internals import Alias, Graph, Key, Task, fused_graph
from seamless_dask_cache.database import LookupAnswer
from seamless_dask_cache.identity.graph import GraphIdentity, is_task
from seamless_dask_cache.identity.recipe import Identity


class HeldTask(NamedTuple):
    """A task that the scheduler holds already.

    Attributes
    ----------
    run_spec : GraphNode
        What the scheduler will run for it.
    dependencies : frozenset
        The keys it depends on there.
    released : bool
        Whether its result is neither there nor being made.
    """

    run_spec: Any
    dependencies: frozenset[Key]
    released: bool = False


@dataclass
class Plan:
    """What becomes of one submitted graph.

    Attributes
    ----------
    graph : dict
        What is scheduled.
    restored : dict
        Key to the answer that its restore task serves.
    computed : set
        Keys of the tasks that run.
    pruned : int
        Number of tasks that need not be scheduled at all.
    awaited : set
        Keys of the tasks that another cluster computes.
    relied_on : set
        Keys that the scheduler holds and must neither forget nor release before the graph arrives.
    """

    graph: Graph = field(default_factory=dict)
    restored: dict[Key, LookupAnswer] = field(default_factory=dict)
    computed: set[Key] = field(default_factory=set)
    pruned: int = 0
    awaited: set[Key] = field(default_factory=set)
    relied_on: set[Key] = field(default_factory=set)


def rewrite(
    graph: Graph,
    keys: Collection[Key],
    identities: GraphIdentity,
    answers: dict[str, LookupAnswer],
    *,
    held: Callable[[Key], HeldTask | None],
    storing: Callable[[Key, Any, Identity, bool], Any],
    restoring: Callable[[Key, Identity, LookupAnswer], Any],
    awaited: Collection[str] = (),
    awaiting: Callable[[Key, Identity], Any] | None = None,
) -> Plan:
    """Prune what is cached and wrap what is to be stored.

    Walks from the requested keys towards the inputs and stops at every hit, and at what another
    cluster computes.

    Parameters
    ----------
    graph : dict
        Key to graph node, as submitted.
    keys : collection
        The requested keys.
    identities : GraphIdentity
        What every node is.
    answers : dict
        Transformation checksum to answer, for those that are hits.
    held : callable
        What the scheduler holds under a key, or None. Such a task keeps its dependencies.
    storing, restoring : callable
        Make the node that computes and stores, or that restores.
    awaited : collection of str
        Transformation checksums of what another cluster computes.
    awaiting : callable, optional
        Makes the node that waits for it.

    Returns
    -------
    Plan
    """
    plan = Plan()
    requested = with_alias_targets(graph, keys)
    stack = [key for key in keys if key in graph]
    found: dict[Key, HeldTask] = {}
    while stack:
        key = stack.pop()
        if key in plan.graph:
            continue
        node, identity = graph[key], identities.known.get(key)
        answer = (
            answers.get(identity.checksum) if identity and identity.recipe is not None else None
        )
        mine = held(key)
        if mine is not None:
            # Also a released task that is a hit: workers remember its dependencies, and one that
            # was given a restore task without any would wait for the old ones for ever.
            plan.graph[key] = _held_node(node, mine)
            found[key] = mine
        elif answer is not None and identity is not None:
            plan.graph[key] = restoring(key, identity, answer)
            plan.restored[key] = answer
        elif identity is not None and awaiting is not None and identity.checksum in awaited:
            plan.graph[key] = awaiting(key, identity)
            plan.awaited.add(key)
        else:
            plan.graph[key] = node
            if is_task(node):
                plan.computed.add(key)
                if identity is not None and not is_only_data(node, identity):
                    plan.graph[key] = storing(key, node, identity, key in requested)
        stack.extend(d for d in plan.graph[key].dependencies if d in graph)
    plan.relied_on = _relied_on(found)
    if plan.restored or plan.awaited:
        plan.pruned = sum(is_task(node) for key, node in graph.items() if key not in plan.graph)
    return plan


def _held_node(node: Any, mine: HeldTask) -> Any:
    # The scheduler goes on with what it holds; it compares dependencies, and warns if they differ.
    return node if node.dependencies == mine.dependencies else mine.run_spec


def _relied_on(found: Mapping[Key, HeldTask]) -> set[Key]:
    # Dask forgets no task before its dependents, so of those without a result the outermost do.
    inner = {dependency for mine in found.values() for dependency in mine.dependencies}
    return {key for key, mine in found.items() if key not in inner or not mine.released}


def is_only_data(node: Any, identity: Identity) -> bool:
    """Tell fused tasks that bring data and run no code: nothing can be looked up for them."""
    if identity.recipe is not None or type(node) is not Task:
        return False
    fused = fused_graph(node)
    return fused is not None and not any(map(is_task, fused.inner.values()))


def with_alias_targets(graph: Graph, keys: Collection[Key]) -> set[Key]:
    """Return requested keys, and those whose value they stand for."""
    requested = set()
    for key in keys:
        while key not in requested:
            requested.add(key)
            node: Any = graph.get(key)
            if type(node) is Alias:
                key = node.target
    return requested
