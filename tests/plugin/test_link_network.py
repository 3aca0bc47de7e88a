"""Real servers behind a network that misbehaves: nothing is lost, and nobody waits for long."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3

import pytest
from clusters import kill_server
from links import hurry, item, until
from proxies import Proxy
from seamless_dask_cache.scheduler_plugin import connection
from seamless_dask_cache.scheduler_plugin.link import DatabaseLink
from seamless_dask_cache.scheduler_plugin.spool import Spool

from seamless_dask_cache.database import AsyncDatabaseClient
from seamless_dask_cache.embedded import ensure_server


class World:
    """A cache folder, its server, a proxy before it, and a link through the proxy."""

    def __init__(self, folder, proxy):
        self.folder = folder
        self.proxy = proxy
        self.token = None
        self.timeout = 30.0
        self.connects = 0
        self.acknowledged = []
        self.links = []

    async def connect(self):
        self.connects += 1
        endpoint = await asyncio.to_thread(ensure_server, self.folder)
        self.proxy.upstream = int(endpoint.url.rpartition(":")[2])
        client = AsyncDatabaseClient(
            self.proxy.url, token=self.token or endpoint.token, timeout=self.timeout
        )
        try:
            await client.get_protocol()
        except BaseException:
            await client.close()
            raise
        return client

    async def link(self, patience=10.0, *, must_answer=True):
        link = DatabaseLink(
            self.connect,
            patience=patience,
            on_stored=self.acknowledged.extend,
            spool=Spool(self.folder / "spool", "here"),
        )
        self.links.append(link)
        await link.open(must_answer=must_answer)
        return link

    async def close(self):
        await asyncio.gather(*(link.close(1.0) for link in self.links))

    def stored(self):
        """What the file holds, whoever serves it."""
        with contextlib.closing(sqlite3.connect(self.folder / "cache.db")) as database:
            rows = database.execute("SELECT checksum FROM transformation")
            return {
                int.from_bytes(key, "big") if isinstance(key, bytes) else int(key, 16)
                for (key,) in rows
            }


@pytest.fixture
def quick(monkeypatch):
    hurry(monkeypatch)


@pytest.fixture
async def world(cache_dir):
    async with Proxy(0) as proxy:
        world = World(cache_dir, proxy)
        yield world
        await world.close()


FAULTS = ["drop", "silent", "deaf", "half"]


def own_warnings(caplog):
    """What the cache warned of; clients of other tests may still complain in this process."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("seamless_dask_cache")
    ]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_broken_network_that_comes_back(world, quick, fault, caplog):
    """Lookups are empty, records wait, one warning is given; then all is as before."""
    world.timeout = 2.0
    link = await world.link(patience=1.0)
    link.store(item(0))
    assert await link.flush(30)
    world.proxy.mode = fault
    world.proxy.cut()
    for _ in range(20):
        found = await asyncio.wait_for(link.lookup([item(0)["transformation"]]), 30)
        assert found == {}
    assert link.failures == 1
    for n in range(1, 20):
        link.store(item(n))
    assert not await link.flush(0.1)
    world.proxy.mode = "pass"
    assert await link.flush(60)
    await until(lambda: not link.away)
    assert len(await link.lookup([item(n)["transformation"] for n in range(20)])) == 20
    assert world.acknowledged == [item(n) for n in range(20)]
    assert world.stored() == set(range(20))
    warnings = own_warnings(caplog)
    assert len(warnings) == 1
    assert "Computations go on without it" in warnings[0]


async def test_a_write_that_took_too_long_is_not_lost(world, quick):
    """An answer that does not come is no acknowledgement; writing it again does no harm."""
    world.timeout = 1.0
    link = await world.link()
    world.proxy.mode = "deaf"
    world.proxy.passed.clear()
    link.store(item(1))
    await asyncio.wait_for(world.proxy.passed.wait(), 30)
    assert world.stored() == {1}
    assert world.acknowledged == []
    world.proxy.mode = "pass"
    assert await link.flush(60)
    assert world.acknowledged == [item(1)]


async def test_a_slow_database_holds_one_computation_and_takes_all_records(world):
    """Every answer takes longer than patience: one lookup waits, writes get there."""
    link = await world.link(patience=0.1)
    world.proxy.delay = 0.5
    for n in range(50):
        assert await asyncio.wait_for(link.lookup([item(n)["transformation"]]), 30) == {}
    assert link.failures == 1
    for n in range(10):
        link.store(item(n))
    assert await link.flush(60)
    assert world.stored() == set(range(10))
    assert link.away
    world.proxy.delay = 0.0
    await until(lambda: not link.away)
    assert len(await link.lookup([item(0)["transformation"]])) == 1


