"""Clocks that jump on the scheduler's machine."""

from __future__ import annotations

import sys
import time

import pytest
from clusters import cluster_of, wait_until_forgotten

import seamless_dask_cache as sdc

DAY = 86_400
YEARS = 10 * 365 * DAY


def lasting(x):
    return x + 1


@sdc.cached(expires="2d")
def aging(x):
    return x + 1


def program(client):
    return client.gather([client.submit(lasting, 1), aging.submit(1)])


class Clock:
    """A `time` whose time of day is wrong; all else is as it is."""

    def __init__(self, jump):
        self._jump = jump

    def time(self):
        return time.time() + self._jump

    def __getattr__(self, name):
        return getattr(time, name)


def jump_by(monkeypatch, seconds):
    """Set the clock that the plugin sees; Dask's own would stop with the one of this process."""
    for name, module in list(sys.modules.items()):
        if name.startswith("seamless_dask_cache.scheduler_plugin.") and hasattr(module, "time"):
            monkeypatch.setattr(module, "time", Clock(seconds))


@pytest.mark.parametrize("stored_at", [0, YEARS, -DAY])
@pytest.mark.parametrize("looked_up_at", [0, YEARS, -DAY])
def test_a_clock_that_jumps(cache_dir, monkeypatch, stored_at, looked_up_at):
    """What expires is served only if its age is certain; what does not expire always is."""
    ran = []
    for jump in (stored_at, looked_up_at, looked_up_at):
        jump_by(monkeypatch, jump)
        with cluster_of() as client:
            cache = sdc.enable(client, cache_dir=cache_dir)
            assert program(client) == [2, 2]
            assert cache.flush(30)
            wait_until_forgotten(client)
            stats = cache.stats()
            assert stats["errors"] == 0
            ran.append(stats["computed"])
    age = looked_up_at - stored_at
    # What is computed again is young from then on.
    assert ran == [2, 0 if 0 <= age <= 2 * DAY else 1, 0]


@pytest.mark.parametrize("jump", [YEARS, -DAY])
def test_a_clock_that_jumps_in_the_middle(client, cache, monkeypatch, jump):
    """Nothing hangs, and nothing is lost."""
    futures = client.map(lasting, range(100))
    jump_by(monkeypatch, jump)
    assert client.gather(futures) == list(range(1, 101))
    assert client.gather(client.map(lasting, range(100, 200))) == list(range(101, 201))
    jump_by(monkeypatch, 0)
    assert client.gather(client.map(lasting, range(200, 300))) == list(range(201, 301))
    assert cache.flush(30)
    stats = cache.stats()
    assert (stats["stored"], stats["errors"]) == (300, 0)
