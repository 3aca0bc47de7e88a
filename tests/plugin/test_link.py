"""The link to the database: nothing queued is lost, nothing asked waits for long."""

from __future__ import annotations

import asyncio
import logging

import pytest
from links import Script, hurry, levels_of_warnings, opened, until
from seamless_dask_cache.scheduler_plugin import connection
from seamless_dask_cache.scheduler_plugin.link import DatabaseLink

from seamless_dask_cache.database import Lookup
from seamless_dask_cache.errors import DatabaseError, DatabaseUnavailableError


@pytest.fixture
def quick(monkeypatch):
    hurry(monkeypatch)


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


async def test_a_record_that_is_forgotten_before_it_is_written_is_not_written():
    """A removal takes what was queued before it along."""
    script = Script()
    link, _ = await opened(script)
    link.store({"transformation": "a", "n": 1})
    link.store({"transformation": "b", "n": 2})
    link.forget("a")
    link.store({"transformation": "a", "n": 3})
    assert await link.flush(30)
    assert script.forgotten == ["a"]
    assert [item["n"] for item in script.stored] == [2, 3]
    await link.close()


async def test_a_bad_record_is_found_with_few_requests():
    """Finding one bad record among many does not write each of them alone."""
    script = Script()
    link, _ = await opened(script)
    for n in range(1_000):
        link.store({"n": n, "bad": n == 300})
    assert await link.flush(30)
    assert [item["n"] for item in script.stored] == [n for n in range(1_000) if n != 300]
    assert script.requests < 30
    await link.close()


async def test_hints_travel_with_records():
    """What a record brings along, and what is noted beside it, is one request with it."""
    script = Script()
    link, _ = await opened(script)
    link.store({"n": 1, "cutoffs": [("s", "c", "r", 1, 2.0)], "costs": {"code": [1, 2, 3, 4, 5]}})
    link.note_cost("code", (1, 1, 1, 1, 1))
    link.note_cutoff(("t", "c", "r", 1, 2.0))
    assert await link.flush(30)
    assert script.stored == [{"n": 1}]
    rows = [("s", "c", "r", 1, 2.0), ("t", "c", "r", 1, 2.0)]
    assert script.hints == [{"cutoffs": rows, "costs": {"code": [2, 3, 4, 5, 6]}}]
    await link.close()


async def test_hints_survive_a_failed_write(quick):
    """They wait in memory until the database answers again."""
    script = Script(asyncio.TimeoutError())
    link, _ = await opened(script)
    link.note_cutoff(("s", "c", "r", 1, 2.0))
    link.note_cost("code", (1, 1, 1, 1, 1))
    assert await link.flush(30)
    assert script.hints == [
        {"cutoffs": [("s", "c", "r", 1, 2.0)], "costs": {"code": [1, 1, 1, 1, 1]}}
    ]
    await link.close()


async def test_hints_that_are_refused_take_no_record_with_them():
    """Records are written without what the server does not take."""

    class Strict(Script):
        async def store(self, items, **more):
            if "costs" in more:
                raise DatabaseError("malformed costs")
            await super().store(items, **more)

    script = Strict()
    link, _ = await opened(script)
    link.store({"n": 1, "costs": {"x": [1]}})
    assert await link.flush(30)
    assert script.stored == [{"n": 1}]
    assert link.dropped == 0
    await link.close()


async def test_a_reader_of_a_database_writes_no_hints():
    """Without the right to write, nothing is queued."""
    script = Script()
    link = DatabaseLink(script.connect, patience=5, on_stored=print, writable=False)
    await link.open()
    link.note_cutoff(("s", "c", "r", 1, 2.0))
    link.note_cost("code", (1, 1, 1, 1, 1))
    link.store({"n": 1, "costs": {"x": [1]}})
    assert await link.flush(30)
    assert script.requests == 0
    await link.close()


async def test_only_the_first_of_many_lookups_waits(caplog):
    """A database that does not answer is not asked again by computations, and warned of once."""
    script = Script(*[60] * 100)
    link, _ = await opened(script, patience=0.05)
    for n in range(100):
        assert await asyncio.wait_for(link.lookup([f"t{n}"]), 10) == {}
    assert script.asked.count(["t0"]) >= 1
    assert {name for names in script.asked for name in names} == {"t0"}
    assert link.failures == 1
    assert levels_of_warnings(caplog) == [logging.WARNING]
    assert "no answer within 0.05 s" in caplog.text
    await link.close()


async def test_it_is_back_when_it_answered_in_time(quick):
    """What failed is asked again in the background, less and less often, until it is answered."""
    script = Script(60, *[DatabaseUnavailableError("gone")] * 6)
    link, _ = await opened(script, patience=0.05)
    assert await link.lookup(["a"]) == {}
    await until(lambda: not link.away)
    assert not script.steps
    assert link.connection._retry_seconds > 2 * connection.FIRST_RETRY_SECONDS
    assert await link.lookup(["b"]) == {"b": "answer"}
    assert link.connection._retry_seconds == connection.FIRST_RETRY_SECONDS
    await link.close()


async def test_failures_do_not_close_each_others_connections():
    """Of two lookups that fail on one connection, each gets its answer from the next one."""

    class Stopping(Script):
        def __init__(self):
            super().__init__()
            self.both = asyncio.Event()

        async def connect(self):
            self.clients += 1
            return Once(self, self.clients)

    class Once:
        def __init__(self, script, number):
            self.script, self.number, self.closed, self.asked = script, number, False, 0

        async def lookup(self, transformations):
            self.asked += 1
            if self.asked == 2:
                self.script.both.set()
            await self.script.both.wait()
            await asyncio.sleep(0)
            if self.number == 1 or self.closed:
                raise DatabaseUnavailableError("closed")
            return dict.fromkeys(transformations, self.number)

        async def close(self):
            self.closed = True

    script = Stopping()
    link, _ = await opened(script)
    found = await asyncio.gather(link.lookup(["a"]), link.lookup(["b"]))
    assert found == [{"a": 2}, {"b": 2}]
    await link.close()


