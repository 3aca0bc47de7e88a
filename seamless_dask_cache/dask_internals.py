"""Everything that this project uses of Dask's and distributed's internals.

A new Dask release that moves something is a change to this one file; the contract tests in
``tests/plugin/test_dask_contract.py`` say what is relied upon. ``distributed`` is imported inside
the functions that need it, so that hashing a graph does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

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

if TYPE_CHECKING:
    from distributed import Scheduler, Worker

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
    "current_worker",
    "execute_graph",
    "expression_of",
    "fused_graph",
    "hand_over",
    "in_order",
    "materialize",
    "open_message",
]

Key: TypeAlias = Any
Graph: TypeAlias = dict[Key, Any]

PREPARED_FAMILY = "seamless-dask-cache-prepared"

# Without it, what Dask makes of containers would only be described in more words.
_IDENTITY_CAST = getattr(_task_spec, "_identity_cast", None)


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
    annotations = {name: dict(by_key) for name, by_key in expression.__dask_annotations__().items()}
    if isinstance(expression, LLGExpr):
        graph = culled(graph, keys)
    return graph, annotations


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


async def run_offloaded(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Run a function in the scheduler's offload thread."""
    from distributed.utils import offload

    return await offload(function, *args, **kwargs)


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


def current_worker() -> Worker | None:
    """Return the Dask worker whose task runs in this thread, or None outside a task."""
    from distributed.worker import get_worker

    try:
        return get_worker()
    except ValueError:
        return None


def inside_task() -> bool:
    """Tell whether this thread runs a task of a Dask worker."""
    import sys

    # Without distributed there is no worker, and importing it to find out would be slow.
    return "distributed.worker" in sys.modules and current_worker() is not None


def current_key() -> Key | None:
    """Return the key of the task that runs in this thread, or None outside a task."""
    from distributed.worker import thread_state

    return getattr(thread_state, "key", None)


def attach_to_current_task(name: str, facts: dict[str, Any]) -> None:
    """Put facts into the running task's metadata, which travel with ``task-finished``."""
    worker = current_worker()
    if worker is None:
        return
    state = worker.state.tasks.get(current_key())
    if state is not None:
        state.metadata[name] = facts


def take_from_task(scheduler: Scheduler, key: Key, name: str) -> dict[str, Any] | None:
    """Take the facts that a worker attached to a finished task; they are removed there."""
    state = scheduler.tasks.get(key)
    if state is None or not state.metadata:
        return None
    facts: dict[str, Any] | None = state.metadata.pop(name, None)
    return facts


def ask_plugin(action: str, arguments: dict[str, Any]) -> Any:
    """Ask the scheduler's plugin something from the thread of a running task."""
    worker = current_worker()
    if worker is None:
        raise RuntimeError("only a task of a Dask worker can ask its scheduler")
    call = worker.scheduler.seamless_dask_cache(action=action, arguments=arguments)
    return asyncio.run_coroutine_threadsafe(call, worker.loop.asyncio_loop).result()


def run_again() -> Any:
    """Make the worker give the running task back to the scheduler, which starts it once more."""
    from distributed import Reschedule

    raise Reschedule()


# Scheduler state ----------------------------------------------------------------------------------


def hold(scheduler: Scheduler, keys: Iterable[Key], holder: str) -> bool:
    """Keep scattered data alive under the name of a client of our own; tell if there was any.

    Dask's variables and queues keep data alive in the same way. Data that a task makes needs no
    holder: its lineage does.
    """
    tasks = scheduler.tasks
    data = [key for key in keys if key in tasks and tasks[key].run_spec is None]
    if data:
        scheduler.client_desires_keys(keys=data, client=holder)
    return bool(data)


def let_go(scheduler: Scheduler, holder: str) -> None:
    """Release everything that a holder keeps, as soon as the event loop is free.

    Called from within transitions, and releasing starts others.
    """
    scheduler.loop.add_callback(_release, scheduler, holder)


def _release(scheduler: Scheduler, holder: str) -> None:
    state = scheduler.clients.get(holder)
    if state is not None:
        wanted = [task.key for task in state.wants_what]
        scheduler.client_releases_keys(keys=wanted, client=holder, stimulus_id=f"{holder}-done")
        scheduler.clients.pop(holder, None)


def as_original(scheduler: Scheduler, key: Key, node: Any) -> bool:
    """Make a task that is being restored compute itself when it is started again.

    Its dependencies must be known to the scheduler. Tells whether that was possible.
    """
    task = scheduler.tasks.get(key)
    if task is None or any(d not in scheduler.tasks for d in node.dependencies):
        return False
    task.run_spec = node
    for dependency in node.dependencies:
        task.add_dependency(scheduler.tasks[dependency])
    return True


def is_started(scheduler: Scheduler, key: Key) -> bool:
    """Tell whether a key is being processed."""
    task = scheduler.tasks.get(key)
    return task is not None and task.state == "processing"


async def add_worker_plugin(scheduler: Scheduler, plugin: Any, name: str) -> None:
    """Install a plugin on all present and future workers."""
    from distributed.protocol.pickle import dumps

    scheduler.worker_plugins.pop(name, None)
    await scheduler.register_worker_plugin(None, dumps(plugin), name=name, idempotent=False)


async def remove_worker_plugin(scheduler: Scheduler, name: str) -> None:
    """Remove a plugin from all workers, where it is there."""
    if name in scheduler.worker_plugins:
        await scheduler.unregister_worker_plugin(None, name)


async def ask_holder(scheduler: Scheduler, operation: str, key: Key, timeout: float) -> Any:
    """Ask a worker that holds scattered data something about it; None when it does not answer."""
    holder = next(iter(scheduler.tasks[key].who_has)).address
    try:
        return await asyncio.wait_for(getattr(scheduler.rpc(holder), operation)(key=key), timeout)
    except (OSError, asyncio.TimeoutError, ValueError, TypeError):
        return None


def is_scattered(scheduler: Scheduler, key: Key) -> bool:
    """Tell whether a key is data that no task makes, and a worker holds."""
    task = scheduler.tasks.get(key)
    return task is not None and task.run_spec is None and bool(task.who_has)
