"""The messages of a client keep their order while its graphs are judged together."""

from __future__ import annotations

import asyncio
import gc
import random
import time

import pytest
from clusters import cluster_of
from distributed import Client, fire_and_forget
from faults import wait_for
from seamless_dask_cache.scheduler_plugin import intake as intake_module
from seamless_dask_cache.scheduler_plugin.intake import Intake

import seamless_dask_cache as sdc


class Judge:
    """Judges when it is told to, and notes what happens in which order."""

    def __init__(self):
        self.free = asyncio.Event()
        self.judged = []
        self.log = []
        self.broken = None

    async def prepared(self, messages):
        self.judged.append([message["name"] for message in messages])
        await self.free.wait()
        return [f"judged {message['name']}" for message in messages]

    async def handed_over(self, message, submission):
        await asyncio.sleep(0)
        if message["name"] == self.broken:
            raise ValueError("broken")
        self.log.append((message["name"], submission))


class Stream:
    """The messages of one client, read by one task as the scheduler does."""

    def __init__(self, judge):
        self.judge = judge
        self.intake = Intake(judge)
        self.graph = self.intake.graphs(None)
        self.remove = self.intake.departure(
            lambda client, stimulus_id: judge.log.append(f"{client} left")
        )

    def other(self, name):
        return self.intake.others(name, lambda **message: self.judge.log.append(name))

    async def done(self):
        self.judge.free.set()
        await self.intake.drain()


def run(story):
    async def told():
        judge = Judge()
        await asyncio.wait_for(story(judge, Stream(judge)), 10)

    asyncio.run(told())


def test_what_waits_is_judged_together():
    """The first graph is judged at once; those that come meanwhile are judged in one go."""

    async def story(judge, stream):
        for n in range(5):
            await stream.graph(name=n)
            await asyncio.sleep(0)
        await stream.done()
        assert judge.judged == [[0], [1, 2, 3, 4]]
        assert judge.log == [(n, f"judged {n}") for n in range(5)]

    run(story)


def test_nothing_overtakes():
    """Other messages wait behind graphs, and graphs behind them."""

    async def story(judge, stream):
        await stream.graph(name=1)
        await stream.other("release")()
        await stream.graph(name=2)
        await stream.other("desire")()
        assert judge.log == []
        await stream.done()
        assert judge.log == [(1, "judged 1"), "release", (2, "judged 2"), "desire"]
        await stream.other("report")()
        assert judge.log[-1] == "report"

    run(story)


def test_a_client_leaves_after_its_last_graph():
    """The removal of a client waits for its graphs; without any it happens at once."""

    async def story(judge, stream):
        stream.remove(client="early")
        await stream.graph(name=1)
        stream.remove(client="late")
        await stream.done()
        assert judge.log == ["early left", (1, "judged 1"), "late left"]

    run(story)


def test_calls_of_a_client_wait_behind_its_messages():
    """Scattering again comes after the release that was said before; of other clients at once."""

    async def story(judge, stream):
        call = stream.intake.behind(lambda **message: judge.log.append(message["client"]))
        await stream.graph(name=1, client="mine")
        mine = asyncio.create_task(call(client="mine"))
        await call(client="another")
        assert judge.log == ["another"]
        await stream.done()
        await mine
        assert judge.log == ["another", (1, "judged 1"), "mine"]

    run(story)


def test_streams_do_not_wait_for_each_other():
    """What one client waits for is nothing to another."""

    async def story(judge, stream):
        await stream.graph(name=1)

        async def other_client():
            await stream.other("release")()

        await asyncio.create_task(other_client())
        assert judge.log == ["release"]
        await stream.done()

    run(story)


def test_a_graph_that_fails_lets_the_next_ones_through():
    """An error of the scheduler ends nothing else."""

    async def story(judge, stream):
        judge.broken = 2
        for n in range(4):
            await stream.graph(name=n)
        await stream.done()
        assert [name for name, _ in judge.log] == [0, 1, 3]

    run(story)


