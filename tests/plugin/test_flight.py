"""Single flight: two clusters at work on the same things at once."""

from __future__ import annotations

import contextlib
import itertools
import random
import subprocess
import sys
import time

import dask
import flights
import pytest
from clusters import cluster_of, kill_server, wait_until_forgotten
from distributed import Client, wait
from distributed.scheduler import NoValidWorkerError
from flights import failing, held_up, nothing, square, step
from seamless_dask_cache.scheduler_plugin import flight
from seamless_dask_cache.scheduler_plugin.awaiting import AwaitTask
from seamless_dask_cache.scheduler_plugin.worker import NAME

import seamless_dask_cache as sdc
from seamless_dask_cache.embedded import ensure_server

PATIENCE = 60


STARTS = itertools.count(0, 1000)


@pytest.fixture(autouse=True)
def start(monkeypatch):
    """Numbers of each test's own, as most share one server, and quick questions to it."""
    monkeypatch.setattr(flight, "SHORTEST_PAUSE", 0.05)
    monkeypatch.setattr(flight, "LONGEST_PAUSE", 0.2)
    monkeypatch.setattr(flights, "start", next(STARTS))


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


@contextlib.contextmanager
def held_by_first(first, second, function=square, count=3):
    """Let the first cluster compute something, and the second one wait for it, until the end."""
    with held_up():
        mine = first.map(function, numbers(count))
        until(lambda: len(flight_of(first).leases) == count)
        theirs = second.map(function, numbers(count))
        until(lambda: len(awaited(second)) == count)
        yield mine, theirs


def numbers(count):
    """Numbers that no other test computes with."""
    return range(flights.start, flights.start + count)


def squares(count):
    return [{"squared": n * n} for n in numbers(count)]


def test_two_clusters_at_once_compute_each_transformation_once(shared_cache_dir):
    """Two clusters that start on one graph at the same time share the work, and agree."""
    with two_clusters(shared_cache_dir) as (first, second):
        with held_up():
            futures = [client.map(square, numbers(8)) for client in (first, second)]
            until(lambda: len(awaited(first)) + len(awaited(second)) == 8)
        for client, some in zip((first, second), futures, strict=True):
            assert client.gather(some) == squares(8)
        assert stats_of(first).computed + stats_of(second).computed == 8
        assert stats_of(first).awaited + stats_of(second).awaited == 8
        assert stats_of(first).taken_over == stats_of(second).taken_over == 0


def test_one_collection_is_computed_by_one_cluster(shared_cache_dir):
    """What is upstream of an awaited result is not computed either."""
    parts = [dask.delayed(square)(n) for n in numbers(4)]
    total = dask.delayed(len)(parts)
    with two_clusters(shared_cache_dir) as (first, second):
        with held_up():
            mine = first.compute(total)
            until(lambda: len(flight_of(first).leases))
            theirs = second.compute(total)
            until(lambda: awaited(second))
        assert first.gather(mine) == second.gather(theirs) == 4
        assert stats_of(second).computed == 0


def test_what_waits_is_consistent_and_occupies_nobody(shared_cache_dir):
    """Other graphs run while results are awaited, and the scheduler's state is in order."""
    with two_clusters(shared_cache_dir) as (first, second):
        with held_by_first(first, second, count=4) as (mine, theirs):
            assert not any(second.processing().values())
            assert is_valid(second)
            follower = second.submit(lambda d: d["squared"], theirs[3])
            assert second.submit(step, flights.start).result(PATIENCE) == flights.start
        assert follower.result(PATIENCE) == squares(4)[3]["squared"]
        assert is_valid(second)
        first.gather(mine)
        wait(theirs, PATIENCE)
        mine.clear()
        theirs.clear()
        del follower
        wait_until_forgotten(second)


