"""What Dask promises about where and how often tasks run, and of clusters that change."""

from __future__ import annotations

import os
import threading
import time

import dask
import psutil
import pytest
from clusters import wait_until_forgotten
from distributed import Variable, wait
from ways import MANY, addresses, cached

import seamless_dask_cache as sdc


class State:
    """What tasks of this process share with the tests; its identity is that there is one."""

    def __init__(self):
        self.clear()

    def clear(self):
        self.failures = {}
        self.entered, self.leave = threading.Event(), threading.Event()
        self.turns = threading.Semaphore(0)


STATE = State()
sdc.register_identity(State, lambda state: "state")


@pytest.fixture(autouse=True)
def fresh_state():
    STATE.clear()


def increment(x):
    return x + 1


def double(x):
    return 2 * x


def total(values):
    return sum(values)


def refuses_twice(name):
    count = STATE.failures[name] = STATE.failures.get(name, 0) + 1
    if count <= 2:
        raise OSError(f"failure {count}")
    return name


def refuses_twice_in_turn(name):
    STATE.turns.acquire(timeout=30)
    return refuses_twice(name)


def lasts(n):
    STATE.entered.set()
    STATE.leave.wait(30)
    return n


def fails(x):
    raise ValueError(f"no {x}", x)


def where(client, futures):
    wait(futures)
    return {address for holders in client.who_has(futures).values() for address in holders}


def kill(client, address):
    psutil.Process(client.run(os.getpid, workers=[address])[address]).kill()


# Annotations --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, MANY], ids=["few", "many"])
@pytest.mark.parametrize("annotation", ["workers", "resources"])
def test_tasks_are_where_they_must_be(cache_dir, annotation, count):
    """Computed, restored one by one or as many: results are on the worker that was asked for."""
    for _ in range(2):
        with cached(cache_dir) as (client, cache):
            second = addresses(client)[1]
            client.cluster.scheduler.add_resources(worker=second, resources={"hands": 1})
            client.run(lambda dask_worker: dask_worker.state.total_resources.update(hands=1))
            client.run(lambda dask_worker: dask_worker.state.available_resources.update(hands=1))
            wish = {"workers": [second]} if annotation == "workers" else {"resources": {"hands": 1}}
            submitted = client.map(increment, range(count), **wish)
            with dask.annotate(**wish):
                values = [dask.delayed(double)(n) for n in range(count)]
            computed = client.compute(values, optimize_graph=False)
            assert where(client, [*submitted, *computed]) == {second}
            assert client.gather(computed) == [2 * n for n in range(count)]
            stats = cache.stats()
            del submitted, computed
            wait_until_forgotten(client)
    assert (stats["computed"], stats["restored"]) == (0, 2 * count)


@pytest.mark.parametrize("count", [3, MANY], ids=["few", "many"])
def test_the_scheduler_knows_every_annotation(cache_dir, count):
    """Restored tasks have the priority, the retries and the restrictions of computed ones."""
    for _ in range(2):
        with cached(cache_dir) as (client, _cache):
            first = addresses(client)[0]
            wish = {"priority": 7, "retries": 3, "workers": [first], "allow_other_workers": True}
            with dask.annotate(**wish):
                values = [dask.delayed(increment)(n) for n in range(count)]
            futures = [
                *client.compute(values, optimize_graph=False),
                *client.map(double, range(count), **wish),
            ]
            wait(futures)
            tasks = [client.cluster.scheduler.tasks[future.key] for future in futures]
            assert {task.priority[0] for task in tasks} == {-7}
            assert {task.retries for task in tasks} == {3}
            assert all(task.worker_restrictions == {first} for task in tasks)
            assert all(task.loose_restrictions for task in tasks)
            del futures, tasks
            wait_until_forgotten(client)


def test_retries_go_on_until_it_works(cache_dir):
    """A function that fails twice is computed with three retries, and then cached."""
    for computed in (1, 0):
        with cached(cache_dir) as (client, cache):
            with dask.annotate(retries=3):
                annotated = dask.delayed(refuses_twice)("annotated")
            given = client.submit(refuses_twice, "given", retries=3)
            values = client.compute(annotated, optimize_graph=False).result(), given.result()
            assert values == ("annotated", "given")
            assert cache.stats()["computed"] == 2 * computed
            assert cache.flush(30)
    assert STATE.failures == {"annotated": 3, "given": 3}


# Errors -------------------------------------------------------------------------------------------


def test_errors_are_raised_anew_each_time(cache_dir):
    """An error has its type, message and arguments, cold and warm; it is never stored."""
    for _ in range(2):
        with cached(cache_dir) as (client, cache):
            for future in (client.submit(fails, 3), client.compute(dask.delayed(fails)(3))):
                with pytest.raises(ValueError, match="no 3") as caught:
                    future.result()
                assert caught.value.args == ("no 3", 3)
            with pytest.raises(ValueError, match="no 4"):
                dask.delayed(increment)(dask.delayed(fails)(4)).compute()
            assert cache.stats()["hits"] == 0


def test_an_erred_future_can_be_tried_again(cache_dir):
    """``retry`` runs the task once more; what follows it is computed and cached."""
    with cached(cache_dir) as (client, cache):
        future = client.submit(refuses_twice_in_turn, "again")
        behind = client.submit(len, future)
        for _ in range(2):
            STATE.turns.release()
            wait([future, behind])
            assert behind.status == "error"
            behind.retry()  # and what it needs, which fails again no sooner than Dask knows of that
        STATE.turns.release()
        assert (future.result(), behind.result()) == ("again", 5)
        assert cache.flush(30)
        assert cache.stats()["stored"] == 2


