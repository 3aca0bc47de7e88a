"""Overlapping graphs of several clients: what one releases while another counts on it."""

from __future__ import annotations

import asyncio
import logging
import random

import dask
import pytest
from clusters import cluster_of, wait_until_forgotten
from distributed import Client, wait
from distributed.diagnostics.plugin import SchedulerPlugin
from seamless_dask_cache.scheduler_plugin.restore import RestoreTask
from seamless_dask_cache.scheduler_plugin.storing import StoringTask

import seamless_dask_cache as sdc

NAME = "seamless-dask-cache"


@pytest.fixture(autouse=True)
def a_scheduler_that_validates_its_state(caplog):
    caplog.set_level(logging.INFO)
    with dask.config.set({"distributed.scheduler.validate": True}):
        yield
    assert "run_spec" not in caplog.text
    assert "Plugin failed" not in caplog.text


def increment(x):
    return x + 1


def double(x):
    return 2 * x


def add(*xs):
    return sum(xs)


class Runs(SchedulerPlugin):
    """Counts by key what workers ran, by the kind of its node."""

    name = "runs"

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.stored, self.bare = {}, {}

    def transition(self, key, start, finish, *args, **kwargs):
        if (start, finish) == ("processing", "memory"):
            node = self.scheduler.tasks[key].run_spec
            if not isinstance(node, RestoreTask):
                runs = self.stored if isinstance(node, StoringTask) else self.bare
                runs[key] = runs.get(key, 0) + 1


@pytest.fixture
def two(cache_dir):
    """Two clients of one cluster with a cache, and what runs there."""
    with cluster_of(dashboard=True) as first, Client(first.cluster, set_as_default=False) as second:
        cache = sdc.enable(first, cache_dir=cache_dir, min_seconds=0, load_seconds=0)
        runs = Runs(first.cluster.scheduler)
        first.cluster.scheduler.add_plugin(runs)
        yield first, second, cache, runs


def before_it_arrives(client, action):
    """Let something happen between the look at the scheduler and its next update."""

    plugin = client.cluster.scheduler.plugins[NAME]
    original = plugin._original

    async def arriving(**message):
        plugin._original = original
        await action(client.cluster.scheduler)
        await original(**message)

    plugin._original = arriving


def released_by(other, keys):
    """An action: another client releases keys, and Dask forgets what it can."""

    async def release(scheduler):
        scheduler.client_releases_keys(keys=keys, client=other.id)
        await asyncio.sleep(0)

    return release


def wait_until_no_holder_is_left(client):
    async def gone(dask_scheduler):
        while any(name.startswith(f"{NAME}-rely") for name in dask_scheduler.clients):
            await asyncio.sleep(0.01)

    client.run_on_scheduler(gone)


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_what_another_client_releases_meanwhile_stays_until_the_graph_arrives(two, warm):
    """Shared tasks are neither computed again nor computed without being stored."""
    first, second, cache, runs = two
    dsk = {"a": (increment, 1), "b": (double, "a"), "c": (add, "b", "a")}
    if warm:
        assert first.get(dsk, "c") == 6
        assert cache.flush(30)
        wait_until_forgotten(first)
    held = first.get(dsk, ["b", "c"], sync=False)
    wait(held)
    before_it_arrives(first, released_by(first, ["b", "c"]))
    more = second.get({**dsk, "d": (increment, "c")}, ["d", "b"], sync=False)
    assert second.gather(more) == [7, 4]
    assert runs.bare == {}
    assert all(count == 1 for count in runs.stored.values())
    assert cache.stats()["errors"] == 0
    wait_until_no_holder_is_left(first)
    del held, more
    wait_until_forgotten(first)


def test_what_is_released_while_it_runs_goes_on(two, tmp_path):
    """A task that another client gives up on runs on for the graph that counts on it."""
    first, second, _, runs = two
    gate = tmp_path / "gate"

    def slow(path, n):
        import os
        import time

        while not os.path.exists(path):
            time.sleep(0.01)
        return n

    with dask.annotate(cache=True):
        held = first.get({"s": (slow, str(gate), 3)}, ["s"], sync=False)
    scheduler = first.cluster.scheduler
    first.run_on_scheduler(_until_processing, key="s")
    run = scheduler.tasks["s"].run_id
    before_it_arrives(first, released_by(first, ["s"]))
    with dask.annotate(cache=True):
        more = second.get({"s": (slow, str(gate), 3), "t": (increment, "s")}, ["t"], sync=False)
    first.run_on_scheduler(_until_known, key="t")
    assert scheduler.tasks["s"].run_id == run
    gate.touch()
    assert second.gather(more) == [4]
    assert runs.bare == {}
    del held


async def _until_processing(dask_scheduler, key):
    while key not in dask_scheduler.tasks or dask_scheduler.tasks[key].state != "processing":
        await asyncio.sleep(0.01)


async def _until_known(dask_scheduler, key):
    while key not in dask_scheduler.tasks:
        await asyncio.sleep(0.01)


def test_a_key_that_stands_for_another_task_stays_with_its_inputs(two):
    """What is held with other inputs than a new graph names can be had until that arrives."""
    first, second, _, _ = two
    held = first.get({"a": (increment, 1), "b": (double, "a")}, ["b"], sync=False)
    wait(held)
    before_it_arrives(first, released_by(first, ["b"]))
    dsk = {"other": (increment, 1), "b": (double, "other"), "c": (increment, "b")}
    assert second.get(dsk, "c") == 5
    del held


def test_a_graph_that_never_arrives_holds_nothing_for_long(two):
    """Should the scheduler fail to read a graph, what it counted on is let go with the next."""
    first, second, _, _ = two
    held = first.get({"a": (increment, 1)}, ["a"], sync=False)
    wait(held)

    async def fail(scheduler):
        raise RuntimeError("on purpose")

    before_it_arrives(first, fail)
    lost = second.get({"a": (increment, 1), "b": (double, "a")}, ["b"], sync=False)
    assert second.submit(add, 1, 2).result() == 3
    wait_until_no_holder_is_left(first)
    held[0].release()
    del lost, held
    wait_until_forgotten(first)


def graphs(chooser):
    """Part of one graph of 30 tasks that all graphs share."""
    names = [f"n{i}" for i in range(30)]
    dsk = {names[0]: (increment, 0)}
    for i in range(1, 30):
        dsk[names[i]] = (add, i, names[i // 2], names[i - 1])
    return dsk, chooser.sample(names, chooser.randint(1, 3))


@pytest.mark.parametrize("seed", range(3))
def test_random_interleavings(two, seed):
    """Whatever two clients ask for and release, results are right, and no task runs unstored."""
    first, second, cache, runs = two
    chooser = random.Random(seed)
    expected = [1]
    for i in range(1, 30):
        expected.append(i + expected[i // 2] + expected[i - 1])
    live = []
    for _ in range(60):
        dsk, names = graphs(chooser)
        client = chooser.choice([first, second])
        live.append((names, client.get(dsk, names, sync=False), client))
        while len(live) > chooser.randint(1, 4):
            names, futures, client = live.pop(chooser.randrange(len(live)))
            if chooser.random() < 0.5:
                assert client.gather(futures) == [expected[int(n[1:])] for n in names]
            for future in futures:
                future.release()
    for names, futures, client in live:
        assert client.gather(futures) == [expected[int(n[1:])] for n in names]
    assert runs.bare == {}
    assert cache.stats()["errors"] == 0
    first.cluster.scheduler.validate_state()
    live.clear()
    del futures
    wait_until_forgotten(first)
    wait_until_no_holder_is_left(first)
