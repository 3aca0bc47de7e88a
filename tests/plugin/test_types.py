"""What clients are told of the type of results that come back."""

from __future__ import annotations

import dask
import numpy as np
import pytest
from clusters import cluster_of, wait_until_forgotten
from distributed import wait

import seamless_dask_cache as sdc


def label(n):
    return {"n": n}


def block(n):
    return np.full(3, float(n))


@pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
@pytest.mark.parametrize("count", [40, 3], ids=["bulk", "one by one"])
def test_futures_know_the_type_of_what_came_back(cache_dir, processes, count):
    """As after a computation, whether results were restored together or one by one."""
    for _ in range(2):
        with cluster_of(processes=processes, dashboard=True) as client:
            cache = sdc.enable(client, cache_dir=cache_dir)
            labels = client.map(label, range(count))
            blocks = client.map(block, range(count))
            wait(labels + blocks)
            assert {future.type for future in labels} == {dict}
            assert {future.type for future in blocks} == {np.ndarray}
            assert "numpy.ndarray" in repr(blocks[0])
            assert cache.flush(30)
            del labels, blocks
            wait_until_forgotten(client)


def test_nothing_of_it_stays_at_the_scheduler(cache_dir):
    """What is told of types is not kept with the tasks, wanted or not."""
    for last in (len, list):
        with cluster_of(dashboard=True) as client:
            sdc.enable(client, cache_dir=cache_dir, min_seconds=0, load_seconds=0)
            values = [dask.delayed(label)(n) for n in range(40)]
            whole = dask.delayed(last)(values).persist()
            wait(whole)
            assert not any(task.metadata for task in client.cluster.scheduler.tasks.values())
            cache = sdc.Cache(client)
            assert cache.flush(30)
            assert cache.stats()["errors"] == 0
            assert (cache.stats()["restored"] >= 40) == (last is list)
