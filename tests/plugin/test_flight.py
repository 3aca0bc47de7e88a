"""Single flight: two clusters at work on the same things at once."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time

import dask
import pytest
from clusters import cluster_of, wait_until_forgotten
from distributed import Client, wait
from flights import failing, slow, step
from seamless_dask_cache.scheduler_plugin.awaiting import AwaitTask
from seamless_dask_cache.scheduler_plugin.worker import NAME

import seamless_dask_cache as sdc

PATIENCE = 60


@contextlib.contextmanager
def two_clusters(cache_dir, **policy):
    """Two clusters that share a cache; their clients."""
    with cluster_of() as first, cluster_of() as second:
        for client in (first, second):
            sdc.enable(client, cache_dir=cache_dir, **policy)
        yield first, second


def scheduler_of(client):
    return client.cluster.scheduler


def flight_of(client):
    return scheduler_of(client).plugins[NAME].engine.flight


def stats_of(client):
    return scheduler_of(client).plugins[NAME].engine.stats


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def awaited(client):
    """The keys that a cluster awaits from others."""
    return [
        key
        for key, task in dict(scheduler_of(client).tasks).items()
        if type(task.run_spec) is AwaitTask
    ]


def is_valid(client):
    async def check(dask_scheduler):
        dask_scheduler.validate_state()
        return True

    return client.run_on_scheduler(check)


def held_by_first(first, second, function=slow, count=3, **arguments):
    """Let the first cluster compute something, and the second one wait for it."""
    mine = first.map(function, range(count), **arguments)
    until(lambda: len(flight_of(first).leases) == count)
    theirs = second.map(function, range(count), **arguments)
    until(lambda: len(awaited(second)) == count)
    return mine, theirs


def test_two_clusters_at_once_compute_each_transformation_once(cache_dir):
    """Two clusters that start on one graph at the same time share the work, and agree."""
    with two_clusters(cache_dir) as (first, second):
        futures = [client.map(slow, range(8)) for client in (first, second)]
        for client, some in zip((first, second), futures, strict=True):
            assert client.gather(some) == [{"squared": n * n} for n in range(8)]
        assert stats_of(first).computed + stats_of(second).computed == 8
        assert stats_of(first).awaited + stats_of(second).awaited == 8
        assert stats_of(first).taken_over == stats_of(second).taken_over == 0


def test_one_collection_is_computed_by_one_cluster(cache_dir):
    """What is upstream of an awaited result is not computed either."""
    parts = [dask.delayed(slow)(n) for n in range(4)]
    total = dask.delayed(len)(parts)
    with two_clusters(cache_dir) as (first, second):
        mine = first.compute(total)
        until(lambda: len(flight_of(first).leases))
        theirs = second.compute(total)
        assert first.gather(mine) == second.gather(theirs) == 4
        assert stats_of(second).computed == 0


def test_what_waits_is_consistent_and_occupies_nobody(cache_dir):
    """Other graphs run while results are awaited, and the scheduler's state is in order."""
    with two_clusters(cache_dir) as (first, second):
        mine, theirs = held_by_first(first, second, count=4, seconds=1.0)
        assert not second.processing() or not any(second.processing().values())
        assert is_valid(second)
        follower = second.submit(lambda d: d["squared"], theirs[3])
        assert second.submit(step, 7).result(PATIENCE) == 7
        assert follower.result(PATIENCE) == 9
        assert is_valid(second)
        first.gather(mine)
        wait(theirs, PATIENCE)
        del mine, theirs, follower
        wait_until_forgotten(second)


def test_a_killed_holder_is_replaced(cache_dir):
    """When a cluster dies while others wait for it, they compute its part themselves."""
    import flights

    with cluster_of() as client:
        sdc.enable(client, cache_dir=cache_dir, lease_seconds=1)
        with subprocess.Popen(
            [sys.executable, flights.__file__, str(cache_dir)], stdout=subprocess.PIPE, text=True
        ) as holder:
            try:
                assert holder.stdout.readline() == "holding\n"
                futures = client.map(slow, range(3), seconds=2.0)
                until(lambda: awaited(client))
            finally:
                holder.kill()
        assert client.gather(futures) == [{"squared": n * n} for n in range(3)]
        assert stats_of(client).taken_over >= 1
        assert is_valid(client)