# Cancelling and forgetting ------------------------------------------------------------------------


def held_back(client, gate):
    """Let the cache judge no graph before the gate opens."""

    def hold(dask_scheduler):
        plugin = dask_scheduler.plugins["seamless-dask-cache"]
        prepared = plugin.prepared

        async def waiting(messages):
            import asyncio

            while not gate.is_set():
                await asyncio.sleep(0.005)
            return await prepared(messages)

        plugin.prepared = waiting

    hold(client.cluster.scheduler)


def test_futures_cancelled_while_their_graph_is_judged(cache_dir):
    """They are cancelled; the same work can be asked for again."""
    gate = threading.Event()
    with cached(cache_dir) as (client, _):
        held_back(client, gate)
        futures = client.map(increment, range(MANY))
        client.cancel(futures)
        gate.set()
        assert all(future.cancelled() for future in futures)
        del futures
        assert client.submit(double, 1).result() == 2  # it comes behind the cancellation
        wait_until_forgotten(client)
        assert client.gather(client.map(increment, range(MANY))) == list(range(1, MANY + 1))
        wait_until_forgotten(client)


def test_futures_cancelled_while_they_run(cache_dir):
    """What runs is let go of; nothing of it is left, and other work goes on."""
    with cached(cache_dir) as (client, _):
        futures = client.map(lasts, range(6))
        assert STATE.entered.wait(30)
        client.cancel(futures)
        STATE.leave.set()
        del futures
        assert client.submit(increment, 1).result() == 2
        wait_until_forgotten(client)


def test_what_follows_a_graph_waits_for_it(cache_dir):
    """Datasets and variables that come behind a graph still being judged find its keys."""
    gate = threading.Event()
    with cached(cache_dir) as (client, _):
        held_back(client, gate)
        held = client.persist(dask.delayed(increment)(1))
        timer = threading.Timer(0.2, gate.set)
        timer.start()
        client.publish_dataset(mine=held)
        del held
        assert client.get_dataset("mine").compute() == 2
        client.unpublish_dataset("mine")
        variable = Variable("v", client=client)
        variable.set(client.submit(increment, 2))
        assert variable.get().result() == 3
        variable.delete()
        assert client.submit(increment, 3).result() == 4
        timer.join()
        wait_until_forgotten(client)


# Clusters that change -----------------------------------------------------------------------------


def filled(cache_dir, **options):
    with cached(cache_dir, **options) as (client, cache):
        client.gather(client.map(increment, range(MANY)))
        client.gather(client.map(double, range(3)))
        assert cache.flush(30)


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_restart(cache_dir, warm):
    """After ``client.restart`` old futures are cancelled, and the same work is done or served."""
    if warm:
        filled(cache_dir)
    with cached(cache_dir, processes=True) as (client, cache):
        for _ in range(2):
            futures = client.map(increment, range(MANY)) + client.map(double, range(3))
            wait(futures)
            client.restart()
            assert all(future.cancelled() for future in futures)
        assert client.gather(client.map(increment, range(MANY))) == list(range(1, MANY + 1))
        assert cache.stats()["computed"] <= (0 if warm else MANY + 3)
        del futures
        wait_until_forgotten(client)


def test_killed_workers_lose_nothing(cache_dir):
    """Results restored one by one and in bulk come back after the death of a worker."""
    filled(cache_dir)
    with cached(cache_dir, processes=True) as (client, cache):
        many, few = client.map(increment, range(MANY)), client.map(double, range(3))
        assert where(client, many) == set(addresses(client))
        wait(few)
        kill(client, addresses(client)[0])
        behind = client.map(double, many)
        assert client.gather(behind) == [2 * (n + 1) for n in range(MANY)]
        assert client.gather(many + few) == [*range(1, MANY + 1), 0, 2, 4]
        assert cache.stats()["computed"] == MANY
        del many, few, behind
        wait_until_forgotten(client)


def test_leaving_workers_hand_over_what_was_restored(cache_dir):
    """Workers that retire lose nothing of what was loaded into their memory."""
    filled(cache_dir)
    with cached(cache_dir, n_workers=3) as (client, cache):
        many = client.map(increment, range(MANY))
        assert len(where(client, many)) == 3
        client.retire_workers(addresses(client)[1:])
        assert client.gather(client.map(double, many)) == [2 * (n + 1) for n in range(MANY)]
        assert client.submit(total, many).result() == sum(range(1, MANY + 1))
        assert cache.stats()["restored"] == MANY
        del many
        wait_until_forgotten(client)


def test_an_adaptive_cluster(cache_dir):
    """Workers come for what is restored and go when it is let go of."""
    filled(cache_dir)
    with cached(cache_dir, n_workers=1) as (client, cache):
        client.cluster.adapt(minimum=0, maximum=2, interval="50ms", wait_count=1)
        for _ in range(2):
            many = client.map(increment, range(MANY))
            assert client.gather(many) == list(range(1, MANY + 1))
            assert client.gather(client.map(double, many)) == [2 * n for n in range(1, MANY + 1)]
            del many
            wait_until_forgotten(client)
            while client.cluster.scheduler.workers:
                time.sleep(0.01)
        assert cache.stats()["computed"] <= MANY + 3
