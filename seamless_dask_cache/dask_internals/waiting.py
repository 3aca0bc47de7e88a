"""Tasks of the scheduler that wait: looked at, given other nodes, kept behind gates."""

from __future__ import annotations

import math
from time import monotonic
from typing import TYPE_CHECKING, Any

from seamless_dask_cache.dask_internals.graphs import Alias, Key
from seamless_dask_cache.dask_internals.scheduler import let_go

if TYPE_CHECKING:
    from distributed import Scheduler

# Sparing: changing tasks that wait, of which no worker has heard ----------------------------------


def is_running_on(scheduler: Scheduler, key: Key, worker: str, run_id: int) -> bool:
    """Tell whether the end of this run of a task is what the scheduler waits for."""
    task = scheduler.tasks.get(key)
    return (
        task is not None
        and task.state == "processing"
        and task.run_id == run_id
        and task.processing_on is not None
        and task.processing_on.address == worker
    )


def is_unheard_of(scheduler: Scheduler, key: Key) -> bool:
    """Tell whether a task waits for its inputs, and no worker was ever told of it."""
    task = scheduler.tasks.get(key)
    return task is not None and task.state == "waiting" and task.run_id is None


def users_of(scheduler: Scheduler, key: Key) -> list[Key]:
    """Return the keys that depend on a key; through aliases that nobody asked for."""
    found = []
    stack = [scheduler.tasks[key]]
    while stack:
        for user in stack.pop().dependents:
            if type(user.run_spec) is Alias and not user.who_wants:
                stack.append(user)
            else:
                found.append(user.key)
    return found


def inputs_of(scheduler: Scheduler, key: Key) -> list[Key]:
    """Return the keys that a key depends on; of aliases, what they stand for."""
    found = []
    stack = list(scheduler.tasks[key].dependencies)
    while stack:
        task = stack.pop()
        if type(task.run_spec) is Alias and task.dependencies:
            stack += task.dependencies
        else:
            found.append(task.key)
    return found


def source_of(scheduler: Scheduler, key: Key) -> Key:
    """Return the key that an alias stands for in the end; any other key as it is."""
    task = scheduler.tasks[key]
    while type(task.run_spec) is Alias and task.dependencies:
        (task,) = task.dependencies
    return task.key


def is_new(scheduler: Scheduler, key: Key) -> bool:
    """Tell whether a task has only just been made: nothing has become of it yet."""
    task = scheduler.tasks.get(key)
    return task is not None and task.state == "released" and task.run_id is None


def is_lost(scheduler: Scheduler, key: Key) -> bool:
    """Tell whether the result of a task that has run is not there any more."""
    task = scheduler.tasks.get(key)
    return task is not None and task.run_id is not None and not task.who_has


def spare(scheduler: Scheduler, ending: Key, nodes: dict[Key, Any], stimulus: str) -> None:
    """Give waiting tasks nodes without inputs, and release what nobody needs for them any more.

    Parameters
    ----------
    scheduler : Scheduler
    ending : key
        A task that has ended and of which the scheduler has not heard yet. It is kept until then,
        though what waited for it may not any more.
    nodes : dict
        Key to node, for tasks that wait and that no worker has heard of.
    stimulus : str
        Identifier of the event.
    """
    holder = f"{stimulus}-spare"
    scheduler.client_desires_keys(keys=[ending], client=holder)
    let_go(scheduler, holder)
    recommendations: dict[Key, Any] = {}
    for other in _cut_off(scheduler, nodes):
        if not other.waiters and not other.who_wants:
            # As the scheduler has it: what nothing depends on any more is forgotten.
            recommendations[other.key] = "released" if other.dependents else "forgotten"
    recommendations.update(dict.fromkeys(nodes, "processing"))
    scheduler.transitions(recommendations, stimulus)


def spare_new(scheduler: Scheduler, nodes: dict[Key, Any], stimulus: str) -> None:
    """Give new tasks nodes without inputs, and forget what nobody needs for them.

    Called from the hook in which plugins hear of a graph: the scheduler starts its tasks after it.

    Parameters
    ----------
    scheduler : Scheduler
    nodes : dict
        Key to node, for new tasks.
    stimulus : str
        Identifier of the event.
    """
    superfluous = [
        other.key
        for other in _cut_off(scheduler, nodes)
        if not other.dependents and not other.who_wants
    ]
    scheduler.transitions(dict.fromkeys(superfluous, "forgotten"), stimulus)


