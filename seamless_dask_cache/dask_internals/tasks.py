"""What a running task can ask of its worker."""

from __future__ import annotations

import asyncio
import sys
from time import time
from typing import TYPE_CHECKING, Any

from seamless_dask_cache.dask_internals.graphs import Key

if TYPE_CHECKING:
    from distributed import Worker


def current_worker() -> Worker | None:
    """Return the Dask worker whose task runs in this thread, or None outside a task."""
    from distributed.worker import get_worker

    try:
        return get_worker()
    except ValueError:
        return None


def inside_task() -> bool:
    """Tell whether this thread runs a task of a Dask worker."""
    # Without distributed there is no worker, and importing it to find out would be slow.
    return "distributed.worker" in sys.modules and current_worker() is not None


def thread_runs_task() -> bool:
    """Tell whether this very thread runs a task of a Dask worker.

    Unlike the worker, which threads that a task hands work to may know as well.
    """
    module = sys.modules.get("distributed.worker")
    return getattr(getattr(module, "thread_state", None), "key", None) is not None


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


def put_data(worker: Worker, values: dict[Key, Any]) -> list[tuple[Key, int, str, bytes]]:
    """Put values into a worker's memory, from its event loop, as scattering does.

    Keys of which the worker knows already are left alone.

    Returns
    -------
    list of (key, int, str, bytes)
        The keys, sizes in bytes, names of the types and pickled types of what was put there.
    """
    from dask.utils import typename

    new = {key: value for key, value in values.items() if key not in worker.state.tasks}
    answer = worker.update_data(data=new, stimulus_id=f"seamless-dask-cache-load-{time()}")
    sizes = answer["nbytes"].items()
    kinds = {kind: (typename(kind), _pickled(kind)) for kind in set(map(type, new.values()))}
    return [(key, nbytes, *kinds[type(new[key])]) for key, nbytes in sizes]


def _pickled(kind: type) -> bytes:
    """Return what a worker tells of the type of a result: itself, or its name."""
    from dask.utils import typename
    from distributed.protocol import pickle

    try:
        return pickle.dumps(kind)  # type: ignore[no-any-return]
    except Exception:
        return pickle.dumps(typename(kind))  # type: ignore[no-any-return]
