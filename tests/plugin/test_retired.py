"""What is left of a cache that was switched off, or replaced by another."""

from __future__ import annotations

import threading

import pytest
from clusters import cluster_of

import seamless_dask_cache as sdc


def increment(x):
    return x + 1


def identifying():
    return [t for t in threading.enumerate() if t.name.startswith("Dask-Identify")]


@pytest.mark.parametrize("replaced", [False, True], ids=["disabled", "replaced"])
def test_no_thread_is_left_of_a_retired_cache(cache_dir, replaced):
    """However often it is switched off and on, its threads end."""
    with cluster_of(dashboard=True) as client:
        before = set(threading.enumerate())
        seen = set()
        for n in range(20):
            cache = sdc.enable(client, cache_dir=cache_dir)
            assert client.submit(increment, n).result() == n + 1
            seen |= set(identifying())
            if not replaced and n < 19:
                cache.disable()
        assert len(seen) >= 20
        cache.disable()
        for thread in seen - before:
            thread.join(10)
            assert not thread.is_alive()
        assert identifying() == []
        assert client.submit(increment, 1).result() == 2