def test_a_killed_holder_is_replaced(shared_cache_dir):
    """When a cluster dies while others wait for it, they compute its part themselves."""
    with cluster_of() as client:
        sdc.enable(client, cache_dir=shared_cache_dir, lease_seconds=1)
        with subprocess.Popen(
            [sys.executable, flights.__file__, str(shared_cache_dir), str(flights.start)],
            stdout=subprocess.PIPE,
            text=True,
        ) as holder:
            try:
                assert holder.stdout.readline() == "holding\n"
                futures = client.map(square, numbers(3))
                until(lambda: awaited(client))
            finally:
                holder.kill()
        assert client.gather(futures) == squares(3)
        assert stats_of(client).taken_over == 3
        assert is_valid(client)


def test_takeover_brings_back_what_is_upstream(shared_cache_dir):
    """What is taken over is computed with its inputs, which were not scheduled before."""
    parts = [dask.delayed(square)(n) for n in numbers(4)]
    total = dask.delayed(len)(parts)
    with two_clusters(shared_cache_dir, lease_seconds=3600) as (first, second):
        with held_up():
            mine = first.compute(total)
            until(lambda: len(flight_of(first).leases))
            theirs = second.compute(total)
            until(lambda: awaited(second))
            mine.cancel()
            until(lambda: not awaited(second))
        assert theirs.result(PATIENCE) == 4
        assert stats_of(second).taken_over == 1
        assert stats_of(second).computed == 5
        assert is_valid(second)


def test_disabling_the_holder_releases_at_once(shared_cache_dir):
    """When the cache of the holder is disabled, nobody waits for its leases to run out."""
    with two_clusters(shared_cache_dir, lease_seconds=3600) as (first, second):
        with held_by_first(first, second) as (_mine, theirs):
            sdc.Cache(first).disable()
            until(lambda: not awaited(second))
        assert second.gather(theirs) == squares(3)
        assert stats_of(second).taken_over == 3


def test_closing_the_holder_releases_at_once(shared_cache_dir):
    """When the cluster of the holder is closed, nobody waits for its leases to run out."""
    with cluster_of() as second:
        sdc.enable(second, cache_dir=shared_cache_dir, lease_seconds=3600)
        with cluster_of() as first:
            sdc.enable(first, cache_dir=shared_cache_dir, lease_seconds=3600)
            with held_by_first(first, second) as (_mine, theirs):
                pass
        assert second.gather(theirs) == squares(3)


def test_disabling_the_waiting_one_computes(shared_cache_dir):
    """When the cache is disabled where results are awaited, they are computed."""
    with two_clusters(shared_cache_dir, lease_seconds=3600) as (first, second):
        with held_by_first(first, second) as (_mine, theirs):
            sdc.Cache(second).disable()
            assert not awaited(second)
        assert second.gather(theirs) == squares(3)


def test_replacing_the_cache_of_the_waiting_one_computes(shared_cache_dir):
    """When another cache takes the place of the one that waits, nothing waits for ever."""
    with two_clusters(shared_cache_dir, lease_seconds=3600) as (first, second):
        with held_by_first(first, second) as (_mine, theirs):
            sdc.enable(second, cache_dir=shared_cache_dir)
            assert not awaited(second)
        assert second.gather(theirs) == squares(3)


def test_errors_are_not_waited_for(shared_cache_dir):
    """A task that fails at the holder is run by the one that waited, which hears of its error."""
    with two_clusters(shared_cache_dir, lease_seconds=3600) as (first, second):
        with held_by_first(first, second, failing, 1) as (_mine, theirs):
            pass
        with pytest.raises(ValueError, match=f"no {flights.start}"):
            theirs[0].result(PATIENCE)


def test_results_that_are_not_stored_are_not_waited_for(shared_cache_dir):
    """A result that turns out to have an effect is computed by everybody."""
    with two_clusters(shared_cache_dir, lease_seconds=3600) as (first, second):
        with held_by_first(first, second, nothing, 1) as (_mine, theirs):
            pass
        assert theirs[0].result(PATIENCE) is None
        assert stats_of(second).computed == 1


def test_waiting_crosswise_ends(shared_cache_dir):
    """Two clusters may wait for each other's results: never in a circle."""
    first_task = dask.delayed(square)(flights.start)
    second_task = dask.delayed(len)([first_task])
    with two_clusters(shared_cache_dir, lease_seconds=3600) as (first, second):
        with held_up():
            x = first.compute(first_task)
            until(lambda: len(flight_of(first).leases) == 1)
            both = second.compute([second_task, first_task])
            until(lambda: len(awaited(second)) == 1)
            y = first.compute(second_task)
            until(lambda: len(awaited(first)) == 1)
        assert second.gather(both) == [1, *squares(1)]
        assert first.gather([x, y]) == [*squares(1), 1]
        assert stats_of(first).computed == stats_of(second).computed == 1


