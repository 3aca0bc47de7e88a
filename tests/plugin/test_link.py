"""The link to the database: nothing queued is lost, nothing asked waits for long."""

from __future__ import annotations

import asyncio

import pytest
from seamless_dask_cache.scheduler_plugin.link import DatabaseLink

from seamless_dask_cache.errors import DatabaseError, DatabaseUnavailableError


class Script:
    """A client that does what it is told, call by call; then everything succeeds."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.stored, self.forgotten, self.clients = [], [], 0

    async def connect(self):
        self.clients += 1
        return self

    async def _step(self):
        step = self.steps.pop(0) if self.steps else None
        if isinstance(step, Exception):
            raise step
        if step is not None:
            await asyncio.sleep(step)

    async def store(self, items):
        await self._step()
        if any(item.get("bad") for item in items):
            raise DatabaseError("malformed")
        self.stored += items

    async def forget(self, transformations):
        await self._step()
        self.forgotten += transformations

    async def lookup(self, transformations):
        await self._step()
        return dict.fromkeys(transformations, "answer")

    async def close(self):
        pass


async def opened(script, patience=5.0):
    acknowledged = []
    link = DatabaseLink(script.connect, patience=patience, on_stored=acknowledged.extend)
    await link.open()
    return link, acknowledged


@pytest.mark.parametrize(
    "fault", [DatabaseUnavailableError("gone"), OSError("cut"), asyncio.TimeoutError()]
)
async def test_records_survive_a_failed_write(fault):
    """What could not be written is written when the database answers again."""
    script = Script(fault)
    link, acknowledged = await opened(script)
    for n in range(5):
        link.store({"n": n})
    assert await link.flush(30)
    assert [item["n"] for item in script.stored] == list(range(5))
    assert acknowledged == script.stored
    assert script.clients == 2
    await link.close()


async def test_one_bad_record_does_not_take_others_with_it():
    """A record that the server refuses is dropped alone."""
    script = Script()
    link, _ = await opened(script)
    for n in range(5):
        link.store({"n": n, "bad": n == 2})
    assert await link.flush(30)
    assert [item["n"] for item in script.stored] == [0, 1, 3, 4]
    assert link.dropped == 1
    await link.close()


async def test_an_unforeseen_fault_does_not_stop_the_writer():
    """Whatever a write raises, the next one is tried, and flush ends."""
    script = Script(RuntimeError("nobody thought of this"))
    link, _ = await opened(script)
    link.store({"n": 0})
    assert await link.flush(30)
    link.store({"n": 1})
    assert await link.flush(30)
    assert [item["n"] for item in script.stored] == [1]
    await link.close()


async def test_a_lookup_takes_no_longer_than_patience():
    """A slow answer is no answer; the database is then left alone for a while."""
    script = Script(60)
    link, _ = await opened(script, patience=0.1)
    assert await asyncio.wait_for(link.lookup(["a"]), 10) == {}
    assert link.away
    assert await link.lookup(["a"]) == {}
    await link.close()


async def test_a_lookup_reconnects_at_once():
    """A server that stopped because it had nothing to do is found again by the same lookup."""
    script = Script(DatabaseUnavailableError("stopped"))
    link, _ = await opened(script)
    assert await link.lookup(["a"]) == {"a": "answer"}
    assert not link.away
    await link.close()


async def test_forgetting_goes_before_storing():
    """A record that is forgotten and stored anew is there in the end."""
    script = Script()
    link, _ = await opened(script)
    link.forget("a")
    link.store({"transformation": "a"})
    assert await link.flush(30)
    assert script.forgotten == ["a"]
    assert len(script.stored) == 1
    await link.close()
