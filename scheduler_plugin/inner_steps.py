"""Looking at the inner steps of a fused task: what returned nothing, and what names a file."""

from __future__ import annotations

from typing import Any

from seamless_dask_cache.dask_internals import Alias, DataNode, GraphNode, Task, fused_graph
from seamless_dask_cache.observation import Observation


class Watch:
    """Run a task, and look at what inner steps of a fused one return.

    Parameters
    ----------
    seen : Observation
        Of the task; gets the files that inner results name.
    """

    def __init__(self, seen: Observation) -> None:
        self.seen = seen
        self.nothing = False

    def run(self, task: Any, values: Any) -> Any:
        """Compute the task; sets ``nothing`` when an inner step returned None."""
        fused = fused_graph(task) if type(task) is Task else None
        if fused is None:
            return task(values)
        inner = {key: self._watched(node) for key, node in fused.inner.items()}
        _, *rest = task.args
        return Task(task.key, task.func, inner, *rest)(values)

    def _watched(self, node: Any) -> Any:
        return node if type(node) in (Alias, DataNode) else _Watched(node, self)


class _Watched(GraphNode):  # type: ignore[misc]
    __slots__ = ("inner", "watch")

    def __init__(self, inner: Any, watch: Watch):
        self.key = inner.key  # type: ignore[misc]
        self._dependencies = inner.dependencies  # type: ignore[misc]
        self.inner = inner
        self.watch = watch

    def __call__(self, values: Any = ()) -> Any:
        value = self.watch.run(self.inner, values)
        if value is None:
            self.watch.nothing = True
        self.watch.seen.note_named((value,))
        return value
