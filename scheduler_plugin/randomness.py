"""Noticing that a task drew from numpy's global random generator.

Functions reach that generator without naming it (``DataFrame.sample``, estimators without a seed),
so its state before and after a task is compared. Dask draws from it too, to estimate the size of
frames with object columns, at any time and from any thread; those draws are recorded, and a change
of state that they explain in full is not the task's.

Python's own global generator is left out: Dask's event loop draws from it all the time.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy
from dask.sizeof import sizeof

State = tuple[Any, ...]

WORDS_PER_BLOCK = 624
REMEMBERED_DRAWS = 1000
LONGEST_ESTIMATE_SECONDS = 1.0
SAMPLED_TYPES = ("DataFrame", "Series", "Index", "MultiIndex")

_draws: deque[tuple[State, State]] = deque(maxlen=REMEMBERED_DRAWS)
_watched: set[type] = set()
_estimating = threading.RLock()


def random_state() -> State:
    """Return what tells the state of numpy's global generator apart from others.

    The position within the block and the first words of the block do so for any two states of a
    Mersenne Twister that a task could reach. They are read in place (``numpy.random.get_state``
    copies 624 words one by one, which takes 20 microseconds). A normal deviate that the generator
    had left over from an earlier draw is not part of them.
    """
    generator = _global_generator()
    if type(generator) is not numpy.random.MT19937:
        return (repr(generator.state),)
    words = _words_of(generator)
    return words[WORDS_PER_BLOCK], words[0], words[1], words[2], words[3]


def _global_generator() -> Any:
    # New in numpy 1.24, and not in its type stubs.
    return numpy.random.get_bit_generator()  # type: ignore[attr-defined]


@lru_cache(maxsize=4)
def _words_of(generator: Any) -> Any:
    # The block, and behind it the position; the cache keeps the generator alive.
    layout = ctypes.c_uint32 * (WORDS_PER_BLOCK + 1)
    return layout.from_address(generator.ctypes.state_address)


def state_at_start() -> State:
    """Return the state at the start of a task, with no estimate under way in another thread."""
    with _quiet():
        return random_state()


def drew_randomness(before: State) -> bool:
    """Tell whether anybody but Dask's size estimates drew since the state was `before`."""
    if random_state() == before:
        return False
    with _quiet():
        now = random_state()
        steps = list(_draws)
    reached = {before}
    while True:
        further = {end for start, end in steps if start in reached} - reached
        if not further:
            return now not in reached
        reached |= further


@contextmanager
def _quiet() -> Iterator[None]:
    # An estimate that is under way has drawn, and not yet recorded it. It takes milliseconds; a
    # task is not held longer than that, whatever happens.
    acquired = _estimating.acquire(timeout=LONGEST_ESTIMATE_SECONDS)
    try:
        yield
    finally:
        if acquired:
            _estimating.release()


def watch_size_estimates() -> None:
    """Record the draws of Dask's size estimates from now on; cheap when that is so already."""
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return
    for name in SAMPLED_TYPES:
        kind = getattr(pandas, name, None)
        if kind is not None and kind not in _watched:
            _watched.add(kind)
            sizeof.register(kind, _recording(sizeof.dispatch(kind)))


def _recording(estimate: Callable[[Any], int]) -> Callable[[Any], int]:
    def recorded(value: Any) -> int:
        with _quiet():
            before = random_state()
            try:
                return estimate(value)
            finally:
                after = random_state()
                if after != before:
                    _draws.append((before, after))

    return recorded