@pytest.mark.parametrize("seed", range(3))
def test_overlapping_graphs_end_with_the_results_of_plain_dask(shared_cache_dir, seed):
    """Overlapping graphs with different requested tasks come to their end on both clusters."""
    choice = random.Random(seed)
    tasks, plain = [], []
    for number in range(25):
        inputs = choice.sample(range(number), min(number, choice.randint(0, 3)))
        tasks.append(dask.delayed(step)(flights.start + number, *(tasks[i] for i in inputs)))
        plain.append(flights.start + number + sum(plain[i] for i in inputs))
    with two_clusters(shared_cache_dir, lease_seconds=3600) as clients:
        found = []
        for _ in range(4):
            for client in clients:
                some = choice.sample(range(25), 6)
                found.append((client, some, client.compute([tasks[i] for i in some])))
        for client, some, futures in found:
            wait(futures, PATIENCE)
            assert client.gather(futures) == [plain[i] for i in some]
        assert all(map(is_valid, clients))


def test_cancelling_what_is_awaited_leaves_nothing_behind(shared_cache_dir):
    """Futures that wait for another cluster can be cancelled and released as any others."""
    with two_clusters(shared_cache_dir) as clients, held_by_first(*clients) as (_mine, theirs):
        second = clients[1]
        second.cancel(theirs[:1])
        until(lambda: len(awaited(second)) == 2)
        assert is_valid(second)
        theirs.clear()
        wait_until_forgotten(second)


def test_restarting_forgets_what_is_awaited(shared_cache_dir):
    """A restart of the scheduler ends the waiting; the next graph works as any."""
    with cluster_of() as first, cluster_of(processes=True, workers=1) as second:
        for client in (first, second):
            sdc.enable(client, cache_dir=shared_cache_dir)
        with held_by_first(first, second) as (mine, theirs):
            second.restart()
            assert not awaited(second)
            theirs.clear()
            again = second.map(square, numbers(3))
            until(lambda: len(awaited(second)) == 3)
        assert second.gather(again) == first.gather(mine)


def test_several_graphs_and_clients_await_the_same_key(shared_cache_dir):
    """A second client that wants the same future, and a graph on top of it, get it too."""
    with two_clusters(shared_cache_dir) as (first, second):
        with Client(second.cluster, set_as_default=False) as third:
            with held_by_first(first, second) as (_mine, theirs):
                again = third.map(square, numbers(3))
                on_top = third.submit(len, again)
                until(lambda: scheduler_of(second).tasks.get(on_top.key))
                theirs.clear()
            assert third.gather(again) == squares(3)
            assert on_top.result(PATIENCE) == 3
            assert is_valid(second)
        assert stats_of(second).computed == 1


def test_restrictions_of_the_user_are_kept(shared_cache_dir):
    """An awaited result is brought back where the user wants it."""
    with two_clusters(shared_cache_dir) as (first, second):
        with held_up():
            mine = first.submit(square, flights.start)
            until(lambda: len(flight_of(first).leases))
            address = sorted(scheduler_of(second).workers)[1]
            theirs = second.submit(square, flights.start, workers=[address])
            until(lambda: awaited(second))
        assert theirs.result(PATIENCE) == mine.result(PATIENCE)
        assert list(next(iter(second.who_has(theirs).values()))) == [address]


def test_schedulers_that_let_tasks_fail_without_workers_wait_all_the_same(shared_cache_dir):
    """The limit for tasks that no worker can run does not end the waiting."""
    limited = dask.config.set({"distributed.scheduler.no-workers-timeout": "400ms"})
    with limited, two_clusters(shared_cache_dir) as (first, second):
        with held_by_first(first, second, count=2) as (_mine, theirs):
            for number in range(2):  # the second one begins when the limit is over for the gate
                impossible = second.submit(step, -number, resources={"of another world": 1})
                with pytest.raises(NoValidWorkerError):
                    impossible.result(PATIENCE)
        assert second.gather(theirs) == squares(2)
        assert stats_of(second).taken_over == 0


