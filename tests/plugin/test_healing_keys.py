"""Healing while a client uses the keys of what is upstream for something else."""

from __future__ import annotations

import time

import numpy as np
import pytest
from clusters import cluster_of

import seamless_dask_cache as sdc


def increment(x):
    return np.zeros(50_000) + x + 1


def double(x):
    return 2 * x


def blocked(path):
    import os
    import time

    while not os.path.exists(path):
        time.sleep(0.01)


@pytest.mark.parametrize("other", [{"a": (increment, 100)}, {"b": (increment, 100)}])
def test_a_healed_result_is_made_of_its_own_inputs(cache_dir, tmp_path, other):
    """Whatever a client submits under the keys of what was pruned, results are right."""
    dsk = {"a": (increment, 1), "b": (double, "a"), "c": (increment, "b")}
    with cluster_of(workers=1) as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        assert client.get(dsk, "c")[0] == 5
        assert cache.flush(30)
    with cluster_of(workers=1) as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        gate = client.submit(blocked, str(tmp_path / "gate"), pure=False)
        mine = client.get(dsk, ["c"], sync=False)
        (key,) = other
        theirs = client.get(other, [key], sync=False)
        scheduler = client.cluster.scheduler
        while key not in scheduler.tasks or "c" not in scheduler.tasks:
            time.sleep(0.01)
        for path in cache_dir.glob("buffers/??/*"):
            path.unlink()
        (tmp_path / "gate").touch()
        assert client.gather(mine)[0][0] == 5
        assert client.gather(theirs)[0][0] == 101
        assert cache.stats()["healed"] == 1
        assert cache.flush(30)
        del mine, theirs, gate
    with cluster_of(workers=1) as client:
        sdc.enable(client, cache_dir=cache_dir)
        assert client.get(dsk, "c")[0] == 5
