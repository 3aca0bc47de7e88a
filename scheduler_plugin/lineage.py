"""Lineage: how the scheduler's keys are made, kept as long as a restored result may need it.

A restored task has no dependencies in the scheduler, so Dask may forget what it was made from.
Should its buffer turn out to be gone, its lineage says how to compute it after all.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from seamless_dask_cache.dask_internals import Graph, Key, culled
from seamless_dask_cache.identity.recipe import Identity


@dataclass
class Lineage:
    """One submitted graph, and the lineages of what it took from the scheduler.

    Attributes
    ----------
    graph : dict
        Key to graph node, as submitted.
    annotations : dict
        Annotation name to {key: value}.
    everywhere : dict
        Annotations of the whole submission.
    externals : dict
        Key to lineage, for the inputs that some task makes.
    inner : dict
        Transformation checksum to identity of tasks inside fused ones.
    """

    graph: Graph
    annotations: Mapping[str, Mapping[Key, Any]]
    everywhere: Mapping[str, Any]
    externals: dict[Key, Lineage] = field(default_factory=dict)
    inner: Mapping[str, Identity] = field(default_factory=dict)


def upstream_graph(
    lineage: Lineage, key: Key, held: Container[Key]
) -> tuple[Graph, dict[str, dict[Key, Any]]]:
    """Return the graph of everything upstream of a key, and its annotations.

    Parameters
    ----------
    lineage : Lineage
        Of the key.
    key : key
        Itself not part of the answer.
    held : container
        Keys that the scheduler holds; external inputs that are not among them are made anew.
    """
    graph: Graph = {}
    annotations: dict[str, dict[Key, Any]] = {}
    todo = [(lineage, dependency) for dependency in lineage.graph[key].dependencies]
    while todo:
        source, wanted = todo.pop()
        if wanted in graph:
            continue
        if wanted in source.graph:
            part = culled(source.graph, {wanted})
            graph.update(part)
            _annotate(annotations, source, part)
            needed = {d for node in part.values() for d in node.dependencies}
            todo += [(source, d) for d in needed if d not in graph]
        elif wanted not in held and wanted in source.externals:
            todo.append((source.externals[wanted], wanted))
    return graph, annotations


def _annotate(
    annotations: dict[str, dict[Key, Any]], source: Lineage, keys: Container[Key]
) -> None:
    for name, by_key in source.annotations.items():
        chosen = {key: value for key, value in by_key.items() if key in keys}
        annotations.setdefault(name, {}).update(chosen)