async def test_every_change_is_told_of_once(quick):
    """However often it is asked in vain, and however often it fails again."""
    script, events = Script(), []
    link, _ = await opened(script, on_event=lambda action, **more: events.append((action, more)))
    for _ in range(2):
        script.steps = [DatabaseUnavailableError("gone")] * 6
        assert await asyncio.gather(link.lookup(["t"]), link.lookup(["t"])) == [{}, {}]
        assert await link.lookup(["t"]) == {}
        await until(lambda: not link.away)
        assert await link.lookup(["t"]) == {"t": "answer"}
    await link.close()
    away = ("database-away", {"reason": "does not answer (gone)"})
    assert events == [away, ("database-back", {})] * 2


async def test_a_refused_lookup_is_not_being_away(caplog):
    """A server that answers lookups with an error still takes records; one warning says so."""

    class Old(Script):
        async def lookup(self, transformations):
            raise DatabaseError("unknown type")

    script = Old()
    link, _ = await opened(script)
    for _ in range(3):
        assert await link.lookup(["a"]) == {}
    assert not link.away
    link.store({"n": 1})
    assert await link.flush(30)
    assert levels_of_warnings(caplog) == [logging.WARNING]
    await link.close()


@pytest.mark.parametrize("fault", [KeyError("results"), ValueError("base64")])
async def test_an_answer_that_makes_no_sense_is_none(fault):
    """Whatever a lookup raises, the computation goes on."""
    link, _ = await opened(Script(fault))
    assert await link.lookup(["a"]) == {}
    await link.close()


async def test_a_database_that_takes_no_records_is_still_looked_up(quick, caplog):
    """A full disk at the server costs no hits; records wait, and one warning says so."""

    class Full(Script):
        full = True

        async def store(self, items, **more):
            if self.full:
                raise DatabaseUnavailableError("database x answered 507: disk full")
            await super().store(items, **more)

    script = Full()
    link, acknowledged = await opened(script)
    link.store({"n": 1})
    await until(lambda: script.asked)
    assert "takes no records" not in caplog.text
    for n in range(5):
        assert await link.lookup([str(n)]) == {str(n): "answer"}
    await until(lambda: "takes no records" in caplog.text)
    assert not link.away
    assert link.unwritten == 1
    script.full = False
    assert await link.flush(30)
    assert acknowledged == [{"n": 1}]
    assert levels_of_warnings(caplog) == [logging.WARNING]
    await link.close()


# Costs, cutoffs and leases -----------------------------------------------------------------------

EXTRAS = [
    ("cutoffs", (["s"],), {}),
    ("acquire", ("me", ["t"], 30.0), None),
    ("renew", ("me", 30.0), None),
    ("release_all", ("me",), None),
    ("leases", (["t"],), None),
]


class Extras(Script):
    """A client that answers every further question with its arguments, or as it is told."""

    def __getattr__(self, name):
        if name not in {extra[0] for extra in EXTRAS} | {"look_up"}:
            raise AttributeError(name)

        async def answer(*arguments):
            self.asked.append(name)
            await self._step()
            return (name, *arguments)

        return answer


@pytest.mark.parametrize(("name", "arguments", "nothing"), EXTRAS)
async def test_further_questions_are_passed_on(name, arguments, nothing):
    """They are answered by the client; when the database is away, there is no answer."""
    script = Extras()
    link, _ = await opened(script)
    found = await getattr(link, name)(*arguments)
    assert found[: 1 + len(arguments)] == (name, *arguments)
    link.connection.failed(DatabaseUnavailableError("gone"))
    assert await getattr(link, name)(*arguments) == nothing
    await link.close()


@pytest.mark.parametrize(("name", "arguments", "nothing"), EXTRAS)
async def test_an_old_server_is_asked_once_on_a_connection(name, arguments, nothing):
    """A refusal is no outage, and is not asked for again until there is another connection."""
    script = Extras(DatabaseError("unknown type"))
    link, _ = await opened(script)
    for _ in range(3):
        assert await getattr(link, name)(*arguments) == nothing
    assert script.asked == [name]
    assert not link.away
    await link.connection.drop(link.connection.current)
    link.connection.current = Extras()
    assert await getattr(link, name)(*arguments) != nothing
    await link.close()


@pytest.mark.parametrize(("name", "arguments", "nothing"), EXTRAS)
async def test_further_questions_are_patient_only_so_long(name, arguments, nothing):
    """A slow answer is none."""
    link, _ = await opened(Extras(60, 60), patience=0.05)
    assert await getattr(link, name)(*arguments) == nothing
    assert link.away
    await link.close()


async def test_what_is_to_be_known_of_a_graph_is_asked_at_once():
    """One question for results, costs and what is irreproducible; none where there is no task."""
    script = Extras()
    link, _ = await opened(script)
    assert await link.look_up(["t"], ["c"], ["i"]) == ("look_up", ["t"], ["c"], ["i"])
    assert await link.look_up([], ["c"], ["i"]) == Lookup()
    assert script.asked == ["look_up"]
    link.connection.failed(DatabaseUnavailableError("gone"))
    assert await link.look_up(["t"], ["c"]) == Lookup()
    await link.close()