def test_takeover_brings_back_what_is_upstream(cache_dir):
    """What is taken over is computed with its inputs, which were not scheduled before."""
    parts = [dask.delayed(slow)(n, 1.0) for n in range(4)]
    total = dask.delayed(len)(parts)
    with two_clusters(cache_dir, lease_seconds=3600) as (first, second):
        mine = first.compute(total)
        until(lambda: len(flight_of(first).leases))
        theirs = second.compute(total)
        until(lambda: awaited(second))
        mine.cancel()
        assert theirs.result(PATIENCE) == 4
        assert stats_of(second).taken_over == 1
        assert stats_of(second).computed == 5
        assert is_valid(second)


def test_disabling_the_holder_releases_at_once(cache_dir):
    """When the cache of the holder is disabled, nobody waits for its leases to run out."""
    with two_clusters(cache_dir, lease_seconds=3600) as (first, second):
        _, theirs = held_by_first(first, second, seconds=2.0)
        sdc.Cache(first).disable()
        assert second.gather(theirs) == [{"squared": n * n} for n in range(3)]
        assert stats_of(second).taken_over >= 1


def test_closing_the_holder_releases_at_once(cache_dir):
    """When the cluster of the holder is closed, nobody waits for its leases to run out."""
    with cluster_of() as second:
        sdc.enable(second, cache_dir=cache_dir, lease_seconds=3600)
        with cluster_of() as first:
            sdc.enable(first, cache_dir=cache_dir, lease_seconds=3600)
            _, theirs = held_by_first(first, second, seconds=1.0)
        assert second.gather(theirs) == [{"squared": n * n} for n in range(3)]


def test_disabling_the_waiting_one_computes(cache_dir):
    """When the cache is disabled where results are awaited, they are computed."""
    with two_clusters(cache_dir, lease_seconds=3600) as (first, second):
        _, theirs = held_by_first(first, second, seconds=2.0)
        sdc.Cache(second).disable()
        assert not awaited(second)
        assert second.gather(theirs) == [{"squared": n * n} for n in range(3)]


def test_replacing_the_cache_of_the_waiting_one_computes(cache_dir):
    """When another cache takes the place of the one that waits, nothing waits for ever."""
    with two_clusters(cache_dir, lease_seconds=3600) as (first, second):
        _, theirs = held_by_first(first, second, seconds=1.0)
        sdc.enable(second, cache_dir=cache_dir)
        assert second.gather(theirs) == [{"squared": n * n} for n in range(3)]


def test_errors_are_not_waited_for(cache_dir):
    """A task that fails at the holder is run by the one that waited, which hears of its error."""
    with two_clusters(cache_dir, lease_seconds=3600) as (first, second):
        _, theirs = held_by_first(first, second, failing, 1)
        with pytest.raises(ValueError, match="no 0"):
            theirs[0].result(PATIENCE)


def test_results_that_are_not_stored_are_not_waited_for(cache_dir):
    """A result that turns out to have an effect is computed by everybody."""

    def nothing(number):
        time.sleep(0.5)

    with two_clusters(cache_dir, lease_seconds=3600) as (first, second):
        _, theirs = held_by_first(first, second, nothing, 1)
        assert theirs[0].result(PATIENCE) is None
        assert stats_of(second).computed == 1


def test_waiting_crosswise_ends(cache_dir):
    """Two clusters may wait for each other's results: never in a circle."""
    first_task = dask.delayed(slow)(1, 1.0)
    second_task = dask.delayed(len)([first_task])
    with two_clusters(cache_dir, lease_seconds=3600) as (first, second):
        x = first.compute(first_task)
        until(lambda: len(flight_of(first).leases) == 1)
        both = second.compute([second_task, first_task])
        until(lambda: len(awaited(second)) == 1)
        y = first.compute(second_task)
        until(lambda: len(awaited(first)) == 1)
        assert second.gather(both) == [1, {"squared": 1}]
        assert first.gather([x, y]) == [{"squared": 1}, 1]
        assert stats_of(first).computed == stats_of(second).computed == 1


