"""Awaiting: a task whose result another cluster computes; it stands behind a gate at the scheduler.

The gate is a task that no worker can run, so what depends on it waits as tasks wait for their
inputs: it occupies no worker, keeps the restrictions that the user gave it, and is cancelled,
released and forgotten as any other. One gate does for all, so adaptive clusters see at most one
task that they cannot run, and never scale up for what is awaited.
"""

from __future__ import annotations

from typing import Any

from seamless_dask_cache.dask_internals import Graph, GraphNode, Key, Task
from seamless_dask_cache.storage import BufferStore

from .restore import RestoreTask


class AwaitTask(RestoreTask):
    """A task that another cluster computes.

    It is not meant to run: before it is started, a restore task or the original takes its place.
    Should it be started all the same, it puts the original in its place as a restore task does.

    Parameters
    ----------
    key : key
        The key of the original task.
    transformation : str
        Checksum.
    gate : key
        The task that it waits for.
    store : BufferStore
        Where buffers live.
    """

    __slots__ = ("gate",)

    def __init__(self, key: Key, transformation: str, gate: Key, store: BufferStore):
        super().__init__(key, transformation, "", None, store)
        self._dependencies = frozenset({gate})  # type: ignore[misc]
        self.gate = gate

    def __reduce__(self) -> tuple[Any, ...]:
        return AwaitTask, (self.key, self.transformation, self.gate, self.store)

    def __repr__(self) -> str:
        return f"<AwaitTask {self.key!r} {self.transformation[:12]}>"

    def _as(self, key: Key) -> AwaitTask:
        return AwaitTask(key, self.transformation, self.gate, self.store)

    def _buffer(self) -> Any:
        raise RuntimeError("it was started though another cluster computes it")


def add_gate(graph: Graph, gate: Key) -> None:
    """Add the gate to a graph in which anything stands behind it.

    Also where the scheduler holds the gate already: it may forget it before the graph arrives.
    """
    if any(type(node) is AwaitTask for node in graph.values()):
        graph[gate] = gate_node(gate)


def gate_node(gate: Key) -> GraphNode:
    """Return the task that no worker will run."""
    return Task(gate, _nothing)


def _nothing() -> None:
    """Do nothing."""
