"""The scheduler's state: what is read of it, and the few ways in which it is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from seamless_dask_cache.dask_internals.graphs import Key

if TYPE_CHECKING:
    from distributed import Scheduler


async def run_offloaded(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Run a function in the scheduler's offload thread."""
    from distributed.utils import offload

    return await offload(function, *args, **kwargs)


def take_from_task(scheduler: Scheduler, key: Key, name: str) -> dict[str, Any] | None:
    """Take the facts that a worker attached to a finished task; they are removed there."""
    state = scheduler.tasks.get(key)
    if state is None or not state.metadata:
        return None
    facts: dict[str, Any] | None = state.metadata.pop(name, None)
    return facts


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