@pytest.mark.parametrize("error", [ValueError("broken"), StopIteration(), TimeoutError()])
def test_graphs_that_cannot_be_judged_are_scheduled_as_they_came(error):
    """Though judging fails altogether, nothing is lost, and nothing waits for ever."""

    async def story(judge, stream):
        async def prepared(messages):
            await asyncio.sleep(0)
            raise error

        judge.prepared = prepared
        for n in range(3):
            await stream.graph(name=n)
            await stream.other(f"after {n}")()
        stream.remove(client="c")
        await stream.done()
        graphs = [[(n, None), f"after {n}"] for n in range(3)]
        assert judge.log == [*(entry for pair in graphs for entry in pair), "c left"]

    run(story)


def test_handlers_that_fail_let_the_next_ones_through():
    """Whatever a message of a client leads to."""

    async def story(judge, stream):
        async def failing_later(**message):
            await asyncio.sleep(0)
            raise ValueError("broken")

        def failing(**message):
            raise ValueError("broken")

        operations = sorted(intake_module.CLIENT_OPERATIONS - {intake_module.GRAPH})
        await stream.graph(name=1)
        for operation in operations:
            for original in (failing, failing_later):
                await stream.intake.others(operation, original)()
            await stream.other(operation)()
        leave = stream.intake.departure(failing)
        leave(client="c")
        await stream.graph(name=2)
        await stream.done()
        assert judge.log == [(1, "judged 1"), *operations, (2, "judged 2")]

    run(story)


def test_thousands_of_messages_of_many_clients_keep_their_order():
    """None is lost, doubled or moved, however they fall together."""
    choice = random.Random(5)

    async def story(judge, stream):
        judge.free.set()
        sent = {client: [] for client in range(5)}

        async def talk(client):
            for n in range(1_000):
                name = (client, n)
                if choice.random() < 0.5:
                    await stream.graph(name=name, client=str(client))
                else:
                    await stream.other(name)()
                sent[client].append(name)
                for _ in range(choice.choice([0, 0, 0, 1, 5])):
                    await asyncio.sleep(0)

        await asyncio.gather(*(asyncio.create_task(talk(client)) for client in sent))
        await stream.done()
        came = [entry if isinstance(entry[0], int) else entry[0] for entry in judge.log]
        for client, names in sent.items():
            assert [name for name in came if name[0] == client] == names

    run(story)


def test_a_restart_drops_graphs_of_clients_that_left():
    """Their streams are gone, and the scheduler must not learn their graphs all the same."""

    async def story(judge, stream):
        async def guest():
            await stream.graph(name=1)
            await stream.graph(name=2)
            stream.remove(client="guest")

        await asyncio.create_task(guest())
        gc.collect()
        await asyncio.sleep(0)
        stream.intake.restart()
        await stream.done()
        assert judge.log == ["guest left"]

    run(story)


def test_a_restart_drops_what_was_said_before():
    """The scheduler would have forgotten it; that a client left still counts."""

    async def story(judge, stream):
        await stream.graph(name=1)
        await stream.other("client-releases-keys")()
        stream.remove(client="c")
        await asyncio.sleep(0)
        stream.intake.restart()
        await stream.graph(name=2)
        await stream.done()
        assert judge.log == ["c left", (2, "judged 2")]

    run(story)


def test_reading_stops_when_too_much_waits(monkeypatch):
    """A client that sends faster than its graphs are judged is not read further."""
    monkeypatch.setattr(intake_module, "MOST_WAITING", 3)

    async def story(judge, stream):
        async def reading():
            for n in range(6):
                await stream.graph(name=n)

        reader = asyncio.create_task(reading())
        while len(judge.judged) < 1:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not reader.done()
        judge.free.set()
        await reader
        await stream.done()
        assert [name for name, _ in judge.log] == list(range(6))

    run(story)


# With a real scheduler ----------------------------------------------------------------------------


def increment(x):
    return x + 1


def touch_behind(gate, path):
    wait_for(gate.exists)
    path.touch()


def count_lookups(dask_scheduler):
    engine = dask_scheduler.plugins["seamless-dask-cache"].engine
    engine.lookups = 0
    original = engine.link.look_up

    async def look_up(*arguments):
        engine.lookups += 1
        return await original(*arguments)

    engine.link.look_up = look_up


