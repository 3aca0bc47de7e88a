"""Computing after all: what is upstream of tasks that were to be served, and were not."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dask.utils import key_split

from seamless_dask_cache.dask_internals import Graph, Key, hand_over
from seamless_dask_cache.observation import apart

from .lineage import Lineage, upstream_graph

if TYPE_CHECKING:
    from .engine import Engine

Submit = Callable[[dict[str, Any]], Awaitable[None]]
Annotations = dict[str, dict[Key, Any]]


async def submit_upstream(
    engine: Engine, submit: Submit, lineage: Lineage, nodes: Mapping[Key, Any], holder: str
) -> dict[Key, Any]:
    """Schedule what is upstream of some tasks.

    Parameters
    ----------
    engine : Engine
        Knows what the scheduler holds.
    submit : coroutine function
        Schedules a graph like one of a client: hits among what is upstream are restored in turn.
    lineage : Lineage
        Of the tasks.
    nodes : mapping
        Key to the node that computes it.
    holder : str
        Name of a client of our own, which wants what these nodes take.

    Returns
    -------
    dict
        Key to node. A client may have submitted other work under the keys of what was pruned, and
        the scheduler goes on with that; then the nodes take theirs from under new keys.
    """
    graph, annotations = _together(lineage, nodes, engine.scheduler.tasks)
    if graph:
        await submit(_message(graph, annotations, lineage, nodes.values(), holder))
    other = await asyncio.to_thread(apart, _made_of_other, engine, nodes)
    if not other:
        return dict(nodes)
    graph, annotations = _together(lineage, other, ())
    names: dict[Key, Key] = {key: f"{key_split(key)}-{uuid.uuid4().hex}" for key in graph}
    renamed = {key: nodes[key].substitute(names) for key in other}
    if graph:
        graph, annotations = _renamed(graph, annotations, names)
        await submit(_message(graph, annotations, lineage, renamed.values(), holder))
    return {**nodes, **renamed}


def _made_of_other(engine: Engine, nodes: Mapping[Key, Any]) -> list[Key]:
    return [key for key, node in nodes.items() if not engine.is_made_of(key, node)]


def _together(
    lineage: Lineage, keys: Iterable[Key], held: Container[Key]
) -> tuple[Graph, Annotations]:
    """Return the graph upstream of several keys of one lineage, and its annotations."""
    graph: Graph = {}
    annotations: Annotations = {}
    for key in keys:
        if lineage.graph[key].dependencies <= graph.keys():
            continue
        part, notes = upstream_graph(lineage, key, held)
        graph.update(part)
        for name, by_key in notes.items():
            annotations.setdefault(name, {}).update(by_key)
    return graph, annotations


def _renamed(
    graph: Graph, annotations: Annotations, names: dict[Key, Key]
) -> tuple[Graph, Annotations]:
    by_name = {
        what: {names[key]: value for key, value in by_key.items()}
        for what, by_key in annotations.items()
    }
    return {names[k]: node.substitute(names, key=names[k]) for k, node in graph.items()}, by_name


def _message(
    graph: Graph, annotations: Annotations, lineage: Lineage, users: Iterable[Any], holder: str
) -> dict[str, Any]:
    """Return the message of a client of our own that wants what some nodes take of a graph."""
    return {
        "client": holder,
        "expr_ser": hand_over(graph, annotations),
        "keys": {d for node in users for d in node.dependencies} & graph.keys(),
        "span_metadata": {"collections": []},
        "internal_priority": None,
        "submitting_task": None,
        "annotations": dict(lineage.everywhere),
    }
