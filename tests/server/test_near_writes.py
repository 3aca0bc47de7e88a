"""Small commits on the event loop, and when they go to the writer's thread instead."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from functools import partial

import pytest
from seamless_dask_cache.server import near_writes, tables
from seamless_dask_cache.server.database import Database, _connect_writer
from seamless_dask_cache.server.lanes import Outcome, Row
from seamless_dask_cache.server.near_writes import (
    CHECKPOINT_ROWS,
    MOST_ROWS,
    PAUSE_FACTOR,
    PAUSE_SECONDS,
    NearCommits,
)
from serving import hex_of


class Clock:
    """Gives the time, and lets it pass whenever it is asked."""

    def __init__(self):
        self.now, self.step = 100.0, 0.0

    def __call__(self):
        self.now += self.step
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def connection(tmp_path):
    connection = _connect_writer(tmp_path / "x.db")
    connection.execute("PRAGMA busy_timeout = 0")
    yield connection
    connection.close()


@pytest.fixture
def near(connection, clock):
    return NearCommits(connection, clock)


def rows(*numbers):
    return [Row(tables.put_transformations, (hex_of(f"{n}"), hex_of(f"r{n}"))) for n in numbers]


def known(connection):
    return {row[0] for row in connection.execute("SELECT checksum FROM transformation")}


def test_a_few_rows_are_committed_at_once(near, connection, tmp_path):
    """By one transaction, which another connection sees."""
    assert near.commit(rows(1, 2, 3)) == [Outcome(None)] * 3
    assert not connection.in_transaction
    other = sqlite3.connect(tmp_path / "x.db")
    assert known(other) == {hex_of(f"{n}") for n in (1, 2, 3)}
    other.close()


def test_batches_and_many_rows_belong_into_the_thread(near, connection):
    """They would hold up the loop."""
    assert near.commit([*rows(1), partial(tables.put_transformations, pairs=[])]) is None
    assert near.commit(rows(*range(MOST_ROWS + 1))) is None
    assert known(connection) == set()
    assert near.commit(rows(*range(MOST_ROWS))) is not None


def test_after_a_slow_commit_others_go_to_the_thread_for_a_while(near, clock):
    """The longer, the longer it took."""
    for seconds in (0.006, 1.0):
        clock.step = seconds
        assert near.commit(rows(1)) is not None
        clock.step = 0.0
        pause = max(PAUSE_SECONDS, PAUSE_FACTOR * seconds)
        clock.now += pause - 0.01
        assert near.commit(rows(2)) is None
        clock.now += 0.02
        assert near.commit(rows(2)) is not None


def test_the_loop_does_not_wait_for_another_program(near, connection, tmp_path):
    """Which writes to the file at this moment: the thread waits for it."""
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert near.commit(rows(1)) is None
    other.execute("ROLLBACK")
    other.close()
    assert near.commit(rows(1)) == [Outcome(None)]


def test_a_commit_that_fails_fails_all_its_rows_and_leaves_no_trace(near, connection):
    """And the next one succeeds."""
    connection.execute("PRAGMA max_page_count = 1")
    outcomes = near.commit(rows(*range(MOST_ROWS)))
    assert all("full" in str(outcome.error) for outcome in outcomes) and len(outcomes) == MOST_ROWS
    assert known(connection) == set() and not connection.in_transaction
    connection.execute("PRAGMA max_page_count = 1000000")
    assert near.commit(rows(1)) == [Outcome(None)]


async def test_rows_and_batches_of_one_moment_are_all_written(tmp_path):
    """Whoever writes them; each is told, and what was acknowledged is read."""
    database = Database(tmp_path / "x.db", writable=True)
    threads = set()

    def batch(connection, numbers):
        threads.add(threading.current_thread())
        tables.put_transformations(connection, [(hex_of(f"b{n}"), hex_of("r")) for n in numbers])

    async def write(number):
        if number % 10:
            await database.write(rows(number)[0])
            name = hex_of(f"{number}")
        else:
            await database.write(partial(batch, numbers=range(number, number + 10)))
            name = hex_of(f"b{number}")
        assert await database.read(tables.transformation_results, name) is not None

    for start in range(0, 300, 30):
        await asyncio.gather(*(write(number) for number in range(start, start + 30)))
    await database.close()
    assert threads and threading.current_thread() not in threads
    connection = sqlite3.connect(tmp_path / "x.db")
    assert len(known(connection)) == 270 + 300
    connection.close()


async def test_a_thread_takes_what_was_written_into_the_file(tmp_path, monkeypatch):
    """Before a commit on the loop would have to."""
    monkeypatch.setattr(near_writes, "SLOW_SECONDS", 60.0)
    database = Database(tmp_path / "x.db", writable=True)
    threads, original = [], database._writes.near.checkpoint

    def checkpoint(connection):
        threads.append(threading.current_thread())
        original(connection)

    monkeypatch.setattr(database._writes.near, "checkpoint", checkpoint)
    before = (tmp_path / "x.db").stat().st_size
    for start in range(0, CHECKPOINT_ROWS, 50):
        await asyncio.gather(*map(database.write, rows(*range(start, start + 50))))
    await database._writes.join()
    assert len(threads) == 1 and threads[0] is not threading.current_thread()
    assert (tmp_path / "x.db").stat().st_size > before
    await database.close()
