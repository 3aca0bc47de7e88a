"""Draws from numpy's global generator: a task's own, and those of Dask's size estimates."""

from __future__ import annotations

import threading

import numpy as np
import pandas as pd
import pytest
from dask.sizeof import sizeof
from seamless_dask_cache.scheduler_plugin.randomness import (
    drew_randomness,
    random_state,
    state_at_start,
    watch_size_estimates,
)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: np.random.random(),
        lambda: np.random.seed(7),
        lambda: np.random.randint(3),
        lambda: pd.Series(range(100)).sample(3),
        lambda: np.random.shuffle([1, 2, 3]),
    ],
)
def test_a_draw_is_noticed(draw):
    """Whatever moves the global generator is a draw."""
    before = state_at_start()
    assert not drew_randomness(before)
    draw()
    assert drew_randomness(before)


def test_the_state_is_the_one_that_numpy_tells():
    """The words read in place are those of ``numpy.random.get_state``."""
    _, key, position, *_ = np.random.get_state()
    assert random_state() == (position, *key[:4].tolist())


@pytest.mark.parametrize("n", [1, 300])
def test_size_estimates_are_no_draws(n):
    """Estimating frames with object columns draws, and is told apart; also nested and repeated."""
    watch_size_estimates()
    frame = pd.DataFrame({"x": ["a", 1, None] * n}, index=[str(i) for i in range(3 * n)])
    frame["x"] = frame.x.astype(object)
    frame.index = frame.index.astype(object)
    before = state_at_start()
    for _ in range(5):
        sizeof(frame)
        sizeof([frame, frame.x])
    assert random_state() != before
    assert not drew_randomness(before)
    np.random.random()
    assert drew_randomness(before)


def test_estimates_in_other_threads():
    """An estimate that is under way while a task starts or ends does not blame the task."""
    watch_size_estimates()
    frame = pd.DataFrame({"x": pd.Series(["a", 1] * 5000, dtype=object)})
    done = threading.Event()

    def estimate():
        while not done.is_set():
            sizeof(frame)

    threads = [threading.Thread(target=estimate) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert not any(drew_randomness(state_at_start()) for _ in range(300))
    finally:
        done.set()
        for thread in threads:
            thread.join()
