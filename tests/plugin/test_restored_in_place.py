"""What a task does to an array that was restored stays its own."""

from __future__ import annotations

import dask
import numpy as np
import pytest
from clusters import cluster_of

import seamless_dask_cache as sdc


def make(n):
    return np.arange(n, dtype="float64") * 2


def make_both(n):
    return [make(n), make(n)]


def spoil(value):
    for array in value if isinstance(value, list) else [value]:
        array[:] = -1
    return value


@pytest.mark.parametrize("program", [make, make_both])
def test_a_task_that_changes_a_restored_input_damages_no_buffer(cache_dir, program):
    """Such an array is a memory map of the buffer: a later session restores what was computed."""
    n = 300_000
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        dask.delayed(program)(n).compute()
        assert cache.flush(30) and cache.stats()["stored"] == 1
    with cluster_of(processes=True) as client:
        cache = sdc.enable(client, cache_dir=cache_dir, read_only=True)
        restored = client.compute(dask.delayed(program)(n))
        assert np.min(client.submit(spoil, restored, pure=False).result()) == -1
        assert cache.stats()["restored"] == 1
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        assert np.array_equal(dask.delayed(program)(n).compute(), program(n))
        stats = cache.stats()
        assert (stats["computed"], stats["healed"]) == (0, 0)