def _cut_off(scheduler: Scheduler, nodes: dict[Key, Any]) -> list[Any]:
    """Give tasks nodes without inputs; return what their inputs were."""
    inputs: dict[Key, Any] = {}
    for key, node in nodes.items():
        task = scheduler.tasks[key]
        for other in task.dependencies:
            other.dependents.discard(task)
            (other.waiters or set()).discard(task)
            inputs[other.key] = other
        task.dependencies.clear()
        if task.waiting_on:
            task.waiting_on.clear()
        task.run_spec = node
    return list(inputs.values())


# Gates: tasks that no worker can run, behind which others wait ------------------------------------

CLOSED = "seamless-dask-cache-gate"
"""A resource that no worker has."""


def close_gate(scheduler: Scheduler, gate: Key) -> None:
    """Let no worker run a task that the scheduler has just learned, before its first transition."""
    task = scheduler.tasks.get(gate)
    if task is not None and task.state == "released":
        task.resource_restrictions = {CLOSED: 1}
        task.worker_restrictions = task.host_restrictions = None
        task.loose_restrictions = False


class _NeverOver(float):
    """A time after which no limit is over, however late a busy scheduler asks.

    What stands behind it is not asked about meanwhile: so it is put to the end again and again.
    """

    def __add__(self, seconds: float) -> float:
        return math.inf


def keep_gate(scheduler: Scheduler, gate: Key) -> float | None:
    """Let the scheduler think that the gate has only now found no worker.

    Returns
    -------
    float or None
        Seconds after which the scheduler lets tasks fail that no worker can run, if it does so.
    """
    task, timeout = scheduler.tasks.get(gate), scheduler.no_workers_timeout
    if timeout is not None and task in scheduler.unrunnable:
        del scheduler.unrunnable[task]  # the newest are expected at the end
        scheduler.unrunnable[task] = _NeverOver(monotonic())
    return None if timeout is None else float(timeout)


def pass_gate(scheduler: Scheduler, gate: Key, key: Key, node: Any, stimulus: str) -> bool:
    """Give a task that waits behind a gate another node, and let it go on without the gate.

    Its new dependencies must be known to the scheduler. Tells whether that was possible.
    """
    task, before = scheduler.tasks.get(key), scheduler.tasks.get(gate)
    if task is None or before not in task.dependencies or task.state not in ("waiting", "released"):
        return False
    if any(d not in scheduler.tasks for d in node.dependencies):
        return False
    before.dependents.discard(task)
    (before.waiters or set()).discard(task)
    task.dependencies.discard(before)
    (task.waiting_on or set()).discard(before)
    task.run_spec = node
    for dependency in node.dependencies:
        task.add_dependency(scheduler.tasks[dependency])
    _no_progress_of(scheduler, gate)
    scheduler.transitions(_after_gate(task, before), stimulus)
    return True


def _after_gate(task: Any, gate: Any) -> dict[Key, Any]:
    recommendations: dict[Key, Any] = {}
    if not gate.waiters:
        recommendations[gate.key] = "released" if gate.dependents else "forgotten"
    blamed = [d.exception_blame for d in task.dependencies if d.exception_blame]
    if blamed:
        task.exception_blame = blamed[0]
        recommendations[task.key] = "erred"
    elif task.state == "waiting":
        # From there the scheduler takes it back at once, and looks what it waits for.
        recommendations[task.key] = "released"
    return recommendations


def _no_progress_of(scheduler: Scheduler, gate: Key) -> None:
    """Let progress bars not wait for a gate: it never ends as other tasks do."""
    from distributed.diagnostics.progress import Progress

    for plugin in scheduler.plugins.values():
        if isinstance(plugin, Progress):
            for name in ("keys", "all_keys"):
                keys = getattr(plugin, name, None) or ()
                for some in keys.values() if isinstance(keys, dict) else [keys]:
                    if isinstance(some, set):
                        some.discard(gate)
