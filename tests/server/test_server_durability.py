"""What was acknowledged is there, whatever happens; what fails says so."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path

from aiohttp import ClientSession, web
from seamless_dask_cache.server import cache_tables, tables
from seamless_dask_cache.server import database as database_module
from seamless_dask_cache.server.app import build_server
from seamless_dask_cache.server.database import Database
from seamless_dask_cache.server.registry import Context
from serving import hex_of, wait_for


def _write_until_killed(server, name, acknowledged):
    """PUT on one connection, singles and batches in turn, until the server is gone."""
    connection = server.connect()
    try:
        for number in range(1_000_000):
            names = [f"{name}-{number}-{part}" for part in range(1 + 9 * (number % 2))]
            if len(names) == 1:
                body = {"type": "transformation", "checksum": hex_of(names[0]), "value": "1" * 64}
            else:
                items = [{"transformation": hex_of(n), "result": "1" * 64} for n in names]
                body = {"type": "batch", "store": items}
            connection.request("PUT", "/", json.dumps(body))
            if connection.getresponse().read():
                acknowledged.append(names)
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()


def test_every_acknowledged_write_survives_kill_9_under_load(start_server, tmp_path):
    """Again and again; and no batch is there by halves."""
    file = tmp_path / "killed.db"
    acknowledged: list[list[str]] = []
    for round_ in range(3):
        server = start_server(file)
        before = len(acknowledged)
        threads = [
            threading.Thread(
                target=_write_until_killed, args=(server, f"{round_}-{n}", acknowledged)
            )
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        wait_for(lambda before=before: len(acknowledged) > before + 200)
        server.kill()
        for thread in threads:
            thread.join()
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    known = {row[0] for row in connection.execute("SELECT checksum FROM transformation")}
    connection.close()
    for names in acknowledged:
        assert known.issuperset(map(hex_of, names))
    assert len(acknowledged) > 600


def test_the_file_syncs_every_commit(tmp_path):
    """WAL with synchronous FULL: also power loss takes nothing that was acknowledged."""
    connection = database_module._connect_writer(tmp_path / "x.db")
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


class App:
    """The server in this process, over a real socket."""

    def __init__(self, database):
        self.database = database

    async def __aenter__(self):
        server = build_server(Context(self.database, None), writable=True, max_body=10**6)
        self.runner = web.ServerRunner(server)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = "http://{}:{}/".format(*self.runner.addresses[0])
        self.session = ClientSession()
        return self

    async def __aexit__(self, *_):
        await self.session.close()
        await self.runner.cleanup()
        await self.database.close()

    async def ask(self, method, **body):
        async with self.session.request(method, self.url, json=body) as response:
            return response.status, await response.text()


async def test_a_full_disk_is_507_and_passes_when_there_is_space_again(tmp_path):
    """The failed write leaves no trace, and later ones succeed."""
    database = Database(tmp_path / "full.db", writable=True)

    def limit(pages):
        return database._writer.run(
            lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone()
        )

    async with App(database) as app:
        await limit(1)
        items = [{"transformation": hex_of(f"{n}"), "result": hex_of("r")} for n in range(2000)]
        status, text = await app.ask("PUT", type="batch", store=items)
        assert (status, text[:7]) == (507, "ERROR: ")
        status, text = await app.ask("GET", type="batch", transformations=[hex_of("1")])
        assert (status, text) == (200, '{"results":{}}')
        await limit(10**6)
        assert (await app.ask("PUT", type="batch", store=items))[0] == 200


async def test_a_file_that_cannot_be_written_is_403(tmp_path):
    """Such as one that was made read-only under the server."""
    database = Database(tmp_path / "readonly.db", writable=True)
    async with App(database) as app:
        await database._writer.run(lambda c: c.execute("PRAGMA query_only = 1"))
        status, text = await app.ask(
            "PUT", type="transformation", checksum=hex_of("a"), value=hex_of("b")
        )
        assert (status, text[:7]) == (403, "ERROR: ")


async def test_writes_that_come_together_share_one_transaction(tmp_path):
    """And a refused one among them hinders no other."""
    database = Database(tmp_path / "group.db", writable=True)
    commits: list[str] = []
    await database._writer.run(
        lambda c: c.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    )

    def refuse(connection):
        tables.put_transformations(connection, [(hex_of("refused"), hex_of("r"))])
        raise ValueError("refused")

    def put(n):
        return partial(tables.put_transformations, pairs=[(hex_of(f"{n}"), hex_of("r"))])

    writes = [*(database.write(put(n)) for n in range(500)), database.write(refuse)]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [str(o) for o in outcomes if o is not None] == ["refused"]
    assert len(commits) == 1
    found = await database.read_long(lambda c: cache_tables.summary(c)["transformations"])
    assert found == 500
    await database.close()


async def test_reads_that_come_together_share_one_statement(tmp_path):
    """And each gets its own answer; of those that are not answered on the loop at once."""
    database = Database(tmp_path / "reads.db", writable=True)
    database._near._again_at = float("inf")
    for n in range(20):
        await database.write(
            partial(tables.put_transformations, pairs=[(hex_of(f"t{n}"), hex_of(f"r{n}"))])
        )
    statements: list[str] = []
    lane = database._reads._lane
    await lane.run(lambda c: c.set_trace_callback(statements.append))
    found = await asyncio.gather(
        *(database.read(tables.transformation_results, hex_of(f"t{n}")) for n in range(21))
    )
    assert found == [*(hex_of(f"r{n}") for n in range(20)), None]
    assert len([s for s in statements if s.startswith("SELECT")]) == 1
    await lane.run(lambda c: c.set_trace_callback(None))
    await database.close()


async def test_a_reader_that_fails_fails_only_its_own_requests(tmp_path):
    """Others of the same moment are answered."""
    database = Database(tmp_path / "reads.db", writable=True)

    def broken(connection, keys):
        raise sqlite3.OperationalError("broken")

    good, bad = await asyncio.gather(
        database.read(tables.transformation_results, hex_of("a")),
        database.read(broken, "x"),
        return_exceptions=True,
    )
    assert good is None and isinstance(bad, sqlite3.OperationalError)
    await database.close()


def test_a_file_in_a_folder_that_takes_no_writes_can_be_served(server, tmp_path):
    """WAL wants helper files; without a log left behind the file is read as it is."""
    server.put("transformation", checksum=hex_of("a"), value=hex_of("b"))
    server.stop()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(server.file, folder)
        Path(folder).chmod(0o555)
        script = f"""
import os, pathlib
import seamless_dask_cache.server.database as database
database.schema.statements()  # loads all that the interpreter needs, while it can still be read
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
connection = database._connect_reader(pathlib.Path({folder!r}) / {server.file.name!r})
print(connection.execute("SELECT result FROM transformation").fetchone()[0])
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == hex_of("b"), done.stderr
