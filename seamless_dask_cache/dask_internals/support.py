"""Whether this is a Dask that the cache can work with, found out before anything is replaced.

The number of a release says little of what it changed, so only releases that are too old are known
by their number. For all others what counts is whether everything that is used is still there, takes
the arguments that it is given and does what is relied upon. What takes longer to find out is left
to the contract tests in ``tests/contract``.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from functools import partial, reduce
from typing import Any

from seamless_dask_cache.absent import answer, warn

OLDEST = (2025, 4)
"""Year and month of the oldest release that is supported."""

CALLS: dict[str, tuple[int, str]] = {
    "distributed.scheduler:Scheduler.update_graph": (
        1,
        "client expr_ser keys span_metadata internal_priority submitting_task user_priority actors"
        " fifo_timeout code annotations stimulus_id",
    ),
    "distributed.scheduler:Scheduler.update_data": (1, "who_has nbytes client"),
    "distributed.scheduler:Scheduler.client_desires_keys": (1, "keys client"),
    "distributed.scheduler:Scheduler.client_releases_keys": (1, "keys client stimulus_id"),
    "distributed.scheduler:Scheduler.remove_client": (1, "client stimulus_id"),
    "distributed.scheduler:Scheduler.handle_task_finished": (
        1,
        "key worker stimulus_id run_id metadata nbytes type typename startstops thread",
    ),
    "distributed.scheduler:Scheduler.transitions": (2, "stimulus_id"),
    "distributed.scheduler:Scheduler.report": (2, ""),
    "distributed.scheduler:Scheduler.worker_send": (1, "worker msg"),
    "distributed.scheduler:Scheduler.log_event": (1, "topic msg"),
    "distributed.scheduler:Scheduler.register_worker_plugin": (3, "name idempotent"),
    "distributed.scheduler:Scheduler.unregister_worker_plugin": (2, "name"),
    "distributed.worker:Worker.update_data": (1, "data stimulus_id"),
    "distributed.worker:get_worker": (0, ""),
    "distributed.utils:offload": (1, ""),
    "distributed.protocol.serialize:Serialized": (2, ""),
    "distributed.protocol.serialize:deserialize": (2, ""),
    "distributed.protocol.serialize:serialize": (1, "on_error"),
    "distributed.protocol.serialize:to_serialize": (1, ""),
    "distributed.protocol.serialize:register_serialization_family": (3, ""),
    "dask._expr:FinalizeCompute": (1, ""),
    "dask.base:collections_to_expr": (1, ""),
    "dask.core:flatten": (1, ""),
}
"""What is called: how many arguments it gets by position, ``self`` included, and which by name."""

COROUTINES = (
    "distributed.scheduler:Scheduler.update_graph",
    "distributed.scheduler:Scheduler.register_worker_plugin",
    "distributed.scheduler:Scheduler.unregister_worker_plugin",
)
"""What is awaited."""

ATTRIBUTES = {
    "distributed.scheduler:TaskState": (
        "key run_spec state metadata annotations run_id dependencies dependents waiting_on waiters"
        " who_has who_wants processing_on nbytes worker_restrictions add_dependency"
    ),
    "distributed.scheduler:WorkerState": (
        "address memory memory_limit nbytes nthreads status has_what processing"
    ),
    "distributed.scheduler:ClientState": "wants_what",
    "distributed.worker": "thread_state",
    "distributed": "Reschedule SchedulerPlugin WorkerPlugin",
    "dask._task_spec:Task": "func args kwargs key dependencies data_producer copy substitute fuse",
    "dask._expr": "LLGExpr",
}
"""What is read, on a class or in a module."""

OF_A_SCHEDULER = (
    "stream_handlers handlers tasks clients plugins worker_plugins workers unrunnable loop rpc"
    " _active_graph_updates"
)
"""What is read of a running scheduler, besides."""


def unsupported(scheduler: Any = None) -> str | None:
    """Say why the cache cannot work with the Dask that is installed; None when it can.

    Parameters
    ----------
    scheduler : distributed.Scheduler, optional
        A running scheduler, which is looked at too.

    Notes
    -----
    Takes about a millisecond, and never raises.
    """
    try:
        reason = _version_reason()
        return reason or next(_missing(scheduler), None)
    except Exception as error:
        return f"{_versions()} cannot be understood ({error!r})"


def switch_off(scheduler: Any, reason: str) -> None:
    """Warn that there is no cache, and answer what is asked of it; nothing else is changed.

    Parameters
    ----------
    scheduler : distributed.Scheduler
        A scheduler that works on without a cache.
    reason : str
        Why, as :func:`unsupported` says it.
    """
    warn(reason)

    async def respond(action: str, arguments: dict[str, Any] | None = None) -> Any:
        return answer(action, reason, arguments)

    scheduler.handlers["seamless_dask_cache"] = respond


# Versions -----------------------------------------------------------------------------------------


def _versions() -> str:
    import dask
    import distributed

    return f"dask {dask.__version__} with distributed {distributed.__version__}"


def _version_reason() -> str | None:
    import dask
    import distributed

    found = [_year_and_month(module.__version__) for module in (dask, distributed)]
    known = [version for version in found if version is not None]
    if any(version < OLDEST for version in known):
        return f"{_versions()} is too old; it needs {OLDEST[0]}.{OLDEST[1]} or newer"
    if len(set(known)) > 1:
        return f"{_versions()} do not belong together"
    return None


def _year_and_month(version: str) -> tuple[int, ...] | None:
    """Return the first two numbers of a version; None where it was built without one."""
    from packaging.version import InvalidVersion, Version

    try:
        release = Version(version).release[:2]
    except InvalidVersion:
        return None
    return release if release[0] else None


# What is there ------------------------------------------------------------------------------------


def _missing(scheduler: Any) -> Iterator[str]:
    """Yield what this Dask has not, in words."""
    checks: list[tuple[str, Callable[[], bool]]] = [
        *((name, partial(_takes, name, *how)) for name, how in CALLS.items()),
        *((name, partial(_is_awaited, name)) for name in COROUTINES),
        *((name, partial(_has, name, names)) for name, names in ATTRIBUTES.items()),
        ("fused tasks", _fuses),
        ("graphs that are handed over", _hands_over),
    ]
    if scheduler is not None:
        checks.append(("the scheduler", partial(_serves, scheduler)))
    for name, fulfilled in checks:
        try:
            if not fulfilled():
                yield _sentence(name, "is not what it was")
        except Exception as error:
            yield _sentence(name, f"is not what it was ({error})")


def _sentence(name: str, what: str) -> str:
    return f"{_versions()} is not supported yet: {name.replace(':', '.')} {what}"


def _find(name: str) -> Any:
    module, _, path = name.partition(":")
    return reduce(getattr, filter(None, path.split(".")), importlib.import_module(module))


def _takes(name: str, positional: int, named: str) -> bool:
    signature = inspect.signature(_find(name))
    signature.bind(*[None] * positional, **dict.fromkeys(named.split()))
    return True


def _is_awaited(name: str) -> bool:
    return inspect.iscoroutinefunction(_find(name))


def _has(name: str, attributes: str) -> bool:
    _require(_find(name), attributes)
    return True


def _require(owner: Any, attributes: str) -> None:
    absent = [attribute for attribute in attributes.split() if not hasattr(owner, attribute)]
    if absent:
        raise AttributeError(f"it has no {', '.join(absent)}")


def _serves(scheduler: Any) -> bool:
    _require(scheduler, OF_A_SCHEDULER)
    return {"update-graph", "task-finished"} <= set(scheduler.stream_handlers)


# What it does -------------------------------------------------------------------------------------


def _fuses() -> bool:
    """Tell whether the inner graph of a fused task is where it is looked for."""
    from seamless_dask_cache.dask_internals.graphs import Task, TaskRef, fused_graph

    first = Task("first", abs, TaskRef("outside"))
    second = Task("second", abs, first.ref())
    found = fused_graph(Task.fuse(first, second))
    if found is None:
        return False
    sources = [source.key for source in found.inputs.values()]
    same = found.output == "second" and set(found.inner) == {"first", "second"}
    return same and sources == ["outside"] and found.inner["first"].func is abs


def _hands_over() -> bool:
    """Tell whether a graph passes through the calls of ``update_graph`` as it is."""
    from seamless_dask_cache.dask_internals.graphs import Task, hand_over, open_message

    task = Task("task", abs, -1)
    expression = open_message(hand_over({"task": task}, {"cache": {"task": True}}))
    same_graph = expression.__dask_graph__()["task"] is task
    return same_graph and expression.__dask_annotations__() == {"cache": {"task": True}}
