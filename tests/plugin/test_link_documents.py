"""Recipes and notes over the link: after all records, and never in the way of one."""

from __future__ import annotations

import asyncio

import pytest
from links import until
from seamless_dask_cache.scheduler_plugin import descriptions
from seamless_dask_cache.scheduler_plugin.descriptions import AT_ONCE, MOST_WAITING
from seamless_dask_cache.scheduler_plugin.link import DatabaseLink

from seamless_dask_cache.errors import DatabaseError, DatabaseUnavailableError

NOTES = {"a" * 64: {"kind": "value"}}


class Client:
    """A database that notes the order of what it is given, or fails as it is told."""

    def __init__(self, fault=None):
        self.fault = fault
        self.log = []

    async def connect(self):
        return self

    async def store(self, items, recipes=(), notes=None):
        if self.fault is not None and notes is not None:
            raise self.fault
        self.log.append("notes" if notes else "items")

    async def recipes(self, function, *, checksums, limit):
        if self.fault is not None:
            raise self.fault
        return [{"function": function}]

    async def notes(self, checksums):
        if self.fault is not None:
            raise self.fault
        return {name: {} for name in checksums}

    async def lookup(self, transformations):
        return dict.fromkeys(transformations, "answer")

    async def close(self):
        pass


async def opened(client, **options):
    link = DatabaseLink(client.connect, patience=2.0, on_stored=lambda items: None, **options)
    await link.open()
    return link


async def test_records_are_written_before_what_describes_them():
    client = Client()
    link = await opened(client)
    link.describe(lambda: ([], NOTES))
    link.store({})
    assert await link.flush(10)
    assert client.log == ["items", "notes"]
    await link.close()


@pytest.mark.parametrize(
    "fault", [DatabaseUnavailableError("gone"), DatabaseError("old"), OSError()]
)
async def test_what_describes_is_dropped_when_it_is_not_taken(fault):
    client = Client(fault)
    link = await opened(client)
    link.describe(lambda: ([], NOTES))
    assert await link.flush(10)
    client.fault = None
    link.store({})
    assert await link.flush(10)
    assert client.log == ["items"]
    await link.close()


async def test_a_description_that_fails_stops_nothing():
    client = Client()
    link = await opened(client)
    link.describe(lambda: 1 / 0)
    link.describe(lambda: ([], NOTES))
    assert await link.flush(10)
    assert client.log == ["notes"]
    await link.close()


async def test_descriptions_do_not_pile_up():
    client = Client()
    link = await opened(client)
    described = []
    for number in range(3 * MOST_WAITING):
        link.describe(lambda number=number: (described.append(number) or [], NOTES))
    assert await link.flush(10)
    assert described == list(range(2 * MOST_WAITING, 3 * MOST_WAITING))
    assert client.log == ["notes"] * (MOST_WAITING // AT_ONCE)
    await link.close()


async def test_descriptions_wait_until_the_scheduler_has_time():
    """Records do not; and nothing is written twice, or lost."""
    client, busy, asked = Client(), [True], []
    link = await opened(client, is_busy=lambda: asked.append(None) or busy[0])
    link.describe(lambda: ([], NOTES))
    await until(lambda: len(asked) >= 3)
    assert client.log == []
    link.store({})
    await until(lambda: client.log == ["items"])
    busy[0] = False
    await until(lambda: client.log == ["items", "notes"])
    assert await link.flush(10)
    assert client.log == ["items", "notes"]
    await link.close()


async def test_descriptions_of_many_graphs_are_not_lost_while_the_scheduler_is_busy():
    """A loop of submissions sends one graph after the other."""
    client, made = Client(), []
    link = await opened(client, is_busy=lambda: True)
    for number in range(3 * MOST_WAITING):
        link.describe(lambda number=number: (made.append(number) or [], NOTES))
        if (number + 1) % AT_ONCE == 0:
            await until(lambda number=number: len(made) == number + 1)
    assert made == list(range(3 * MOST_WAITING))
    await link.close()


async def test_who_flushes_does_not_wait_for_the_scheduler():
    """All that is queued is written, descriptions too."""
    client = Client()
    link = await opened(client, is_busy=lambda: True)
    link.describe(lambda: ([], NOTES))
    assert await link.flush(10)
    assert client.log == ["notes"]
    await link.close()


async def test_a_scheduler_that_is_always_busy_gets_its_descriptions(monkeypatch):
    """They wait for a while only: a program may run for days."""
    monkeypatch.setattr(descriptions, "LATEST_SECONDS", 0.05)
    client = Client()
    link = await opened(client, is_busy=lambda: True)
    link.describe(lambda: ([], NOTES))
    await until(lambda: client.log)
    assert client.log == ["notes"]
    await link.close()


async def test_a_reader_of_a_database_describes_nothing():
    client = Client()
    link = await opened(client, writable=False)
    link.describe(lambda: ([], NOTES))
    assert await link.flush(10)
    assert client.log == []
    await link.close()


async def test_questions_for_explanations_are_answered():
    link = await opened(Client())
    assert await link.recipes("f") == [{"function": "f"}]
    assert await link.notes(["x"]) == {"x": {}}
    assert await link.notes([]) == {}
    await link.close()


async def test_an_old_database_explains_nothing_and_is_asked_for_results_all_the_same():
    link = await opened(Client(DatabaseError("unknown type")))
    assert await link.recipes("f") is None
    assert await link.notes(["x"]) == {}
    assert not link.away
    assert await link.lookup(["t"]) == {"t": "answer"}
    await link.close()


@pytest.mark.parametrize("fault", [DatabaseUnavailableError("gone"), asyncio.TimeoutError()])
async def test_a_database_that_is_away_explains_nothing(fault):
    link = await opened(Client(fault))
    assert await link.recipes("f") is None
    assert link.away
    assert await link.recipes("f") is None
    assert await link.notes(["x"]) == {}
    await link.close()


async def test_a_closed_link_connects_no_more():
    clients = []

    async def connect():
        clients.append(Client())
        return clients[-1]

    link = DatabaseLink(connect, patience=5, on_stored=lambda items: None)
    await link.open()
    await link.close()
    assert await link.lookup(["x"]) == {}
    assert await link.recipes("f") is None
    assert len(clients) == 1
