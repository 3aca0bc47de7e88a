"""The graphs of an audit, and the messages that bring them to the scheduler; pure."""

from __future__ import annotations

from typing import Any

from dask.utils import key_split

from seamless_dask_cache.dask_internals import Graph, Key, hand_over

from .lineage import Lineage, upstream_graph

PRIORITY = -1_000_000
PLACES = ("workers", "allow_other_workers", "resources")
"""Annotations that say where a task can run; the others are about the program."""


def with_upstream(lineage: Lineage, key: Key) -> tuple[Graph, dict[str, dict[Key, Any]]]:
    """Return the graph of a key with everything upstream, and its annotations."""
    graph, annotations = upstream_graph(lineage, key, ())
    graph[key] = lineage.graph[key]
    for name, by_key in lineage.annotations.items():
        if key in by_key:
            annotations.setdefault(name, {})[key] = by_key[key]
    return graph, annotations


def message_for(lineage: Lineage, key: Key) -> dict[str, Any]:
    """Return the message that asks for a key, as its program would send it."""
    return message_of(*with_upstream(lineage, key), lineage.everywhere, {key})


def places_everywhere(everywhere: Any) -> dict[str, Any]:
    """Return the annotations of an audited graph, out of those of a whole submission."""
    kept = {name: value for name, value in everywhere.items() if name in PLACES}
    return {**kept, "priority": PRIORITY}


def name_of(key: Key, unique: str) -> str:
    """Return a key of the audit's own for a key of a program."""
    return f"audit-{key_split(key)}-{unique}"


def message_of(
    graph: Graph,
    annotations: dict[str, dict[Key, Any]],
    everywhere: Any,
    keys: set[Key],
    holder: str = "",
) -> dict[str, Any]:
    """Return the arguments of ``Scheduler.update_graph``."""
    return {
        "client": holder,
        "expr_ser": hand_over(graph, annotations),
        "keys": keys,
        "span_metadata": {"collections": []},
        "internal_priority": None,
        "submitting_task": None,
        "annotations": dict(everywhere),
    }
