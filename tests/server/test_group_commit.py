"""Writes that come together share a commit, and a group waits for those who come again."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seamless_dask_cache.server import tables
from seamless_dask_cache.server.at_once_tables import put_transformations_at_once
from seamless_dask_cache.server.database import Database, _connect_writer
from seamless_dask_cache.server.lanes import Gathering, Lane, Outcome, Row, commit_together
from seamless_dask_cache.server.regulars import LONGEST_WAIT, Regulars
from serving import hex_of


def row(transformation: str, result: str) -> Row:
    pair = (hex_of(transformation), hex_of(result))
    return Row(tables.put_transformations, pair, put_transformations_at_once)


def contents(connection: sqlite3.Connection) -> list[list[tuple[object, ...]]]:
    return [
        connection.execute(f"SELECT checksum, result FROM {table} ORDER BY 1, 2").fetchall()
        for table in ("transformation", "rev_transformation")
    ]


PAIRS = st.tuples(st.sampled_from("abcdef"), st.sampled_from("rst"))


@given(groups=st.lists(st.lists(PAIRS, min_size=1, max_size=5), max_size=6))
@settings(deadline=None)
def test_rows_end_as_if_they_had_been_written_one_by_one(
    groups: list[list[tuple[str, str]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of two results the later wins, and nothing is left of the other, however rows are grouped."""
    folder = tmp_path_factory.mktemp("group")
    together, alone = (_connect_writer(folder / name) for name in ("together.db", "alone.db"))
    for group in groups:
        outcomes = commit_together(together, [row(*pair) for pair in group])
        assert [outcome.error for outcome in outcomes] == [None] * len(group)
        for transformation, result in group:
            tables.put_transformations(alone, [(hex_of(transformation), hex_of(result))])
    expected = dict(pair for group in groups for pair in group)
    pairs = sorted((hex_of(name), hex_of(result)) for name, result in expected.items())
    assert contents(together) == contents(alone) == [pairs, pairs]
    for connection in (together, alone):
        connection.close()


def test_another_result_leaves_the_short_way_without_a_trace(tmp_path: Path) -> None:
    """Also of the rows before it."""
    connection = _connect_writer(tmp_path / "x.db")
    pairs = [(hex_of("t"), hex_of("r"))]
    assert put_transformations_at_once(connection, pairs)
    changed = [(hex_of("new"), hex_of("r")), (hex_of("t"), hex_of("other"))]
    assert not put_transformations_at_once(connection, changed)
    assert contents(connection) == [pairs, pairs]
    assert not connection.in_transaction
    connection.close()


@pytest.mark.parametrize("writers", [2, 16])
async def test_writers_that_come_again_share_every_commit(tmp_path: Path, writers: int) -> None:
    """Although each of them comes somewhat later than the one before."""
    commits: list[int] = []
    database = Database(tmp_path / "x.db", writable=True, committed=commits.append)

    async def write_again_and_again(number: int) -> None:
        for turn in range(20):
            for _ in range(5 * number):
                await asyncio.sleep(0)
            await database.write(row(f"{number} {turn}", "r"))

    await asyncio.gather(*(write_again_and_again(number) for number in range(writers)))
    await database.close()
    assert sum(commits) == 20 * writers
    assert sorted(commits)[len(commits) // 2] == writers


async def test_a_group_does_not_wait_for_those_who_left(tmp_path: Path) -> None:
    """A last writer is answered, and then all that come one by one."""
    commits: list[int] = []
    database = Database(tmp_path / "x.db", writable=True, committed=commits.append)
    await asyncio.gather(*(database.write(row(f"{number}", "r")) for number in range(8)))
    for number in range(8, 16):
        await database.write(row(f"{number}", "r"))
    await database.close()
    assert commits == [8] + [1] * 8


class Patient(Regulars):
    """Waits for a minute, for two."""

    expected = 2

    def __init__(self) -> None:
        """Expect two from the start."""

    def patience(self, waiting: int, now: float) -> float:
        """Wait for the second one."""
        return 60.0 if waiting < 2 else 0.0

    def waited(self, found: int) -> None:
        """Learn nothing."""

    def done(self, jobs: int, waiting: int, started: float, ended: float) -> None:
        """Learn nothing."""


async def test_a_group_starts_as_soon_as_enough_are_there() -> None:
    """However long it would have waited."""
    lane = Lane(lambda: sqlite3.connect(":memory:"), "memory")
    jobs: Gathering[int] = Gathering(
        lane, lambda _, jobs: [Outcome(sum(jobs))] * len(jobs), regulars=Patient()
    )
    first = asyncio.create_task(jobs.submit(1))
    await asyncio.sleep(0.01)
    assert not first.done()
    assert await asyncio.wait_for(asyncio.gather(jobs.submit(2), first), 10) == [3, 3]
    lane.close()


def group(regulars: Regulars, jobs: int, *, now: float = 0.0, took: float = 0.001) -> None:
    regulars.done(jobs, 0, now - took, now)


def test_who_comes_alone_does_not_wait() -> None:
    """Neither the first one, nor after another one alone."""
    regulars = Regulars()
    assert regulars.patience(1, 0.0) == 0
    group(regulars, 1)
    assert regulars.patience(1, 0.0) == 0


def test_a_group_waits_twice_as_long_as_the_last_one_took() -> None:
    """But never long."""
    regulars = Regulars()
    group(regulars, 4)
    assert regulars.patience(1, 0.0) == pytest.approx(0.002)
    assert regulars.patience(4, 0.0) == 0
    group(regulars, 4, took=1.0)
    assert regulars.patience(1, 0.0) == LONGEST_WAIT


def test_nobody_waits_for_those_of_long_ago() -> None:
    """Who is not back after so long has something else to do."""
    regulars = Regulars()
    group(regulars, 4)
    assert regulars.patience(1, 0.0021) == 0


def test_those_who_came_meanwhile_are_expected_too() -> None:
    """They write beside the others."""
    regulars = Regulars()
    regulars.done(4, 3, -0.001, 0.0)
    assert regulars.expected == 7


def test_hardly_a_group_waits_in_vain() -> None:
    """Of a thousand whose clients do not come again in time, less than two in a hundred."""
    regulars, waits = Regulars(), 0
    for _ in range(1000):
        group(regulars, 2)
        if regulars.patience(1, 0.0):
            waits += 1
            regulars.waited(1)
    assert 5 <= waits <= 20


def test_waiting_that_pays_is_taken_up_again() -> None:
    """After however many failures, within some hundred groups."""
    regulars = Regulars()
    for came in [1] * 1000 + [2] * 400:
        group(regulars, 2)
        if regulars.patience(1, 0.0):
            regulars.waited(came)
    for _ in range(10):
        group(regulars, 2)
        assert regulars.patience(1, 0.0)
        regulars.waited(2)