@pytest.mark.parametrize("seed", range(3))
def test_overlapping_graphs_end_with_the_results_of_plain_dask(cache_dir, seed):
    """Overlapping graphs with different requested tasks come to their end on both clusters."""
    choice = random.Random(seed)
    tasks, plain = [], []
    for number in range(25):
        inputs = choice.sample(range(number), min(number, choice.randint(0, 3)))
        tasks.append(dask.delayed(step)(number + seed * 1000, *(tasks[i] for i in inputs)))
        plain.append(number + seed * 1000 + sum(plain[i] for i in inputs))
    with two_clusters(cache_dir, lease_seconds=3600) as clients:
        found = []
        for _ in range(4):
            for client in clients:
                some = choice.sample(range(25), 6)
                found.append((client, some, client.compute([tasks[i] for i in some])))
        for client, some, futures in found:
            wait(futures, PATIENCE)
            assert client.gather(futures) == [plain[i] for i in some]
        assert all(map(is_valid, clients))


def test_cancelling_what_is_awaited_leaves_nothing_behind(cache_dir):
    """Futures that wait for another cluster can be cancelled and released as any others."""
    with two_clusters(cache_dir) as (first, second):
        _mine, theirs = held_by_first(first, second, seconds=1.0)
        second.cancel(theirs[:1])
        until(lambda: len(awaited(second)) == 2)
        assert is_valid(second)
        del theirs
        wait_until_forgotten(second)


def test_restarting_forgets_what_is_awaited(cache_dir):
    """A restart of the scheduler ends the waiting; the next graph works as any."""
    with cluster_of() as first, cluster_of(processes=True, workers=1) as second:
        for client in (first, second):
            sdc.enable(client, cache_dir=cache_dir)
        mine, theirs = held_by_first(first, second, seconds=1.0)
        second.restart()
        assert not awaited(second)
        del theirs
        again = second.map(slow, range(3), seconds=1.0)
        assert second.gather(again) == first.gather(mine)


def test_several_graphs_and_clients_await_the_same_key(cache_dir):
    """A second client that wants the same future, and a graph on top of it, get it too."""
    with two_clusters(cache_dir) as (first, second):
        _mine, theirs = held_by_first(first, second, seconds=1.0)
        with Client(second.cluster, set_as_default=False) as third:
            again = third.map(slow, range(3), seconds=1.0)
            on_top = third.submit(len, again)
            del theirs
            assert third.gather(again) == [{"squared": n * n} for n in range(3)]
            assert on_top.result(PATIENCE) == 3
            assert is_valid(second)
        assert stats_of(second).computed == 1


def test_restrictions_of_the_user_are_kept(cache_dir):
    """An awaited result is brought back where the user wants it."""
    with two_clusters(cache_dir) as (first, second):
        mine = first.submit(slow, 5, 1.0)
        until(lambda: len(flight_of(first).leases))
        address = sorted(scheduler_of(second).workers)[1]
        theirs = second.submit(slow, 5, 1.0, workers=[address])
        until(lambda: awaited(second))
        assert theirs.result(PATIENCE) == mine.result(PATIENCE)
        assert list(next(iter(second.who_has(theirs).values()))) == [address]


def test_schedulers_that_let_tasks_fail_without_workers_wait_all_the_same(cache_dir):
    """The limit for tasks that no worker can run does not end the waiting."""
    limited = dask.config.set({"distributed.scheduler.no-workers-timeout": "1s"})
    with limited, two_clusters(cache_dir) as (first, second):
        _mine, theirs = held_by_first(first, second, count=2, seconds=3.0)
        assert second.gather(theirs) == [{"squared": n * n} for n in range(2)]
        assert stats_of(second).taken_over == 0


