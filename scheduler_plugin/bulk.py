"""Bulk restore: many small results brought back by one call per worker.

A task per result costs as much as computing a trivial one. So small results are loaded into the
memory of workers before their graph is scheduled, and the scheduler is told that they are there, as
of scattered data; then comes the graph, with restore tasks, which run if what was loaded is lost.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from seamless_dask_cache.dask_internals import (
    Key,
    Loaded,
    WorkerRoom,
    ask_worker,
    free_keys,
    learn_data,
    rooms_of_workers,
    tell_worker,
)
from seamless_dask_cache.database import LookupAnswer

from .loading import KEEP, KEPT, LOAD
from .submission import ANNOTATION, Submission

if TYPE_CHECKING:
    from .engine import Engine
    from .rewrite import Plan
    from .seeing import Seeing

logger = logging.getLogger(__name__)

FEWEST = 16
LARGEST_BYTES = 1 << 20
MOST_BYTES_PER_WORKER = 64 << 20
SILENT_SECONDS = 60.0
"""For how long a worker that did not answer is not asked again."""
OVERHEAD_BYTES = 200
"""Of a value in memory, beyond its buffer; a guess."""
SILENT_ANNOTATIONS = frozenset({ANNOTATION, "span"})
"""Annotations that do not say where or how a task runs."""


class Load(NamedTuple):
    """A result to be loaded.

    Attributes
    ----------
    key : key
    answer : LookupAnswer
        With its content, or the size of its buffer.
    """

    key: Key
    answer: LookupAnswer

    @property
    def nbytes(self) -> int:
        """Size of the buffer in bytes."""
        content = self.answer.content
        return len(content) if content is not None else self.answer.nbytes or 0


def loads_of(submission: Submission, plan: Plan, held: Iterable[Key]) -> list[Load]:
    """Return the small results that a graph restores, neighbours in the graph side by side.

    Parameters
    ----------
    submission : Submission
    plan : Plan
        What becomes of it.
    held : container
        Keys that the scheduler holds already; they are left alone.
    """
    if len(plan.restored) < FEWEST or submission.everywhere.keys() - SILENT_ANNOTATIONS:
        return []
    tied = {
        key
        for name, by_key in submission.annotations.items()
        if name not in SILENT_ANNOTATIONS
        for key in by_key
    }
    found = []
    for key in submission.order:
        answer = plan.restored.get(key)
        if answer is not None and key not in tied and key not in held and _is_small(answer):
            found.append(Load(key, answer))
    return found if len(found) >= FEWEST else []


def _is_small(answer: LookupAnswer) -> bool:
    if answer.content is not None:
        return True
    return answer.nbytes is not None and answer.nbytes <= LARGEST_BYTES


def shared_out(loads: Sequence[Load], rooms: Sequence[WorkerRoom]) -> dict[str, list[Load]]:
    """Give every worker a part, in proportion to its threads, and no more than it has room for.

    Parameters
    ----------
    loads : sequence of Load
        Neighbours stay together, as what uses them will run where they are.
    rooms : sequence of WorkerRoom

    Returns
    -------
    dict
        Address to loads. What has no room is left out.
    """
    threads = sum(room.nthreads for room in rooms)
    shares: dict[str, list[Load]] = {}
    rest = iter(loads)
    total = len(loads)
    for room in rooms:
        quota = -(-total * room.nthreads // threads)
        space = min(room.nbytes, MOST_BYTES_PER_WORKER)
        mine: list[Load] = []
        for load in rest:
            space -= load.nbytes + OVERHEAD_BYTES
            if space < 0:
                break
            mine.append(load)
            if len(mine) >= quota:
                break
        if mine:
            shares[room.address] = mine
    return shares


async def restore_in_bulk(
    engine: Engine, seeing: Seeing, submission: Submission, plan: Plan
) -> set[Key]:
    """Load small results into the memory of workers, and tell the scheduler.

    Parameters
    ----------
    engine : Engine
    seeing : Seeing
        Is told of it.
    submission : Submission
        About to be scheduled.
    plan : Plan
        What becomes of it.

    Returns
    -------
    set
        Keys that are in memory now; for the others, their restore tasks will run.
    """
    loads = loads_of(submission, plan, engine.scheduler.tasks)
    rooms = _rooms(engine) if loads else []
    if not rooms:
        return set()
    shares = shared_out(loads, rooms)
    started = time.time()
    answers = await asyncio.gather(*(_load(engine, *share) for share in shares.items()))
    loaded = {key: value for answer in answers for key, value in answer.items()}
    here = learn_data(engine.scheduler, loaded)
    for address, keys in _superfluous(loaded, here).items():
        free_keys(engine.scheduler, address, keys)
    for address, share in shares.items():
        mine = [load for load in share if load.key in here]
        nbytes = sum(load.nbytes for load in mine)
        engine.stats.restored += len(mine)
        engine.stats.bytes_restored += nbytes
        keys = [load.key for load in mine]
        seeing.restored_in_bulk(keys, address, started, time.time(), nbytes)
    return here


def _superfluous(loaded: Mapping[Key, Loaded], here: set[Key]) -> dict[str, list[Key]]:
    """Return by worker what was loaded, but has come to be known otherwise meanwhile."""
    found: dict[str, list[Key]] = {}
    for key in loaded.keys() - here:
        found.setdefault(loaded[key].address, []).append(key)
    return found


def _rooms(engine: Engine) -> list[WorkerRoom]:
    """Return the workers that may be asked; one that did not answer is left alone for a while."""
    now = time.monotonic()
    for address in [address for address, until in engine.silent.items() if until <= now]:
        del engine.silent[address]
    rooms = rooms_of_workers(engine.scheduler)
    return [room for room in rooms if room.address not in engine.silent]


async def _load(engine: Engine, address: str, loads: list[Load]) -> dict[Key, Loaded]:
    """Let a worker load results, and then keep them; nothing if that takes too long."""
    token = uuid.uuid4().hex
    until = time.monotonic() + engine.policy.patience
    items = [(load.key, load.answer.result, load.answer.content) for load in loads]
    if not await _ask(engine, address, LOAD, until, {"token": token, "items": items}):
        return {}
    tell_worker(engine.scheduler, address, KEEP, {"token": token})
    kept = await _ask(engine, address, KEPT, until, {"token": token})
    if kept is None:
        # It keeps them now, or later, but in any case before it hears of this.
        free_keys(engine.scheduler, address, [load.key for load in loads])
        return {}
    return {key: Loaded(address, *facts) for key, *facts in kept}


async def _ask(
    engine: Engine, address: str, operation: str, until: float, arguments: Mapping[str, Any]
) -> Any:
    seconds = max(until - time.monotonic(), 0.0)
    answer = await ask_worker(engine.scheduler, address, operation, seconds, arguments)
    if answer is None:
        logger.info("%s does not load results in time; they are restored one by one", address)
        engine.silent[address] = time.monotonic() + SILENT_SECONDS
    return answer
