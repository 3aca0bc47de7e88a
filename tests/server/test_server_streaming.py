"""Long answers come in parts: whole or not at all, and never in memory as a whole."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sqlite3
from functools import partial
from pathlib import Path

import pytest
from aiohttp import ClientPayloadError, ClientSession, web
from hypothesis import given, settings
from hypothesis import strategies as st
from seamless_dask_cache.server import batch, batch_tables, cache_tables, protocol, schema, tables
from seamless_dask_cache.server.app import build_server
from seamless_dask_cache.server.database import Database
from seamless_dask_cache.server.metrics import Metrics
from seamless_dask_cache.server.registry import Context
from serving import hex_of

FILLED = 20_000


def _content(number, nbytes):
    return hashlib.sha512(str(number).encode()).digest() * (nbytes // 64)


@pytest.fixture
def filled(start_server, tmp_path):
    """A server of a file with many results, each with 4 KB of content."""
    server = start_server(tmp_path / "x.db")
    server.stop()
    connection = sqlite3.connect(server.file)
    contents = [(hex_of(f"r{n}"), _content(n, 4096)) for n in range(FILLED)]
    cache_tables.put_buffers(connection, contents)
    tables.add_transformations(
        connection, [(hex_of(f"{n}"), hex_of(f"r{n}")) for n in range(FILLED)]
    )
    connection.commit()
    connection.close()
    return start_server(server.file)


def _memory(server):
    """The memory of a process in bytes, without the file that it maps."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def test_an_answer_of_a_hundred_megabytes_takes_a_part_of_that(filled):
    """As it is sent while it is read; and it is right to the last byte."""
    names = [hex_of(f"{n}") for n in range(FILLED)]
    filled.get("batch", transformations=names[:100])
    connection = filled.connect()
    before = _memory(filled)
    connection.request("GET", "/", json.dumps({"type": "batch", "transformations": names}))
    response = connection.getresponse()
    parts, most = [], 0
    while part := response.read(1_000_000):
        parts.append(part)
        most = max(most, _memory(filled))
    connection.close()
    assert sum(map(len, parts)) > 100_000_000
    assert most - before < 50_000_000
    results = json.loads(b"".join(parts))["results"]
    assert len(results) == FILLED
    for number in range(0, FILLED, 997):
        found = results[names[number]]
        assert base64.b64decode(found["content"]) == _content(number, 4096)
        assert (found["result"], found["present"]) == (hex_of(f"r{number}"), True)


def test_a_client_that_leaves_in_the_middle_costs_nothing(filled):
    """Nor does it leave a trace in the log, and the next one is answered."""
    body = json.dumps({"type": "batch", "transformations": [hex_of(f"{n}") for n in range(FILLED)]})
    for _ in range(5):
        connection = filled.connect()
        connection.request("GET", "/", body)
        connection.getresponse().read(1000)
        connection.close()
    assert filled.get("batch", transformations=[hex_of("1")])[0] == 200
    assert len(filled.log.read_text().splitlines()) == 1


async def _answered(database, body):
    server = build_server(Context(database, None), writable=True, max_body=10**8)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://{}:{}/".format(*runner.addresses[0])
    try:
        async with ClientSession() as session, session.get(url, json=body) as response:
            return response.status, await response.json(content_type=None)
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("fails_at", [1, 2, 4])
async def test_an_answer_that_is_broken_off_is_not_taken_for_a_whole_one(
    tmp_path, monkeypatch, fails_at
):
    """A failure before the first part is a status, one after it a broken connection."""
    monkeypatch.setattr(batch, "CHUNK", 10)
    database = Database(tmp_path / "x.db", writable=True)
    names = [hex_of(f"{n}") for n in range(50)]
    pairs = [(name, hex_of("r")) for name in names]
    await database.write(partial(tables.put_transformations, pairs=pairs))
    calls = []
    original = batch_tables.look_up

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) >= fails_at:
            raise sqlite3.OperationalError("disk I/O error")
        return original(*arguments)

    monkeypatch.setattr(batch_tables, "look_up", failing)
    # One thing at a time, so that it is the part of this number that fails.
    monkeypatch.setattr(batch, "LONG_READERS", 0)
    body = {"type": "batch", "transformations": names}
    if fails_at == 1:
        with pytest.raises(json.JSONDecodeError):  # the text of the error
            await _answered(database, body)
    else:
        with pytest.raises(ClientPayloadError):
            await _answered(database, body)
    await database.close()


_sizes = st.lists(st.integers(0, 40), max_size=25)


@settings(max_examples=60, deadline=None)
@given(sizes=_sizes, chunk=st.integers(1, 9), content=st.integers(0, 60), ahead=st.integers(0, 3))
def test_parts_make_the_same_answer_however_they_are_cut(sizes, chunk, content, ahead):
    """Each known key once, with its own content."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in schema.statements():
        connection.execute(statement)
    for number, size in enumerate(sizes):
        tables.put_transformations(connection, [(hex_of(f"{number}"), hex_of(f"r{number}"))])
        cache_tables.put_buffers(connection, [(hex_of(f"r{number}"), b"x" * size)])

    class Here:
        async def read_long(self, work):
            return work(connection)

    async def look_up():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batch, "CHUNK", chunk)
            patch.setattr(batch, "CONTENT", content)
            patch.setattr(batch, "LONG_READERS", ahead)
            names = [hex_of(f"{n}") for n in range(len(sizes) + 3)]
            metrics = Metrics()
            parts = [part async for part in batch.look_up(Here(), None, names, True, metrics)]
            assert (metrics.hits, metrics.misses) == (len(sizes), 3)
            return json.loads(b"{" + b"".join(parts) + b"}")

    found = asyncio.run(look_up())
    connection.close()
    assert {name: base64.b64decode(answer["content"]) for name, answer in found.items()} == {
        hex_of(f"{n}"): b"x" * size for n, size in enumerate(sizes)
    }


def test_more_than_a_million_of_anything_is_refused_and_named(server):
    """Also of write-backs; a client splits its requests."""
    names = ['"' + "1" * 64 + '"'] * (protocol.MAX_ROWS + 1)
    body = '{"type": "batch", "%s": [' + ",".join(names) + "]}"
    for method, field in (("GET", "transformations"), ("PUT", "touch")):
        status, text = server.raw(method, body % field)
        assert status == 400
        assert field in text and "1000000" in text and "in parts" in text
    status, text = server.raw("PUT", '{"type": "batch", "store": [' + "0," * 1_000_000 + "0]}")
    assert status == 400 and "store has more than 1000000" in text
