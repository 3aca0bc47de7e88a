"""What was written leaves the write-ahead log when nobody writes."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from seamless_dask_cache.server import checkpoints, tables
from seamless_dask_cache.server.at_once_tables import put_transformations_at_once
from seamless_dask_cache.server.database import Database
from seamless_dask_cache.server.lanes import Row
from serving import hex_of


async def put(database: Database, name: str) -> None:
    pair = (hex_of(name), hex_of("r"))
    await database.write(Row(tables.put_transformations, pair, put_transformations_at_once))


def in_file_alone(path: Path) -> int:
    """Count the transformations that are in the file, whatever is in the log."""
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    connection = sqlite3.connect(copy)
    try:
        return int(connection.execute("SELECT count(*) FROM transformation").fetchone()[0])
    except sqlite3.OperationalError:  # not even the tables
        return 0
    finally:
        connection.close()
        copy.unlink()


async def until_in_file(path: Path, count: int) -> None:
    deadline = time.monotonic() + 10
    while in_file_alone(path) != count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_the_file_has_everything_soon_after_the_last_write(tmp_path: Path) -> None:
    """Again after each pause."""
    path = tmp_path / "x.db"
    database = Database(path, writable=True)
    await put(database, "first")
    assert in_file_alone(path) == 0
    await until_in_file(path, 1)
    await put(database, "second")
    assert in_file_alone(path) == 1
    await until_in_file(path, 2)
    await database.close()


async def test_a_checkpoint_waits_for_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who goes on writing is not held up by it."""
    monkeypatch.setattr(checkpoints, "IDLE_SECONDS", 60.0)
    path = tmp_path / "x.db"
    database = Database(path, writable=True)
    for number in range(20):
        await put(database, f"{number}")
    assert in_file_alone(path) == 0
    await asyncio.wait_for(database.close(), 10)
    assert in_file_alone(path) == 20


async def test_a_checkpoint_that_fails_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and the next one may succeed."""

    def fail(connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    path = tmp_path / "x.db"
    database = Database(path, writable=True)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_checkpoint", fail)
        await put(database, "first")
        deadline = time.monotonic() + 10
        while "is full" not in caplog.text:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    await put(database, "second")
    await until_in_file(path, 2)
    await database.close()
