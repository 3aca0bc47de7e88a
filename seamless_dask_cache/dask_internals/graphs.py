"""Graphs and their nodes: what is used of ``dask._task_spec``, and of how graphs travel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from dask import _task_spec
from dask._task_spec import (
    Alias,
    DataNode,
    Dict,
    GraphNode,
    List,
    NestedContainer,
    Set,
    Task,
    TaskRef,
    Tuple,
    _execute_subgraph,
    convert_legacy_graph,
    execute_graph,
)

__all__ = [
    "Alias",
    "DataNode",
    "Dict",
    "FusedGraph",
    "Graph",
    "GraphNode",
    "Key",
    "List",
    "NestedContainer",
    "Set",
    "Task",
    "TaskRef",
    "Tuple",
    "container_made_by",
    "convert_legacy_graph",
    "culled",
    "execute_graph",
    "expression_of",
    "fused_graph",
    "hand_over",
    "in_order",
    "materialize",
    "open_message",
    "pack",
]

Key: TypeAlias = Any
Graph: TypeAlias = dict[Key, Any]

PREPARED_FAMILY = "seamless-dask-cache-prepared"

# Without it, what Dask makes of containers would only be described in more words.
_IDENTITY_CAST = getattr(_task_spec, "_identity_cast", None)

try:
    from dask.delayed import _apply2 as _CALL_WITH_KEYWORDS
except ImportError:  # newer releases give a task its keywords
    _CALL_WITH_KEYWORDS = None


class FusedGraph(NamedTuple):
    """The inner graph of a fused task.

    Attributes
    ----------
    inner : dict
        Key to graph node.
    output : key
        The inner key whose value is the task's value.
    inputs : dict
        Inner key that is fed from outside, to the argument that feeds it.
    """

    inner: Graph
    output: Key
    inputs: dict[Key, Any]


def fused_graph(task: Any) -> FusedGraph | None:
    """Return the inner graph of a task that Dask fused, or None for any other task."""
    if task.func is not _execute_subgraph or task.kwargs:
        return None
    inner, output, names, *values = task.args
    return FusedGraph(inner, output, dict(zip(names, values, strict=True)))


_BY_CONSTRUCTOR = {kind.constructor: kind.klass for kind in (Dict, List, Set, Tuple)}


def container_made_by(node: Any) -> type | None:
    """Return ``list``, ``tuple``, ``set`` or ``dict`` for a node that makes one of its arguments.

    Nodes of that kind become tasks that call a private function when Dask rewrites a graph. A dict
    is made of keys and values in turn.
    """
    if isinstance(node, NestedContainer):
        return _BY_CONSTRUCTOR.get(node.constructor)
    kwargs = node.kwargs if type(node) is Task else None
    if not kwargs or len(kwargs) != 1:
        return None
    if _IDENTITY_CAST is not None and node.func is _IDENTITY_CAST:
        kind = kwargs.get("typ")
        return kind if kind in (list, tuple, set) else None
    if node.func is NestedContainer.to_container:
        return _BY_CONSTRUCTOR.get(kwargs.get("constructor"))
    return None


def in_order(graph: Mapping[Key, Any], given: Iterable[Key] = ()) -> Iterator[Key]:
    """Yield the keys of a graph, dependencies first.

    Parameters
    ----------
    graph : mapping
        Key to graph node.
    given : iterable
        Keys that nodes depend on and that are not to be yielded.

    Raises
    ------
    ValueError
        When the graph has a cycle.
    """
    done: set[Key] = set(given)
    open_keys: set[Key] = set()
    for root, node in graph.items():
        if root in done:
            continue
        if node.dependencies <= done:
            done.add(root)
            yield root
            continue
        stack = [root]
        while stack:
            key = stack[-1]
            pending = [d for d in graph[key].dependencies - done if d in graph]
            if not pending:
                stack.pop()
                if key not in done:
                    done.add(key)
                    yield key
            elif key in open_keys:
                raise ValueError(f"the graph has a cycle through the key {key!r}")
            else:
                open_keys.add(key)
                stack.extend(pending)


def materialize(expression: Any, keys: set[Key]) -> tuple[Graph, dict[str, dict[Key, Any]]]:
    """Turn a submitted expression into a graph, as the scheduler would.

    Returns
    -------
    graph : dict
        Key to graph node; culled to `keys` where Dask culls.
    annotations : dict
        Annotation name to {key: value}.
    """
    from dask._expr import LLGExpr

    graph = convert_legacy_graph(expression.__dask_graph__())
    if _CALL_WITH_KEYWORDS is not None:
        graph = {key: _called_directly(node) for key, node in graph.items()}
    annotations = {name: dict(by_key) for name, by_key in expression.__dask_annotations__().items()}
    if isinstance(expression, LLGExpr):
        graph = culled(graph, keys)
    return graph, annotations


def _called_directly(node: Any) -> Any:
    """Return the call that a delayed call with keywords is, however this release writes it down."""
    if type(node) is not Task or node.func is not _CALL_WITH_KEYWORDS:
        return node
    function, *args = node.args
    kwargs = _keywords(node.kwargs.get("dask_kwargs"))
    if kwargs is None or not callable(function) or isinstance(function, (GraphNode, TaskRef)):
        return node
    return Task(node.key, function, *args, _data_producer=node.data_producer, **kwargs)


def _keywords(given: Any) -> dict[str, Any] | None:
    """Return keywords that are a dict, or a task that makes one; None for anything else."""
    found: Any = given
    if type(given) is Task and given.func is dict and len(given.args) == 1 and not given.kwargs:
        # A pair is a list of two, and a node only where a task is in it.
        pairs = [getattr(pair, "args", pair) for pair in getattr(given.args[0], "args", ())]
        found = dict(pairs) if all(len(pair) == 2 for pair in pairs) else None
    if type(found) is not dict:
        return None
    return found if all(type(k) is str and k != "_data_producer" for k in found) else None


def culled(graph: Graph, keys: Iterable[Key]) -> Graph:
    """Return the part of a graph that makes some keys."""
    part: Graph = {}
    stack = list(keys)
    while stack:
        key = stack.pop()
        if key in graph and key not in part:
            part[key] = graph[key]
            stack.extend(graph[key].dependencies)
    return part


class _Prepared:
    """A graph that is materialized already, in the shape the scheduler expects of an expression."""

    def __init__(self, graph: Graph, annotations: dict[str, dict[Key, Any]]):
        self.graph = graph
        self.annotations = annotations

    def __dask_graph__(self) -> Graph:
        return self.graph

    def __dask_annotations__(self) -> dict[str, dict[Key, Any]]:
        return self.annotations


def hand_over(graph: Graph, annotations: dict[str, dict[Key, Any]]) -> Any:
    """Wrap a graph so that ``Scheduler.update_graph`` takes it without pickling it once more.

    The scheduler calls ``deserialize(header, frames)`` on what it is given; a serialization family
    of our own returns the very object that the header carries. It never leaves the process.
    """
    from distributed.protocol.serialize import Serialized, register_serialization_family

    register_serialization_family(PREPARED_FAMILY, None, _take_over)
    prepared = _Prepared(graph, annotations)
    return Serialized({"serializer": PREPARED_FAMILY, "prepared": prepared}, [])


def _take_over(header: dict[str, Any], frames: list[bytes]) -> _Prepared:
    prepared: _Prepared = header["prepared"]
    return prepared


def open_message(message: Any) -> Any:
    """Deserialize the expression of an ``update-graph`` message without consuming the message."""
    from distributed.protocol.serialize import deserialize

    return deserialize(message.header, message.frames)


def pack(expression: Any) -> Any:
    """Serialize an expression as the client does when it submits one."""
    from distributed.protocol.serialize import Serialized, serialize, to_serialize

    return Serialized(*serialize(to_serialize(expression), on_error="raise"))


def expression_of(collections: tuple[Any, ...], *, finalize: bool) -> tuple[Any, list[Key]]:
    """Return the expression and the keys that computing or persisting `collections` would submit.

    Parameters
    ----------
    collections : tuple
        Dask collections.
    finalize : bool
        True for what ``compute`` submits (one key per collection), False for ``persist``.
    """
    from dask._expr import FinalizeCompute
    from dask.base import collections_to_expr
    from dask.core import flatten

    expression = collections_to_expr(collections)
    if finalize:
        expression = FinalizeCompute(expression)
    expression = expression.optimize()
    return expression, list(flatten(expression.__dask_keys__()))