def test_progress_ends_with_what_it_follows(cache_dir):
    """A progress bar of awaited futures ends when they are there."""
    from distributed.diagnostics.progress import Progress

    with two_clusters(cache_dir) as (first, second):
        _mine, theirs = held_by_first(first, second, seconds=1.0)
        keys = {future.key for future in theirs}

        async def follow(dask_scheduler):
            await Progress(keys, dask_scheduler).setup()

        second.run_on_scheduler(follow)
        plugins = scheduler_of(second).plugins.values()
        bar = next(plugin for plugin in plugins if type(plugin) is Progress)
        assert flight_of(second).gate in bar.keys
        wait(theirs, PATIENCE)
        until(lambda: bar.status == "finished")


def test_adaptive_clusters_do_not_grow_for_what_is_awaited(cache_dir):
    """The scheduler asks for one worker at most while all it has to do is to wait."""
    with two_clusters(cache_dir) as (first, second):
        _mine, theirs = held_by_first(first, second, count=30, seconds=0.1)
        assert scheduler_of(second).adaptive_target() <= 2
        assert len(second.gather(theirs)) == 30


def test_a_lost_database_ends_the_waiting(cache_dir):
    """When the database is away for longer than the patience, what is awaited is computed."""
    from clusters import kill_server

    with two_clusters(cache_dir, patience=1.0, lease_seconds=3600) as (first, second):
        mine, theirs = held_by_first(first, second, count=2, seconds=2.0)
        kill_server(cache_dir)
        assert second.gather(theirs) == first.gather(mine)


def test_waiting_has_a_limit_of_the_users(cache_dir):
    """With a limit, a cluster computes itself what a living holder takes too long for."""
    with two_clusters(cache_dir, lease_patience=0.1) as (first, second):
        _mine, theirs = held_by_first(first, second, count=1, seconds=3.0)
        until(lambda: stats_of(second).taken_over == 1)
        assert theirs[0].result(PATIENCE) == {"squared": 0}


@pytest.mark.parametrize("policy", [{"lease_seconds": 0}, {"read_only": True}])
def test_without_leases_nobody_waits(cache_dir, policy):
    """With leases switched off, or nothing stored, clusters compute side by side."""
    with two_clusters(cache_dir, **policy) as (first, second):
        futures = [client.map(slow, range(2)) for client in (first, second)]
        assert first.gather(futures[0]) == second.gather(futures[1])
        assert stats_of(first).awaited == stats_of(second).awaited == 0


def test_graphs_of_running_tasks_take_no_part_in_waiting(cache_dir):
    """A task that submits a graph and waits for it keeps a thread: it awaits no other cluster."""
    from distributed import worker_client

    def outer():
        with worker_client() as client:
            return client.submit(slow, 9, 1.0).result()

    with two_clusters(cache_dir, lease_seconds=3600) as (first, second):
        mine = first.submit(slow, 9, 1.0)
        until(lambda: len(flight_of(first).leases))
        theirs = second.submit(outer)
        assert theirs.result(PATIENCE) == mine.result(PATIENCE)
        assert stats_of(second).awaited == 0


def test_leases_end_with_their_tasks(cache_dir):
    """Nothing is held when everything is computed, stored, cancelled or failed."""
    with two_clusters(cache_dir) as (first, _):
        good = first.map(slow, range(3))
        bad = first.submit(failing, 1)
        gone = first.submit(slow, 77, 5.0)
        until(lambda: len(flight_of(first).leases) == 5)
        gone.cancel()
        wait([*good, bad], PATIENCE)
        sdc.Cache(first).flush(PATIENCE)
        until(lambda: not flight_of(first).leases)
        assert not flight_of(first).leases._unwritten


def test_explaining_takes_no_leases(cache_dir):
    """To ask what would be computed is not to compute it."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        assert len(cache.explain(dask.delayed(slow)(4))) > 0
        assert not flight_of(client).leases
