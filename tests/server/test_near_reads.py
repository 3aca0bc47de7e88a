"""Single reads on the event loop: as long as they are quick, and never wrong or in the way."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seamless_dask_cache.server import schema, tables
from seamless_dask_cache.server.database import Database
from seamless_dask_cache.server.lanes import Read
from seamless_dask_cache.server.near import PAUSE_SECONDS, UNANSWERED, NearReads
from serving import hex_of


class Clock:
    def __init__(self):
        self.now = 100.0
        self.disk_reads = 3

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def near(clock):
    connect = partial(sqlite3.connect, ":memory:", isolation_level=None)
    reads = NearReads(connect, clock, lambda: clock.disk_reads)
    yield reads
    reads.close()


class Reader:
    """Of single keys only."""

    def __init__(self, alone):
        self.alone = alone


def answering(value, clock=None, seconds=0.0, from_disk=True):
    """A reader with an answer, which may take its time."""

    def alone(connection, key):
        if clock is not None:
            clock.now += seconds
            clock.disk_reads += from_disk
        if isinstance(value, Exception):
            raise value
        return value

    return Read(Reader(alone), "key")


async def test_a_quick_read_is_answered_at_once(near):
    assert near.answer(answering("value")) == "value"
    assert near.answer(answering(None)) is None


async def test_after_a_slow_read_others_go_to_the_thread_for_a_while(near, clock):
    """One that waits for a disk would hold up all other requests."""
    assert near.answer(answering("slow", clock, 0.01)) == "slow"
    assert near.answer(answering("next")) is UNANSWERED
    clock.now += PAUSE_SECONDS - 0.001
    assert near.answer(answering("next")) is UNANSWERED
    clock.now += 0.002
    assert near.answer(answering("next")) == "next"


async def test_a_read_that_was_only_interrupted_is_not_slow(near, clock):
    """A busy machine interrupts whom it likes; the thread, too. A quarter of a second is slow."""
    assert near.answer(answering("value", clock, 0.2, from_disk=False)) == "value"
    assert near.answer(answering("next")) == "next"
    assert near.answer(answering("value", clock, 0.3, from_disk=False)) == "value"
    assert near.answer(answering("next")) is UNANSWERED


async def test_reads_from_the_disk_are_counted_once(near, clock):
    """What others read meanwhile may send some reads away, but not all that follow."""
    assert near.answer(answering("slow", clock, 0.01)) == "slow"
    clock.now += PAUSE_SECONDS + 1
    assert near.answer(answering("value", clock, 0.01, from_disk=False)) == "value"
    assert near.answer(answering("next")) == "next"


async def test_a_read_that_fails_is_left_to_the_thread(near):
    """Which tells what is wrong, or succeeds."""

    locked = sqlite3.OperationalError("database is locked")
    assert near.answer(answering(locked)) is UNANSWERED
    assert near.answer(answering("value")) == "value"


async def test_a_read_that_fails_slowly_is_slow(near, clock):
    """A disk that is about to fail takes its time."""
    failing = answering(sqlite3.OperationalError("disk I/O error"), clock, 0.01)
    assert near.answer(failing) is UNANSWERED
    assert near.answer(answering("value")) is UNANSWERED


async def test_a_transaction_that_cannot_be_ended_serves_nobody(near, monkeypatch):
    """It would show old rows for ever."""
    real = near._connection

    class Stuck:
        in_transaction = True

        def execute(self, statement):
            raise sqlite3.OperationalError("disk I/O error")

    assert near.answer(answering("value")) == "value"
    monkeypatch.setattr(near, "_connection", Stuck())
    await asyncio.sleep(0)
    assert near.answer(answering("value")) is UNANSWERED
    monkeypatch.setattr(near, "_connection", real)


async def test_what_is_acknowledged_is_read(tmp_path):
    """Over two connections, write by write."""
    database = Database(tmp_path / "data.db", writable=True)
    assert await database.read(tables.transformation_results, hex_of("t")) is None
    for n in range(50):
        result = hex_of(f"r{n}")
        await database.write(partial(tables.put_transformations, pairs=[(hex_of("t"), result)]))
        assert await database.read(tables.transformation_results, hex_of("t")) == result
    await database.close()


async def test_reads_of_one_moment_share_a_transaction(near):
    """And no later one, which would miss what was written meanwhile."""
    seen = []

    reader = Reader(lambda connection, key: seen.append(connection.in_transaction))
    connection = near._connection
    for _ in range(2):
        near.answer(Read(reader, "key"))
        near.answer(Read(reader, "key"))
        assert connection.in_transaction
        await asyncio.sleep(0)
        assert not connection.in_transaction
    assert seen == [True] * 4


READERS = [
    tables.transformation_results,
    tables.results_in_force,
    tables.buffer_infos,
    tables.execution_records,
]


@given(
    rows=st.dictionaries(st.integers(0, 5), st.integers(0, 2), max_size=6),
    contested=st.sets(st.integers(0, 5)),
    asked=st.integers(0, 6),
)
def test_a_key_alone_has_the_answer_that_it_has_among_others(rows, contested, asked):
    """Whichever way a request takes."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in schema.statements():
        connection.execute(statement)
    for key, result in rows.items():
        tables.put_transformations(connection, [(hex_of(f"t{key}"), hex_of(f"t{result}"))])
        tables.put_buffer_info(connection, hex_of(f"t{key}"), {"length": result})
    for key in contested & rows.keys():
        connection.execute(
            "INSERT INTO irreproducible_transformation (result, checksum, metadata)"
            " VALUES (?, ?, '{}')",
            (hex_of("other"), hex_of(f"t{key}")),
        )
    keys = [hex_of(f"t{n}") for n in range(7)]
    for reader in READERS:
        among = reader(connection, keys).get(keys[asked])
        assert reader.alone(connection, keys[asked]) == among
    connection.close()


async def test_reads_that_may_be_long_stay_off_the_loop(tmp_path):
    """Such as that of all transformations with one result."""
    database = Database(tmp_path / "data.db", writable=True)
    threads = []

    def long(connection, keys):
        threads.append(threading.get_ident())
        return dict.fromkeys(keys, "value")

    assert await database.read(long, "key") == "value"
    assert threads != [threading.get_ident()]
    await database.close()


async def test_reads_go_on_in_the_thread_after_a_slow_one(tmp_path):
    """With the same answers."""
    database = Database(tmp_path / "data.db", writable=True)
    await database.write(partial(tables.put_transformations, pairs=[(hex_of("t"), hex_of("r"))]))
    database._near._again_at = float("inf")
    assert await database.read(tables.transformation_results, hex_of("t")) == hex_of("r")
    assert await database.read(tables.transformation_results, hex_of("u")) is None
    await database.close()
