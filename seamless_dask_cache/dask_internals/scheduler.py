"""The scheduler's state: what is read of it, and the few ways in which it is changed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from seamless_dask_cache.dask_internals.graphs import Key

if TYPE_CHECKING:
    from distributed import Scheduler


async def run_offloaded(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Run a function in the scheduler's offload thread."""
    from distributed.utils import offload

    return await offload(function, *args, **kwargs)


def take_from_task(scheduler: Scheduler, key: Key, name: str) -> Any:
    """Take what was attached to a task under a name, or None; it is removed there."""
    state = scheduler.tasks.get(key)
    return state.metadata.pop(name, None) if state is not None and state.metadata else None


@contextmanager
def at_work(scheduler: Scheduler) -> Iterator[None]:
    """Keep the scheduler from thinking that it is idle, while a graph is on its way to it."""
    scheduler._active_graph_updates += 1
    try:
        yield
    finally:
        scheduler._active_graph_updates -= 1


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


def rely_on(scheduler: Scheduler, keys: Iterable[Key], holder: str) -> None:
    """Keep the scheduler from forgetting what it holds under some keys, until `let_go`."""
    scheduler.client_desires_keys(keys=[k for k in keys if k in scheduler.tasks], client=holder)


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
    return await ask_worker(scheduler, holder, operation, timeout, {"key": key})


def is_scattered(scheduler: Scheduler, key: Key) -> bool:
    """Tell whether a key is data that no task makes, and a worker holds."""
    task = scheduler.tasks.get(key)
    return task is not None and task.run_spec is None and bool(task.who_has)


def node_of(scheduler: Scheduler, key: Key) -> Any:
    """Return what the scheduler will run for a key; None when it knows nothing of it."""
    task = scheduler.tasks.get(key)
    return None if task is None else task.run_spec


def is_unfinished(scheduler: Scheduler, key: Key) -> bool:
    """Tell whether a task has still to run, or runs."""
    task = scheduler.tasks.get(key)
    return task is not None and task.state in ("waiting", "queued", "processing", "no-worker")


def is_busy(scheduler: Scheduler) -> bool:
    """Tell whether any worker has something to do."""
    return any(worker.processing for worker in scheduler.workers.values())


def is_wanted(scheduler: Scheduler, key: Key) -> bool:
    """Tell whether a client asked for a key."""
    task = scheduler.tasks.get(key)
    return task is not None and bool(task.who_wants)


# Loading data into the memory of workers ----------------------------------------------------------

MEMORY_SHARE = 0.5
"""Of a worker's memory that may be filled before its tasks ask for it."""


_TYPE = "seamless-dask-cache-type"
"""Under which the type of what was loaded is kept, until clients want it."""


class WorkerRoom(NamedTuple):
    """What a worker has room for.

    Attributes
    ----------
    address : str
    nthreads : int
    nbytes : int
        That may be put into its memory.
    """

    address: str
    nthreads: int
    nbytes: int


def rooms_of_workers(scheduler: Scheduler) -> list[WorkerRoom]:
    """Return the workers that run, and what may be put into their memory; those with room only."""
    rooms = []
    for worker in scheduler.running:
        used = max(worker.nbytes, worker.metrics.get("memory", 0))
        limit = worker.memory_limit * MEMORY_SHARE if worker.memory_limit else float(sys.maxsize)
        if limit > used:
            rooms.append(WorkerRoom(worker.address, worker.nthreads, int(limit - used)))
    return sorted(rooms)


async def ask_worker(
    scheduler: Scheduler,
    address: str,
    operation: str,
    timeout: float,
    arguments: Mapping[str, Any],
) -> Any:
    """Call a handler of a worker; None when it does not answer in time."""
    try:
        call = getattr(scheduler.rpc(address), operation)(**arguments)
        return await asyncio.wait_for(call, timeout)
    except Exception:  # also whatever its handler raises
        return None


def tell_worker(
    scheduler: Scheduler, address: str, operation: str, arguments: Mapping[str, Any]
) -> None:
    """Send a message to a stream handler of a worker, in order with those on tasks.

    The worker must have that handler: without it, it would lose its connection.
    """
    if address in scheduler.workers:
        scheduler.worker_send(address, {"op": operation, **arguments})


def free_keys(scheduler: Scheduler, address: str, keys: list[Key]) -> None:
    """Let a worker drop data of which the scheduler does not know."""
    if address in scheduler.workers:
        stimulus = f"seamless-dask-cache-free-{time()}"
        scheduler.worker_send(address, {"op": "free-keys", "keys": keys, "stimulus_id": stimulus})


class Loaded(NamedTuple):
    """What was put into the memory of a worker.

    Attributes
    ----------
    address : str
        Of the worker.
    nbytes : int
    typename : str
    pickled_type : bytes
    """

    address: str
    nbytes: int
    typename: str
    pickled_type: bytes = b""


def learn_data(scheduler: Scheduler, loaded: Mapping[Key, Loaded]) -> set[Key]:
    """Tell the scheduler of data in the memory of workers, as of scattered data.

    Parameters
    ----------
    scheduler : Scheduler
    loaded : mapping
        Key to what was put into the memory of a worker under it.

    Returns
    -------
    set
        The keys that the scheduler holds in memory now: not those of workers that are gone, nor
        those that it has come to know otherwise.
    """
    here = {
        key: value
        for key, value in loaded.items()
        if value.address in scheduler.workers and key not in scheduler.tasks
    }
    scheduler.update_data(
        who_has={key: [value.address] for key, value in here.items()},
        nbytes={key: value.nbytes for key, value in here.items()},
    )
    for key, value in here.items():
        # The scheduler tells no types of scattered data, but expects those of tasks' results.
        task = scheduler.tasks[key]
        task.type = value.typename
        task.group.add_type(value.typename)
        if value.pickled_type:
            task.metadata = {_TYPE: value.pickled_type}
    return set(here)


def tell_types(scheduler: Scheduler, keys: Iterable[Key]) -> None:
    """Tell clients the types of what they asked for, where `learn_data` learned of it.

    The scheduler tells a client the type of a result only when a task ends that it wants; to be
    called when it knows who wants them, in the tick in which it tells them that they are there.
    """
    for key in keys:
        pickled = take_from_task(scheduler, key, _TYPE)
        if pickled is not None:
            scheduler.report({"op": "key-in-memory", "key": key, "type": pickled})