def test_a_scheduler_that_stood_still_waits_all_the_same(shared_cache_dir):
    """Longer than the limit for tasks that no worker can run."""
    limited = dask.config.set({"distributed.scheduler.no-workers-timeout": "400ms"})
    with limited, two_clusters(shared_cache_dir) as (first, second):
        with held_by_first(first, second, count=2) as (_mine, theirs):
            gate = flight_of(second).gate
            until(lambda: gate in {task.key for task in scheduler_of(second).unrunnable})
            for _ in range(3):
                second.run_on_scheduler(lambda: time.sleep(1))  # what stands still
        assert second.gather(theirs) == squares(2)
        assert stats_of(second).taken_over == 0


def test_progress_ends_with_what_it_follows(shared_cache_dir):
    """A progress bar of awaited futures ends when they are there."""
    from distributed.diagnostics.progress import Progress

    with two_clusters(shared_cache_dir) as (first, second):
        with held_by_first(first, second) as (_mine, theirs):
            keys = {future.key for future in theirs}

            async def follow(dask_scheduler):
                await Progress(keys, dask_scheduler).setup()

            second.run_on_scheduler(follow)
            plugins = scheduler_of(second).plugins.values()
            bar = next(plugin for plugin in plugins if type(plugin) is Progress)
            assert flight_of(second).gate in bar.keys
        wait(theirs, PATIENCE)
        until(lambda: bar.status == "finished")


def test_adaptive_clusters_do_not_grow_for_what_is_awaited(shared_cache_dir):
    """The scheduler asks for one worker at most while all it has to do is to wait."""
    with two_clusters(shared_cache_dir) as (first, second):
        with held_by_first(first, second, count=30) as (_mine, theirs):
            assert scheduler_of(second).adaptive_target() <= 2
        assert len(second.gather(theirs)) == 30


def test_a_database_that_starts_anew_ends_the_waiting(cache_dir):
    """It knows of no lease any more, so whoever waited computes, or waits for who asked earlier."""
    with two_clusters(cache_dir, lease_seconds=3600) as (first, second):
        with held_by_first(first, second, count=2) as (mine, theirs):
            kill_server(cache_dir)
            until(lambda: not awaited(second))
        assert second.gather(theirs) == first.gather(mine)


def test_a_lost_database_ends_the_waiting(cache_dir):
    """When the database is away for longer than the patience, what is awaited is computed."""
    there = ensure_server(cache_dir)
    options = {"database": there.url, "token": there.token, "buffers": there.buffers}
    with two_clusters(cache_dir, **options, patience=0.5, lease_seconds=3600) as (first, second):
        with held_by_first(first, second, count=2) as (mine, theirs):
            kill_server(cache_dir)
            until(lambda: not awaited(second))
            assert flight_of(second)._engine.link.away
        assert second.gather(theirs) == first.gather(mine)
        assert is_valid(second)


@pytest.mark.parametrize("broken", ["_usable", "_restore", "_take_over"])
def test_a_fault_while_waiting_ends_the_waiting(shared_cache_dir, monkeypatch, broken):
    """Whatever fails each time when what is awaited is looked at: it is computed."""

    def fail(*arguments):
        raise RuntimeError("broken")

    with two_clusters(shared_cache_dir, lease_seconds=3600) as (first, second):
        with held_by_first(first, second) as (mine, theirs):
            monkeypatch.setattr(flight_of(second), broken, fail)
            if broken == "_take_over":
                first.cancel(mine)
                until(lambda: not awaited(second))
        assert second.gather(theirs) == squares(3)
        assert stats_of(second).errors >= 1


