"""The link and the spool: what is queued reaches the database, also when it is away for long."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
from links import Script, hurry, item, levels_of_warnings, opened, until
from seamless_dask_cache.scheduler_plugin import writer
from seamless_dask_cache.scheduler_plugin.outbox import Batch
from seamless_dask_cache.scheduler_plugin.spool import Spool

from seamless_dask_cache.errors import DatabaseUnavailableError


@pytest.fixture
def quick(monkeypatch):
    hurry(monkeypatch)


class Away(Script):
    """A database that is away until it is told otherwise; `taken` has what it took, in order."""

    def __init__(self, here=False):
        super().__init__()
        self.here = here

    async def connect(self):
        if not self.here:
            raise DatabaseUnavailableError("gone")
        return await super().connect()

    async def _step(self):
        await super()._step()
        if not self.here:
            raise DatabaseUnavailableError("gone")


def spool_of(tmp_path):
    return Spool(tmp_path, "here")


def files(tmp_path):
    return list(tmp_path.rglob("*.jsonl"))


@pytest.fixture
def small_batches(monkeypatch):
    from seamless_dask_cache.scheduler_plugin import outbox, spool

    monkeypatch.setattr(outbox, "MAX_BATCH", 3)
    monkeypatch.setattr(spool, "MAX_BATCH", 3)


async def test_records_reach_the_disk_while_the_database_is_away(tmp_path, quick):
    """They are there soon after they were queued, and are written when the database is back."""
    script = Away()
    link, acknowledged = await opened(script, spool=spool_of(tmp_path), must_answer=False)
    for n in range(5):
        link.store(item(n))
    await until(lambda: files(tmp_path))
    link.store(item(5))
    assert not await link.flush(0.01)
    await until(lambda: link.unwritten == 6)
    script.here = True
    assert await link.flush(30)
    assert script.stored == acknowledged == [item(n) for n in range(6)]
    assert link.unwritten == 0
    assert not files(tmp_path)
    await link.close()


async def test_the_order_holds_across_disk_and_memory(tmp_path, quick, small_batches):
    """Removals and records take effect in the order in which they were queued."""
    script = Away()
    link, _ = await opened(script, spool=spool_of(tmp_path), must_answer=False)
    for n in range(10):
        link.store(item(n))
    await until(lambda: len(files(tmp_path)) == 4)
    link.forget(item(3)["transformation"])
    await until(lambda: len(files(tmp_path)) == 5)
    link.store(item(3))
    script.here = True
    assert await link.flush(30)
    assert script.stored == [*(item(n) for n in range(10)), item(3)]
    assert script.log.index(("forget", 3)) > script.log.index(("store", 9))
    await link.close()


async def test_a_closing_link_leaves_records_to_the_next(tmp_path):
    """What a scheduler could not write, a later one does, and does not count as its own."""
    link, _ = await opened(Away(), spool=spool_of(tmp_path), must_answer=False)
    for n in range(5):
        link.store(item(n))
    await asyncio.wait_for(link.close(timeout=60), 30)
    assert files(tmp_path)
    script = Away(here=True)
    link, acknowledged = await opened(script, spool=spool_of(tmp_path))
    assert await link.flush(30)
    assert script.stored == [item(n) for n in range(5)]
    assert acknowledged == []
    await link.close()
    assert not files(tmp_path)


async def test_closing_in_the_middle_of_a_write_loses_nothing(tmp_path):
    """A batch that is not acknowledged when the link closes is spooled."""
    script = Script(60)
    link, acknowledged = await opened(script, spool=spool_of(tmp_path))
    link.store(item(1))
    await until(lambda: script.requests)
    link.store(item(2))
    await asyncio.wait_for(link.close(timeout=0.01), 30)
    assert (script.stored, acknowledged) == ([], [])
    spool = spool_of(tmp_path)
    spool.adopt()
    assert spool.first().batch.items == [item(1), item(2)]
    spool.close()


async def test_what_is_left_behind_meanwhile_is_found(tmp_path, quick):
    """A link that was away looks for what others left when the database is back."""
    script = Away()
    link, _ = await opened(script, spool=spool_of(tmp_path), must_answer=False)
    link.store(item(1))
    await until(lambda: files(tmp_path))
    other = spool_of(tmp_path)
    other.put(Batch(1, [], [item(2)]))
    other.close()
    script.here = True
    assert await link.flush(30)
    assert {found["transformation"] for found in script.stored} == {
        item(n)["transformation"] for n in (1, 2)
    }
    await link.close()


async def test_lookups_do_not_wait_for_the_spool(tmp_path):
    """While old records are written, questions are answered."""
    left = spool_of(tmp_path)
    left.put(Batch(1, [], [item(1)]))
    left.close()
    written = asyncio.Event()

    class Busy(Script):
        async def store(self, items, **more):
            self.requests += 1
            await written.wait()
            await super().store(items, **more)

    script = Busy()
    link, _ = await opened(script, spool=spool_of(tmp_path))
    await until(lambda: script.requests)
    assert await asyncio.wait_for(link.lookup(["a"]), 10) == {"a": "answer"}
    assert not await link.flush(0.01)
    written.set()
    assert await link.flush(30)
    assert script.stored == [item(1)]
    await link.close()


async def test_memory_does_not_grow_while_a_write_takes_long(tmp_path, quick, monkeypatch):
    """Too many records go to disk, and still get there in order."""
    monkeypatch.setattr(writer, "MAX_IN_MEMORY", 10)
    script = Script()
    written = asyncio.Event()
    script.steps.append(written)
    link, acknowledged = await opened(script, spool=spool_of(tmp_path))
    link.store(item(0))
    await until(lambda: script.requests)
    for n in range(1, 30):
        link.store(item(n))
    await until(lambda: files(tmp_path))
    link.store(item(30))
    written.set()
    assert await link.flush(30)
    assert script.stored == acknowledged == [item(n) for n in range(31)]
    await link.close()


async def test_a_bad_record_in_the_spool_takes_no_other_with_it(tmp_path):
    """What the server refuses is dropped alone, also when it comes from disk."""
    left = spool_of(tmp_path)
    left.put(Batch(1, [], [item(0), item(1, bad=True), item(2)]))
    left.close()
    script = Script()
    link, _ = await opened(script, spool=spool_of(tmp_path))
    assert await link.flush(30)
    assert script.stored == [item(0), item(2)]
    assert not files(tmp_path)
    await link.close()


async def test_a_file_that_the_client_fails_on_is_put_aside(tmp_path, quick):
    """It is kept for people, and holds nothing up."""
    left = spool_of(tmp_path)
    left.put(Batch(1, [], [item(0)]))
    left.close()
    script = Script(TypeError("StoreItem has no field 'later'"))
    link, _ = await opened(script, spool=spool_of(tmp_path))
    assert await link.flush(30)
    link.store(item(1))
    assert await link.flush(30)
    assert script.stored == [item(1)]
    assert len(list(tmp_path.rglob("*.damaged"))) == 1
    await link.close()


async def test_without_a_usable_disk_records_wait_in_memory(tmp_path, quick, caplog):
    """A folder that cannot be written is warned of once, and costs nothing else."""
    (tmp_path / "file").write_text("")
    script = Away()
    link, acknowledged = await opened(script, spool=spool_of(tmp_path / "file"), must_answer=False)
    for n in range(5):
        link.store(item(n))
        await until(lambda: "spool cannot be written" in caplog.text)
    script.here = True
    assert await link.flush(30)
    assert acknowledged == [item(n) for n in range(5)]
    assert caplog.text.count("spool cannot be written") == 1
    await link.close()


@pytest.mark.parametrize("method", ["adopt", "put"])
async def test_a_disk_that_hangs_holds_nobody(tmp_path, quick, monkeypatch, method):
    """Records wait in memory; lookups, writes and closing go on."""
    monkeypatch.setattr(writer, "DISK_SECONDS", 0.05)
    monkeypatch.setattr(writer, "CLOSE_SECONDS", 0.05)
    released = threading.Event()
    spool = spool_of(tmp_path)
    monkeypatch.setattr(spool, method, lambda *_: released.wait(60))
    try:
        script = Away()
        link, acknowledged = await opened(script, spool=spool, must_answer=False)
        link.store(item(1))
        script.here = True
        assert await link.flush(30)
        assert acknowledged == [item(1)]
        assert await link.lookup(["a"]) == {"a": "answer"}
        await asyncio.wait_for(link.close(), 30)
    finally:
        released.set()


async def test_closing_does_not_wait_for_a_disk_that_hangs(tmp_path, monkeypatch, caplog):
    """What cannot be saved in time is told."""
    monkeypatch.setattr(writer, "CLOSE_SECONDS", 0.05)
    released = threading.Event()
    spool = spool_of(tmp_path)
    monkeypatch.setattr(spool, "put", lambda *_: released.wait(60))
    try:
        link, _ = await opened(Away(), spool=spool, must_answer=False)
        link.store(item(1))
        await asyncio.wait_for(link.close(), 30)
        assert "1 cache records could not be written" in caplog.text
    finally:
        released.set()


async def test_a_reader_of_a_database_touches_no_spool(tmp_path):
    """Without the right to write, what others left behind is not ours to write."""
    left = spool_of(tmp_path)
    left.put(Batch(1, [], [item(1)]))
    left.close()
    script = Script()
    link, _ = await opened(script, spool=spool_of(tmp_path), writable=False)
    link.store(item(2))
    assert await link.flush(30)
    await link.close()
    assert script.stored == []
    assert len(files(tmp_path)) == 1


async def test_a_slow_database_still_takes_records(tmp_path, quick, caplog):
    """Too slow for a computation to wait for it is not too slow to be written to."""

    class Slow(Script):
        async def lookup(self, transformations):
            await asyncio.sleep(60)

    script = Slow()
    link, acknowledged = await opened(script, patience=0.05, spool=spool_of(tmp_path))
    assert await link.lookup(["a"]) == {}
    link.store(item(1))
    assert await link.flush(30)
    assert acknowledged == [item(1)]
    assert link.away
    assert levels_of_warnings(caplog) == [logging.WARNING]
    await link.close()