def lookups(dask_scheduler):
    return dask_scheduler.plugins["seamless-dask-cache"].engine.lookups


def test_a_loop_of_submits_asks_the_database_less_often_than_it_submits(client, cache):
    """Small graphs that come in a row share lookups, and all results are right."""
    client.run_on_scheduler(count_lookups)
    futures = [client.submit(increment, n) for n in range(300)]
    chain = client.submit(increment, 1000)
    for _ in range(50):
        chain = client.submit(increment, chain)
    assert client.gather(futures) == list(range(1, 301))
    assert chain.result() == 1051
    assert 0 < client.run_on_scheduler(lookups) < 200
    assert cache.flush(30)
    stats = cache.stats()
    assert stats["graphs"] == 351
    assert stats["misses"] == stats["stored"] == 351
    assert stats["refused"] == stats["errors"] == 0


def test_a_chain_of_submits_is_found_again(cache_dir):
    """Graphs that were judged together have the identity that they have one by one."""
    for warm in (False, True):
        with cluster_of() as client:
            cache = sdc.enable(client, cache_dir=cache_dir)
            chain = [client.submit(increment, 5)]
            for _ in range(30):
                chain.append(client.submit(increment, chain[-1]))
                if warm:
                    chain[-1].result()  # one by one
            assert chain[-1].result() == 36
            assert cache.flush(30)
            stats = cache.stats()
            assert stats["computed"] == (0 if warm else 31)
            assert stats["hits" if warm else "misses"] == 31
            del chain


def test_what_is_fired_and_forgotten_runs_though_the_client_leaves(client, cache, tmp_path):
    """Tasks of a client that goes at once are neither lost nor kept for ever."""
    paths, gate = [tmp_path / str(n) for n in range(20)], tmp_path / "gate"
    with Client(client.cluster.scheduler_address, set_as_default=False) as guest:
        for path in paths:
            fire_and_forget(guest.submit(touch_behind, gate, path))
        name = guest.id
    # Dask itself keeps for ever what has ended before it hears that nobody will ask for it.
    gate.touch()
    deadline = time.monotonic() + 20
    while not all(path.exists() for path in paths) or client.cluster.scheduler.tasks:
        assert time.monotonic() < deadline, "a task was lost, or is kept"
        time.sleep(0.01)
    assert name not in client.cluster.scheduler.clients


def test_released_futures_leave_nothing_behind(client, cache):
    """Submitting and letting go, over and over, is in order for the scheduler."""
    for n in range(100):
        client.submit(increment, n)  # let go at once
    last = client.submit(increment, -1)
    assert last.result() == 0
    del last
    deadline = time.monotonic() + 20
    while client.cluster.scheduler.tasks:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert cache.stats()["errors"] == 0


def test_cancelling_comes_after_submitting(client, cache):
    """A future that is cancelled at once is cancelled, and others go on."""
    futures = [client.submit(time.sleep, 0.5, pure=False) for _ in range(9)]
    client.cancel(futures)
    assert client.submit(increment, 1).result(timeout=20) == 2
    assert all(future.cancelled() for future in futures)


def test_disabling_in_the_middle_keeps_the_order(client, cache):
    """What waited is scheduled before what comes after the cache is gone."""
    futures = [client.submit(increment, n) for n in range(200)]
    cache.disable()
    futures += [client.submit(increment, future) for future in futures]
    assert client.gather(futures[200:]) == list(range(2, 202))
    handlers = client.run_on_scheduler(lambda dask_scheduler: str(dask_scheduler.stream_handlers))
    assert "Intake" not in handlers


@pytest.mark.parametrize("n", [1, 30])
def test_a_restart_in_the_middle_leaves_a_working_scheduler(cache_dir, n):
    """After a restart, new graphs are computed, and old futures are cancelled."""
    with cluster_of(processes=True, workers=1) as client:
        sdc.enable(client, cache_dir=cache_dir)
        old = [client.submit(increment, k) for k in range(n)]
        client.restart()
        assert client.submit(increment, 77).result(timeout=30) == 78
        assert all(future.cancelled() for future in old)
