"""Keys that the scheduler holds already, futures as inputs, and several clients."""

from __future__ import annotations

import logging

import dask
import dask.array as da
import numpy as np
import pytest
from clusters import cluster_of
from distributed import Client, wait

import seamless_dask_cache as sdc


def increment(x):
    return x + 1


def decrement(x):
    return x - 1


def double(x):
    return 2 * x


@pytest.fixture(autouse=True)
def no_run_spec_warnings(caplog):
    """No test here may make Dask warn of different run_specs."""
    caplog.set_level(logging.WARNING)
    yield
    assert "run_spec" not in caplog.text


def forget(client, *futures):
    """Release futures and wait until the scheduler has forgotten them."""
    keys = [future.key for future in futures]
    for future in futures:
        future.release()
    wait_until_gone(client, keys)


def wait_until_gone(client, keys):
    async def gone(dask_scheduler, keys):
        import asyncio

        while any(key in dask_scheduler.tasks for key in keys):
            await asyncio.sleep(0.01)

    client.run_on_scheduler(gone, keys=keys)


def test_a_restored_key_is_submitted_again(client, cache):
    """A graph with a key that is restored already joins it."""
    dsk = {"a": (increment, 1), "b": (double, "a"), "c": (increment, "b")}
    first = client.get(dsk, ["c"], sync=False)
    assert client.gather(first) == [5]
    cache.flush(30)
    keys = [f.key for f in first]
    forget(client, *first)
    assert keys
    again = client.get(dsk, ["c"], sync=False)
    assert client.gather(again) == [5]
    third = client.get({**dsk, "d": (double, "c")}, ["d", "c", "b"], sync=False)
    assert client.gather(third) == [10, 5, 4]
    assert cache.stats()["errors"] == 0


def test_a_computed_key_is_submitted_again(client, cache):
    """A key that was computed, is held and is a hit by now keeps its task and its dependencies."""
    dsk = {"a": (increment, 1), "b": (double, "a")}
    held = client.get(dsk, ["b"], sync=False)
    assert client.gather(held) == [4]
    assert cache.flush(30)
    more = client.get({**dsk, "c": (increment, "b")}, ["b", "c"], sync=False)
    assert client.gather(more) == [4, 5]


def test_released_tasks_that_are_hits_are_left_alone(cache_dir):
    """A task that the scheduler and its only worker remember keeps its dependencies there."""
    dsk = {"a": (increment, 1), "b": (double, "a"), "c": (increment, "b"), "d": (double, "b")}
    with cluster_of(workers=1) as client:
        cache = sdc.enable(client, cache_dir=cache_dir, min_seconds=0, load_seconds=0)
        held = client.get(dsk, ["c"], sync=False)
        assert client.gather(held) == [5]
        assert cache.flush(30)
        state = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.tasks["b"].state)
        assert state == "released"
        assert client.get(dsk, ["d", "b"], sync=False)[1].result(timeout=20) == 4
        assert client.get(dsk, ["d", "a"], sync=False)[0].result(timeout=20) == 8
        assert cache.stats()["errors"] == 0


def test_a_key_used_for_two_things_keeps_its_first_meaning(client, cache):
    """Dask goes on with the task that it holds under a key; so does the cache."""
    first = client.submit(increment, 1, key="same")
    assert first.result() == 2
    dsk = {"same": (decrement, 1), "out": (double, "same")}
    (out,) = client.get(dsk, ["out"], sync=False)
    assert out.result() == 4
    assert cache.explain is not None
    forget(client, out, first)
    (out,) = client.get(dsk, ["out"], sync=False)
    assert out.result() == 0


def test_futures_have_an_identity(client, cache):
    """A function of a future is a hit in another session with the same history."""
    x = client.submit(increment, 1)
    y = client.submit(double, x)
    assert y.result() == 4
    cache.flush(30)
    forget(client, y)
    y = client.submit(double, x)
    assert y.result() == 4
    assert cache.stats()["hits"] == 1


def test_futures_from_before_the_cache_are_refused(client, cache_dir):
    """What was computed before the cache came is not identified, nor what follows it."""
    x = client.submit(increment, 1)
    wait(x)
    cache = sdc.enable(client, cache_dir=cache_dir)
    y = client.submit(double, x)
    assert y.result() == 4
    assert cache.stats()["refused"] == 1


def test_two_clients_share_keys(client, cache):
    """A second client that asks for the same keys at the same time gets the same results."""
    x = da.arange(200, chunks=10).sum()
    with Client(client.scheduler.address, set_as_default=False) as other:
        futures = [c.compute(x) for c in (client, other) for _ in range(3)]
        assert {future.result() for future in futures} == {19900}
    assert cache.stats()["errors"] == 0


def test_persisted_collections_go_on(client, cache):
    """What is built on a persisted collection is identified through it."""
    x = client.persist(da.arange(100, chunks=10) + 1)
    assert x.sum().compute() == 5050
    cache.flush(30)
    before = cache.stats()
    assert x.sum().compute() == 5050
    after = cache.stats()
    assert after["computed"] == before["computed"]


def test_submissions_keep_their_order(client, cache):
    """Many small submissions that use each other's futures are handled in order."""
    x = client.submit(increment, 0)
    for _ in range(50):
        x = client.submit(increment, x)
    assert x.result() == 51
    total = client.submit(sum, client.map(increment, range(10)))
    assert total.result() == 55


def test_releasing_an_input_does_not_hurt_a_restore(client, cache):
    """An input that was let go of may be needed after all; it is kept until then."""
    data = client.scatter(np.arange(1000))
    y = client.submit(len, data, key="len-1")
    assert y.result() == 1000
    cache.flush(30)
    forget(client, y)
    y = client.submit(len, data, key="len-1")
    key = data.key
    data.release()
    assert y.result() == 1000
    wait_until_gone(client, [key])


def test_delayed_with_annotations_runs_where_it_must(client, cache):
    """Annotations of single tasks survive the rewriting."""
    with dask.annotate(workers=[next(iter(client.scheduler_info()["workers"]))]):
        x = dask.delayed(increment)(41)
    assert x.compute(optimize_graph=False) == 42
