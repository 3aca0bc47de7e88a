"""Many small results come back by one call per worker, and are as good as computed ones."""

from __future__ import annotations

import dask
import numpy as np
import pytest
from clusters import cluster_of, wait_until_forgotten
from hypothesis import given
from hypothesis import strategies as st
from seamless_dask_cache.scheduler_plugin.bulk import (
    MOST_BYTES_PER_WORKER,
    OVERHEAD_BYTES,
    Load,
    shared_out,
)

import seamless_dask_cache as sdc
from seamless_dask_cache.dask_internals import WorkerRoom
from seamless_dask_cache.database import LookupAnswer

NAME = "seamless-dask-cache"


@pytest.fixture(autouse=True)
def a_scheduler_that_validates_its_state():
    with dask.config.set({"distributed.scheduler.validate": True}):
        yield


def loads_of_sizes(sizes):
    return [Load(n, LookupAnswer("0" * 64, None, nbytes=size)) for n, size in enumerate(sizes)]


rooms = st.lists(
    st.tuples(st.integers(1, 8), st.integers(0, 3_000_000)), min_size=1, max_size=5
).map(lambda found: [WorkerRoom(f"w{n}", *room) for n, room in enumerate(found)])


@given(st.lists(st.integers(0, 1 << 20), max_size=60), rooms)
def test_no_worker_gets_more_than_it_has_room_for(sizes, rooms):
    """Every result goes to one worker at most, in order, and the room of each is kept."""
    loads = loads_of_sizes(sizes)
    shares = shared_out(loads, rooms)
    given_out = [load for share in shares.values() for load in share]
    assert [load.key for load in given_out] == sorted({load.key for load in given_out})
    for room in rooms:
        mine = sum(load.nbytes + OVERHEAD_BYTES for load in shares.get(room.address, ()))
        assert mine <= min(room.nbytes, MOST_BYTES_PER_WORKER)


def test_neighbours_stay_together_in_proportion_to_threads():
    """Contiguous parts, larger where there are more threads."""
    shares = shared_out(
        loads_of_sizes([10] * 100), [WorkerRoom("a", 1, 10**9), WorkerRoom("b", 3, 10**9)]
    )
    assert [load.key for load in shares["a"]] == list(range(25))
    assert [load.key for load in shares["b"]] == list(range(25, 100))


# With a real scheduler ----------------------------------------------------------------------------


def label(n):
    return {"n": n, "text": str(n)}


def block(n):
    return np.full(5000, float(n))


def ran_as_tasks(dask_scheduler):
    """How many tasks workers ran since the scheduler began."""
    return sum(
        1 for entry in dask_scheduler.transition_log if entry[1:3] == ("processing", "memory")
    )


@pytest.mark.parametrize("function", [label, block], ids=["inline", "in the folder"])
@pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
def test_requested_results_come_without_tasks(cache_dir, function, processes):
    """Results of a map are there at once; no task is run for them, and all of them are right."""
    for warm in (False, True):
        with cluster_of(processes=processes) as client:
            cache = sdc.enable(client, cache_dir=cache_dir)
            futures = client.map(function, range(60))
            values = client.gather(futures)
            for n, value in enumerate(values):
                np.testing.assert_equal(value, function(n))
            # They are inputs like any others.
            assert client.submit(len, futures).result() == 60
            assert cache.flush(30)
            stats = cache.stats()
            assert stats["errors"] == 0
            if warm:
                assert (stats["restored"], stats["hits"]) == (61, 61)
                assert client.run_on_scheduler(ran_as_tasks) == 1  # the length, a single result
                assert len({w for who in client.who_has(futures).values() for w in who}) == 2
            client.cluster.scheduler.validate_state()
            del futures, values
            wait_until_forgotten(client)


def double_all(xs):
    return [2 * x["n"] for x in xs]


def test_intermediate_results_feed_what_runs(cache_dir):
    """What a new task needs is loaded in bulk, and let go when it is done."""
    for last in (len, double_all):
        with cluster_of() as client:
            cache = sdc.enable(client, cache_dir=cache_dir, min_seconds=0, load_seconds=0)
            values = [dask.delayed(label)(n) for n in range(40)]
            assert dask.delayed(last)(values).compute() == last([label(n) for n in range(40)])
            assert cache.flush(30)
            assert cache.stats()["computed"] == (41 if last is len else 1)
            wait_until_forgotten(client)
            assert not any(worker.data for worker in client.cluster.workers.values())


def test_lost_results_come_back(cache_dir):
    """When a worker dies, what was loaded into its memory is restored again."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        client.gather(client.map(block, range(40)))
        assert cache.flush(30)
    with cluster_of(processes=True) as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        futures = client.map(block, range(40))
        client.gather(futures)
        dying = next(iter(client.scheduler_info()["workers"]))
        client.restart_workers([dying], timeout=60)
        values = client.gather(futures)
        assert [value[0] for value in values] == list(range(40))
        assert cache.stats()["computed"] == 0


def test_annotated_tasks_are_restored_where_they_belong(cache_dir):
    """Who asks for a worker gets results there; such tasks are restored one by one."""
    for _ in range(2):
        with cluster_of() as client:
            cache = sdc.enable(client, cache_dir=cache_dir)
            first = next(iter(client.scheduler_info()["workers"]))
            futures = client.map(label, range(30), workers=[first])
            assert client.gather(futures)[3] == label(3)
            assert {w for who in client.who_has(futures).values() for w in who} == {first}
            assert cache.flush(30)
            del futures


def lose_half(dask_worker):
    """Let half of the buffers vanish when this worker begins to load in bulk."""
    plugin = dask_worker.plugins[NAME]
    loading = plugin._loading
    original = loading._load

    def losing(items):
        for path in plugin.store.path.glob("??/*"):
            if int(path.name[0], 16) % 2:
                path.unlink(missing_ok=True)
        return original(items)

    loading._load = losing


def test_what_cannot_be_loaded_is_healed(cache_dir):
    """Buffers that are gone are computed again, the others are served."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        client.gather(client.map(block, range(40)))
        assert cache.flush(30)
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        client.run(lose_half)
        values = client.gather(client.map(block, range(40)))
        assert [value[0] for value in values] == list(range(40))
        stats = cache.stats()
        assert 0 < stats["restored"] < 40
        assert stats["computed"] == stats["healed"] == 40 - stats["restored"]


def fill_up(dask_scheduler):
    """Let the scheduler think that no worker has memory left."""
    for worker in dask_scheduler.workers.values():
        worker.memory_limit = 1


def test_workers_without_room_get_nothing(cache_dir):
    """What does not fit into memory is not loaded in advance, and comes on demand."""
    for full in (False, True):
        with cluster_of() as client:
            cache = sdc.enable(client, cache_dir=cache_dir)
            if full:
                client.run_on_scheduler(fill_up)
            values = client.gather(client.map(label, range(40)))
            assert [value["n"] for value in values] == list(range(40))
            assert client.run_on_scheduler(ran_as_tasks) == 40
            assert cache.flush(30)
            assert cache.stats()["restored"] == (40 if full else 0)
