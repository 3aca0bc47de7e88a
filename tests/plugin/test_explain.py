"""`explain` judges every task of a collection, and runs nothing."""

from __future__ import annotations

import time

import dask
import dask.array as da
import pytest

import seamless_dask_cache as sdc


def increment(x):
    return x + 1


def clock(x):
    return time.time() + x


def lazily(x):
    return (i for i in range(x))


def test_every_task_is_named(client, cache):
    """A miss before, a hit after; upstream of a hit nothing is needed."""
    x = dask.delayed(increment)(dask.delayed(increment)(1))
    before = cache.explain(x)
    assert before.counts() == {"hit": 0, "miss": 2, "refused": 0}
    assert cache.stats()["computed"] == 0
    assert x.compute() == 3
    assert cache.flush(30)
    after = cache.explain(x)
    assert after.counts() == {"hit": 2, "miss": 0, "refused": 0}
    assert after[x.key].result is not None
    assert after[x.key].function.endswith("increment")
    assert "not needed" in repr(after)


def test_refusals_have_a_reason_and_an_origin(client, cache):
    """The clock is named at the task that reads it, and upstream of the next."""
    first = dask.delayed(clock)(1)
    second = dask.delayed(increment)(first)
    found = cache.explain(second)
    assert found[first.key].status == "refused"
    assert "time.time" in found[first.key].reason
    assert "upstream" in found[second.key].reason
    assert found.counts()["refused"] == 2
    assert "<table>" in found._repr_html_()


def test_effects_seen_while_running_are_explained(client, cache):
    """A task that turned out to return nothing is refused from then on."""
    x = dask.delayed(print)("hello", end="")
    x.compute()
    assert cache.explain(x)[x.key].status == "refused"
    assert "None" in cache.explain(x)[x.key].reason


def test_other_collections_and_futures(client, cache):
    """Arrays, persisted collections and several collections at once."""
    x = client.persist(da.arange(20, chunks=5))
    found = cache.explain(x.sum(), (x + 1).max())
    assert found.counts()["refused"] == 0
    assert len(found) > 4
    assert [row["status"] for row in found.to_dict()] == ["miss"] * len(found)


def test_checksums_can_be_asked_for():
    """The identity of a delayed value, of a collection, and of what has none."""
    one = sdc.transformation_checksum(dask.delayed(increment)(1))
    assert one == sdc.transformation_checksum(dask.delayed(increment)(1))
    assert one != sdc.transformation_checksum(dask.delayed(increment)(2))
    assert len(one) == 64
    several = sdc.transformation_checksum(da.arange(20, chunks=5) + 1)
    assert len(several) == 4
    assert len(set(several.values())) == 4
    with pytest.raises(sdc.RefusedError, match=r"time\.time"):
        sdc.transformation_checksum(dask.delayed(clock)(1))
    with pytest.raises(sdc.ConfigurationError, match="int"):
        sdc.transformation_checksum(3)


def test_the_scheduler_finds_the_same_checksum(client, cache):
    """What the client says is what the scheduler stores."""
    x = dask.delayed(increment)(41)
    mine = sdc.transformation_checksum(x)
    assert cache.explain(x)[x.key].transformation == mine


def test_results_that_cannot_be_stored(client, cache):
    """A generator as a result is given to Dask as it is; nothing is stored."""
    value = client.submit(lazily, 3)
    assert client.submit(next, value).result() == 0
    assert cache.flush(30)
    assert cache.stats()["stored"] == 0