@pytest.mark.parametrize("moment", ["before", "during", "after"])
async def test_a_server_killed_around_a_write(world, quick, moment):
    """What was acknowledged is there; what was queued gets there."""
    link = await world.link()
    if moment == "before":
        kill_server(world.folder)
    if moment == "during":
        world.proxy.mode = "deaf"
        world.proxy.passed.clear()
    for n in range(500):
        link.store(item(n))
    if moment == "during":
        await asyncio.wait_for(world.proxy.passed.wait(), 30)
        kill_server(world.folder)
        world.proxy.mode = "pass"
        world.proxy.cut()
    assert await link.flush(60)
    if moment == "after":
        kill_server(world.folder)
    found = await link.lookup([item(n)["transformation"] for n in range(500)])
    assert len(found) == 500
    assert world.acknowledged == [item(n) for n in range(500)]


async def test_a_server_killed_again_and_again(world, quick):
    """At every moment the file holds what was acknowledged, and in the end everything."""
    link = await world.link()
    for n in range(1_500):
        link.store(item(n))
        if n % 300 == 150:
            await until(lambda n=n: len(world.acknowledged) > n - 150)
            kill_server(world.folder)
            known = {int(found["transformation"], 16) for found in world.acknowledged}
            assert known <= world.stored()
        if n % 20 == 0:
            await asyncio.sleep(0)
    assert await link.flush(60)
    assert world.acknowledged == [item(n) for n in range(1_500)]
    assert world.stored() == set(range(1_500))
    assert world.connects > 4


async def test_a_scheduler_that_ends_while_the_database_is_away(world, quick):
    """The next one writes what the first one could not."""
    link = await world.link()
    world.proxy.mode = "drop"
    world.proxy.cut()
    for n in range(100):
        link.store(item(n))
    await asyncio.wait_for(link.close(timeout=1.0), 30)
    world.proxy.mode = "pass"
    link = await world.link()
    assert await link.flush(60)
    assert world.stored() == set(range(100))
    assert world.acknowledged == []


async def test_a_wrong_token_is_told_once_and_asked_about_seldom(world, caplog, monkeypatch):
    """Computations go on; the waiting between attempts grows."""
    hurry(monkeypatch)
    world.token = "wrong"
    link = await world.link(must_answer=False)
    link.store(item(1))
    assert await link.lookup([item(1)["transformation"]]) == {}
    await until(lambda: world.connects >= 4)
    assert link.connection._retry_seconds >= 4 * connection.FIRST_RETRY_SECONDS
    warnings = own_warnings(caplog)
    assert len(warnings) == 1
    assert "refuses the token" in warnings[0]
    world.token = None
    assert await link.flush(60)
    assert world.stored() == {1}


async def test_a_wrong_clock_changes_nothing(world, quick, monkeypatch):
    """Waiting and trying again do not look at the time of day; neither does the order on disk."""
    link = await world.link()
    world.proxy.mode = "drop"
    world.proxy.cut()
    assert await link.lookup([item(1)["transformation"]]) == {}
    for jump in (10**9, -(10**9)):
        monkeypatch.setattr("time.time", lambda jump=jump: 1.7e9 + jump)
        monkeypatch.setattr("time.time_ns", lambda jump=jump: int((1.7e9 + jump) * 1e9))
        link.store(item(link.unwritten))
    world.proxy.mode = "pass"
    assert await link.flush(60)
    assert world.acknowledged == [item(0), item(1)]


async def test_real_clients_take_hints_and_leases(world):
    """What the link passes on fits what the client and the server of this version know."""
    link = await world.link()
    skeleton, checksum, code = (digit * 64 for digit in "abc")
    link.store(item(1))
    link.note_cutoff((skeleton, checksum, item(1)["result"], 10, 0.5))
    link.note_cost(code, (1, 0.5, 10, 0, 0.0))
    link.note_cost(code, (1, 0.5, 10, 0, 0.0))
    assert await link.flush(30)
    found = await link.look_up([item(1)["transformation"]], [code])
    assert found.answers.keys() == {item(1)["transformation"]}
    assert (found.costs[code].runs, found.costs[code].seconds) == (2, 1.0)
    assert (await link.cutoffs([skeleton]))[skeleton][checksum].result == item(1)["result"]
    wanted = item(2)["transformation"]
    assert (await link.acquire("me", [wanted], 60.0)).granted == {wanted}
    assert await link.renew("me", 60.0) == 1
    assert wanted in (await link.leases([wanted])).held
    await link.release_all("me")
    assert not (await link.leases([wanted])).held
