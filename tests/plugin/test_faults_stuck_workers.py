"""Workers that hang, or cannot do what is asked of them, while results are restored in bulk."""

from __future__ import annotations

import contextlib
import os

import psutil
import pytest
from clusters import cluster_of, wait_until_forgotten
from faults import (
    MANY,
    STORE_ALL,
    assert_same,
    compute,
    expected,
    fill,
    make,
    many,
    two_steps,
    wait_for,
)
from seamless_dask_cache.scheduler_plugin import bulk

import seamless_dask_cache as sdc
from seamless_dask_cache.dask_internals import ask_worker

KEYS = [f"key-{n}" for n in range(MANY)]


def first(n):
    return make(2_000) + n


def second(n):
    return make(2_000) - n


def increment(x):
    return x + 1


def graph_of(function):
    """A graph under names of the user's own, which are used again for something else."""
    return {key: (function, n) for n, key in enumerate(KEYS)}


@pytest.fixture
def stored(cache_dir):
    """A cache folder with the results of both functions."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        for function in (first, second):
            client.get(graph_of(function), KEYS)
            assert cache.flush(30)
            wait_until_forgotten(client)
        assert cache.stats()["stored"] == 2 * MANY
    return cache_dir


@contextlib.contextmanager
def suspended(client, address):
    """Stop the process of a worker for a while."""
    process = psutil.Process(client.run(os.getpid, workers=[address])[address])
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def data_of(dask_worker):
    return [key for key in dask_worker.data if key in KEYS]


def is_silent(dask_scheduler, address):
    return address in dask_scheduler.plugins["seamless-dask-cache"].engine.silent


def test_what_is_loaded_too_late_is_not_used(stored):
    """A worker that wakes up after patience never serves what it was asked to load before."""
    with cluster_of(processes=True) as client:
        sdc.enable(client, cache_dir=stored, patience=0.5)
        stuck, _ = client.scheduler_info()["workers"]
        with suspended(client, stuck):
            futures = client.get(graph_of(first), KEYS, sync=False)
            wait_for(lambda: client.run_on_scheduler(is_silent, address=stuck))
        assert_same(client.gather(futures), [first(n) for n in range(MANY)])
        del futures
        wait_until_forgotten(client)
        wait_for(lambda: not any(client.run(data_of).values()))
        futures = client.get(graph_of(lambda n: second(n) + 0), KEYS, sync=False, workers=[stuck])
        assert_same(client.gather(futures), [second(n) for n in range(MANY)])


def test_a_stuck_worker_is_waited_for_once(stored, monkeypatch):
    """Further graphs do not wait for a worker that did not answer; they use the others."""
    asked = []

    async def asking(scheduler, address, *arguments):
        asked.append(address)
        return await ask_worker(scheduler, address, *arguments)

    monkeypatch.setattr(bulk, "ask_worker", asking)
    graph = {f"other-{key}": task for key, task in graph_of(second).items()}
    with cluster_of(processes=True) as client:
        cache = sdc.enable(client, cache_dir=stored, patience=0.5)
        stuck, free = client.scheduler_info()["workers"]
        with suspended(client, stuck):
            futures = client.get(graph_of(first), KEYS, sync=False)
            wait_for(lambda: client.run_on_scheduler(is_silent, address=stuck))
            others = client.get(graph, list(graph), sync=False)
            assert_same(client.gather(others), [second(n) for n in range(MANY)])
            assert {where for (where,) in client.who_has(others).values()} == {free}
        assert_same(client.gather(futures), [first(n) for n in range(MANY)])
        assert asked.count(stuck) == 1
        assert cache.stats()["computed"] == 0


def lack(dask_worker):
    """Be a worker with an earlier version of the library."""
    for name in [name for name in dask_worker.handlers if name.startswith("seamless_dask_cache")]:
        del dask_worker.handlers[name]


def fail(dask_worker):
    """Be a worker whose library fails in a way that nobody foresaw."""

    async def failing(**message):
        raise AttributeError("no such thing here")

    for name in [name for name in dask_worker.handlers if name.startswith("seamless_dask_cache")]:
        dask_worker.handlers[name] = failing


async def be_without(dask_worker):
    """Be a worker that never heard of the cache."""
    await dask_worker.plugin_remove(name="seamless-dask-cache")


@pytest.mark.parametrize("fault", [lack, fail, be_without], ids=lambda f: f.__name__)
@pytest.mark.parametrize("program", [many, two_steps], ids=lambda f: f.__name__)
def test_one_worker_of_two_cannot_load(cache_dir, fault, program):
    """Its part is restored by tasks; a worker without the cache computes, and stores nothing."""
    fill(cache_dir, program)
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        client.run(fault, workers=list(client.scheduler_info()["workers"])[:1])
        assert_same(compute(client, program), expected(program))
        stats = cache.stats()
        assert (stats["computed"], stats["healed"], stats["errors"]) == (0, 0, 0), stats
        wait_until_forgotten(client)
        assert client.gather(client.map(increment, range(10))) == list(range(1, 11))
        assert cache.flush(30)


def test_workers_without_the_cache_compute(cache_dir, client):
    """Nothing is stored by a worker that cannot tell what its tasks did."""
    cache = sdc.enable(client, cache_dir=cache_dir, **STORE_ALL)
    client.run(be_without)
    assert_same(compute(client, two_steps), expected(two_steps))
    assert cache.flush(30)
    stats = cache.stats()
    assert (stats["stored"], stats["computed"], stats["errors"]) == (0, 2 * MANY, 0)


def die(path):
    """Make the next look at a buffer the end of the process."""

    def patch(dask_worker):
        store = dask_worker.plugins["seamless-dask-cache"].store
        original = type(store).get

        def look(self, checksum):
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL))
                os.kill(os.getpid(), 9)
            return original(self, checksum)

        type(store).get = look

    return patch


def test_a_worker_killed_while_it_loads(stored, tmp_path):
    """In bulk and one by one: the results are restored elsewhere."""
    for name, keys in (("bulk", KEYS), ("one", KEYS[:1])):
        with cluster_of(processes=True) as client:
            cache = sdc.enable(client, cache_dir=stored)
            client.run(die(str(tmp_path / name)))
            found = client.get({key: graph_of(first)[key] for key in keys}, keys)
            assert (tmp_path / name).exists()
            assert_same(found, [first(n) for n in range(len(keys))])
            stats = cache.stats()
            assert (stats["computed"], stats["errors"]) == (0, 0)
            wait_until_forgotten(client)
