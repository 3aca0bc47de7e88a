"""Leases over HTTP: two holders, one server."""

from __future__ import annotations

import sqlite3
import threading

import pytest
from seamless_dask_cache.server.database import Database
from seamless_dask_cache.server.lease_handlers import put_leases
from seamless_dask_cache.server.protocol import Fields
from seamless_dask_cache.server.registry import Context
from serving import hex_of, wait_for

from seamless_dask_cache.database import DatabaseClient, LeaseAnswer

A, B, C, RESULT = hex_of("a"), hex_of("b"), hex_of("c"), hex_of("r")


@pytest.fixture
def client(server):
    with DatabaseClient(server.url) as client:
        yield client


def test_what_one_holds_another_is_not_granted(client):
    """It is told for how long; asking is free."""
    client.store([{"transformation": C, "result": RESULT}])
    assert client.acquire("x", [A, C], 30) == LeaseAnswer({A}, {C: RESULT}, {})
    found = client.acquire("y", [A, B, C, B], 30)
    assert (found.granted, found.known) == ({B}, {C: RESULT})
    assert 0 < found.held[A] <= 30 and set(found.held) == {A}
    found = client.leases([A, B, C, hex_of("free")])
    assert (found.granted, found.known, set(found.held)) == (set(), {C: RESULT}, {A, B})


def test_acquiring_again_renews_and_releasing_drops_only_ones_own(client):
    """In one step: who releases and acquires at once may hold the same as before."""
    client.acquire("x", [A], 30)
    assert client.acquire("x", [A], 3600).granted == {A}
    assert client.leases([A]).held[A] > 3000
    assert client.acquire("y", [], 30, release=[A, hex_of("never")]) == LeaseAnswer()
    assert set(client.leases([A]).held) == {A}
    assert client.acquire("x", [A, B], 30, release=[A]).granted == {A, B}
    client.acquire("x", [], 30, release=[A])
    assert client.acquire("y", [A, B], 30).granted == {A}


def test_a_holder_that_stops_renewing_is_succeeded(client):
    """While it renews, it is not."""
    client.acquire("dies", [A], 1)
    client.acquire("lives", [B], 1)

    def taken_over():
        assert client.renew("lives", 30) == 1
        return client.acquire("heir", [A, B], 30).granted

    assert wait_for(taken_over) == {A}
    assert client.renew("dies", 30) == 0
    assert client.release_all("lives") == 1
    assert client.acquire("heir", [B], 30).granted == {B}


@pytest.mark.parametrize("way", ["batch", "transformation", "metadata"])
def test_storing_a_result_ends_the_lease(server, client, way):
    """Whoever stores it, in whichever request."""
    client.acquire("x", [A, B], 30)
    if way == "batch":
        client.store([{"transformation": A, "result": RESULT}])
    elif way == "transformation":
        client.set_transformation_result(A, RESULT)
    else:
        record = {"schema_version": 1, "tf_checksum": A, "result_checksum": RESULT}
        client.set_execution_record(A, RESULT, record)
    found = client.acquire("y", [A, B], 30)
    assert (found.granted, found.known, set(found.held)) == (set(), {A: RESULT}, {B})
    assert client.renew("x", 30) == 1
    client.forget([A])
    assert client.acquire("y", [A], 30).granted == {A}


def test_nobody_is_granted_what_is_being_stored(server):
    """Holders that race for the same transformations compute each of them once."""
    names = [hex_of(f"{n}") for n in range(300)]
    computed = {"x": [], "y": [], "z": []}

    def work(holder):
        with DatabaseClient(server.url) as client:
            for name in names:
                found = client.acquire(holder, [name], 60)
                if found.granted:
                    computed[holder].append(name)
                    client.store([{"transformation": name, "result": RESULT}])

    threads = [threading.Thread(target=work, args=(holder,)) for holder in computed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for part in computed.values() for name in part) == sorted(names)


def test_leases_end_with_the_server(start_server, tmp_path):
    """Nothing of them is in the file: what a dead server leased is free."""
    server = start_server(tmp_path / "x.db")
    with DatabaseClient(server.url) as client:
        assert client.acquire("x", [A], 3600).granted == {A}
    server.kill()
    with DatabaseClient(start_server(tmp_path / "x.db").url) as client:
        assert client.renew("x", 30) == 0
        assert client.acquire("y", [A], 30).granted == {A}


def test_a_read_only_server_tells_what_is_known_and_leases_nothing(start_server, server):
    """As it takes no other writes."""
    server.put("transformation", checksum=A, value=RESULT)
    reader = start_server(server.file, writable=False)
    assert reader.get("leases", transformations=[A, B]) == (200, {"known": {A: RESULT}, "held": {}})
    assert reader.put("leases", holder="x", acquire=[B], seconds=30)[0] == 405


async def test_a_request_that_fails_keeps_nothing(tmp_path, monkeypatch):
    """Who got no answer does not compute, so nobody may wait for it."""
    database = Database(tmp_path / "x.db", writable=True)
    context = Context(database, None)

    async def failing(work):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(database, "read_long", failing)
    request = Fields({"holder": "x", "acquire": [A], "seconds": 30}, "request")
    with pytest.raises(sqlite3.OperationalError):
        await put_leases(context, request)
    assert len(context.leases) == 0
    await database.close()


def test_a_large_graph_is_leased_in_one_request(client):
    """More transformations than one statement looks up."""
    names = [hex_of(f"{n}") for n in range(20_000)]
    client.store([{"transformation": name, "result": RESULT} for name in names[:9_000]])
    found = client.acquire("x", names, 60)
    assert (set(found.known), found.granted) == (set(names[:9_000]), set(names[9_000:]))
    assert client.renew("x", 60) == 11_000
    assert set(client.acquire("y", names, 60).held) == found.granted


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"holder": None}, "holder"),
        ({"holder": ""}, "holder"),
        ({"holder": "x" * 257}, "holder"),
        ({"acquire": "x"}, "acquire"),
        ({"acquire": ["x"]}, "acquire"),
        ({"acquire": None}, "acquire"),
        ({"release": 3}, "release"),
        ({"seconds": None}, "seconds"),
        ({"seconds": 0.9}, "seconds"),
        ({"seconds": 3601}, "seconds"),
        ({"seconds": "10"}, "seconds"),
        ({"renew": 1}, "renew"),
        ({"renew": True}, "renew"),
        ({"release_all": True}, "release_all"),
        ({"acquire": None, "renew": True, "release_all": True}, "renew"),
        ({"acquire": None, "renew": True, "seconds": 0}, "seconds"),
    ],
)
def test_a_malformed_request_is_refused(server, change, named):
    """With a text that names the field, and nothing granted."""
    body = {"holder": "x", "acquire": [A], "seconds": 30, **change}
    status, text = server.put("leases", **body)
    assert status == 400 and text.startswith("ERROR: ") and named in text
    assert server.get("leases", transformations=[A]) == (200, {"known": {}, "held": {}})


def test_a_question_without_transformations_is_refused(server):
    """With a text, not a crash."""
    for wanted in (None, "x", ["x"], [3]):
        status, text = server.get("leases", transformations=wanted)
        assert status == 400 and "transformations" in text