def test_a_fault_of_the_gate_does_not_end_the_questions(shared_cache_dir, monkeypatch):
    """What is awaited is asked for again though finding out when it is time failed."""
    with two_clusters(shared_cache_dir) as (first, second):
        with held_by_first(first, second) as (_mine, theirs):

            def fail():
                flight_of(second)._next = type(flight_of(second))._next.__get__(flight_of(second))
                raise RuntimeError("broken")

            flight_of(second)._next = fail
            until(lambda: flight_of(second)._next is not fail)
        assert second.gather(theirs) == squares(3)
        assert stats_of(second).taken_over == 0


def test_waiting_has_a_limit_of_the_users(shared_cache_dir):
    """With a limit, a cluster computes itself what a living holder takes too long for."""
    with two_clusters(shared_cache_dir, lease_patience=0.1) as (first, second):
        with held_by_first(first, second, count=1) as (_mine, theirs):
            until(lambda: stats_of(second).taken_over == 1)
        assert theirs[0].result(PATIENCE) == squares(1)[0]


@pytest.mark.parametrize("policy", [{"lease_seconds": 0}, {"read_only": True}])
def test_without_leases_nobody_waits(shared_cache_dir, policy):
    """With leases switched off, or nothing stored, clusters compute side by side."""
    with two_clusters(shared_cache_dir, **policy) as (first, second):
        with held_up():
            futures = [client.map(square, numbers(2)) for client in (first, second)]
            for client in (first, second):
                until(lambda: sum(map(len, client.processing().values())) == 2)  # noqa: B023
        assert first.gather(futures[0]) == second.gather(futures[1])
        assert stats_of(first).awaited == stats_of(second).awaited == 0


def test_graphs_of_running_tasks_take_no_part_in_waiting(shared_cache_dir):
    """A task that submits a graph and waits for it keeps a thread: it awaits no other cluster."""
    from distributed import worker_client

    start = flights.start

    def outer():
        with worker_client() as client:
            return client.submit(square, start).result()

    with two_clusters(shared_cache_dir, lease_seconds=3600) as (first, second):
        with held_up():
            mine = first.submit(square, flights.start)
            until(lambda: len(flight_of(first).leases))
            theirs = second.submit(outer)
            until(lambda: sum(map(len, second.processing().values())) == 2)
        assert theirs.result(PATIENCE) == mine.result(PATIENCE)
        assert stats_of(second).awaited == 0


def test_leases_end_with_their_tasks(shared_cache_dir):
    """Nothing is held when everything is computed, stored, cancelled or failed."""
    with two_clusters(shared_cache_dir) as (first, _):
        with held_up():
            good = first.map(square, numbers(3))
            bad = first.submit(failing, flights.start)
            gone = first.submit(square, flights.start + 77)
            until(lambda: len(flight_of(first).leases) == 5)
            gone.cancel()
            until(lambda: len(flight_of(first).leases) == 4)
        wait([*good, bad], PATIENCE)
        sdc.Cache(first).flush(PATIENCE)
        until(lambda: not flight_of(first).leases)
        assert not flight_of(first).leases._unwritten


def test_explaining_tells_what_is_awaited(shared_cache_dir):
    """What another cluster computes, and what is only needed for it; at the holder it is a miss."""
    parts = [dask.delayed(square)(n) for n in numbers(2)]
    total = dask.delayed(len)(parts)
    on_top = dask.delayed(step)(total)
    with two_clusters(shared_cache_dir) as (first, second), held_up():
        mine = first.compute(total)
        until(lambda: len(flight_of(first).leases))
        explained = {row.key: row.reason for row in sdc.Cache(second).explain(total)}
        assert explained[total.key] == "awaited: another cluster computes it"
        assert {explained[p.key] for p in parts} == {
            "awaited: another cluster computes what uses it"
        }
        for client, collection in [(first, total), (second, on_top)]:
            # Who holds it computes it; what is not requested itself is not waited for.
            rows = sdc.Cache(client).explain(collection)
            assert {row.status for row in rows} == {"miss"}
            assert not any("awaited" in row.reason for row in rows)
        assert not mine.done()


def test_explaining_takes_no_leases(shared_cache_dir):
    """To ask what would be computed is not to compute it."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=shared_cache_dir)
        assert len(cache.explain(dask.delayed(square)(flights.start))) > 0
        assert not flight_of(client).leases
