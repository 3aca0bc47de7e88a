"""Work on many files at once, with the results in the order of the files."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 16
"""Files per thread that are begun before the result of the first one is taken."""

_PATIENCE = 0.2
"""Seconds."""


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], jobs: int | None
) -> Iterator[tuple[Item, Result]]:
    """Yield every item with what work makes of it, in order; items are taken as they are needed.

    Who stops early leaves threads behind that finish what they have begun, and nothing more.

    Parameters
    ----------
    work : callable
        Called in threads.
    items : iterable
    jobs : int, optional
        How many threads; as many as processors by default.
    """
    jobs = jobs or processors()
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(jobs)
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) >= jobs * _AHEAD:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _next(waiting: deque[tuple[Item, Future[Result]]]) -> tuple[Item, Result]:
    item, future = waiting.popleft()
    # Ctrl-C just before a wait does not end it, and is noticed only afterwards: so no long waits.
    while not future.done():
        wait([future], _PATIENCE)
    return item, future.result()


def processors() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
