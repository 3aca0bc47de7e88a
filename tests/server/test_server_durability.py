"""What was acknowledged is there, whatever happens; what fails says so."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from seamless_dask_cache.server import cache_tables, tables
from seamless_dask_cache.server import database as database_module
from seamless_dask_cache.server.app import build_server
from seamless_dask_cache.server.database import Database
from seamless_dask_cache.server.registry import Context
from serving import hex_of, wait_for

BATCH = 10


def _write_until_killed(server, name, sent, acknowledged):
    """PUT on one connection, singles and batches in turn, until the server is gone."""
    connection = server.connect()
    try:
        for number in range(1_000_000):
            names = [f"{name}-{number}-{part}" for part in range(BATCH if number % 2 else 1)]
            if len(names) == 1:
                body = {"type": "transformation", "checksum": hex_of(names[0]), "value": "1" * 64}
            else:
                items = [{"transformation": hex_of(n), "result": "1" * 64} for n in names]
                body = {"type": "batch", "store": items}
            sent.append(names)
            connection.request("PUT", "/", json.dumps(body))
            if connection.getresponse().read():
                acknowledged.append(names)
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()


def _load(server, name, sent, acknowledged):
    """Eight clients that write as long as the server lives."""
    threads = [
        threading.Thread(
            target=_write_until_killed, args=(server, f"{name}-{n}", sent, acknowledged)
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    return threads


def _known(file):
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    known = {row[0] for row in connection.execute("SELECT checksum FROM transformation")}
    reverse = connection.execute("SELECT checksum FROM rev_transformation").fetchall()
    connection.close()
    assert known == {row[0] for row in reverse} and len(reverse) == len(known)
    return known


def _expect_all(known, sent, acknowledged):
    for names in acknowledged:
        assert known.issuperset(map(hex_of, names))
    for names in sent:
        assert len(known.intersection(map(hex_of, names))) in (0, len(names)), "half a batch"


@pytest.mark.parametrize("rounds", [5])
def test_every_acknowledged_write_survives_kill_9_under_load(start_server, tmp_path, rounds):
    """Again and again; and no batch is there by halves, whether it was acknowledged or not."""
    file = tmp_path / "killed.db"
    sent: list[list[str]] = []
    acknowledged: list[list[str]] = []
    for round_ in range(rounds):
        server = start_server(file)
        before = len(acknowledged)
        threads = _load(server, round_, sent, acknowledged)
        wait_for(lambda before=before: len(acknowledged) > before + 150)
        server.kill()
        for thread in threads:
            thread.join()
        # The next server finds them, and so does whoever opens the file without one.
        _expect_all(_known(file), sent, acknowledged)
    server = start_server(file)
    names = [hex_of(name) for names in acknowledged for name in names]
    found = server.get("batch", transformations=names)[1]["results"]
    assert len(found) == len(names) > rounds * 150


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_stops_within_5_seconds_and_loses_nothing(
    start_server, tmp_path, number
):
    """What was accepted is answered; also while clients hold connections that ask for nothing more,
    have sent half a request, or wait for a promise."""
    server = start_server(tmp_path / "x.db", "--buffers", str(tmp_path / "buffers"))
    sent: list[list[str]] = []
    acknowledged: list[list[str]] = []
    idle, half, waiting = server.connect(), server.connect(), server.connect()
    idle.request("GET", "/healthcheck")
    idle.getresponse().read()
    half.putrequest("PUT", "/")
    half.putheader("Content-Length", "1000")
    half.endheaders(b"{")
    server.raw("PUT", "", f"/promise/{hex_of('promised')}")
    waiting.request("GET", f"/{hex_of('promised')}")
    threads = _load(server, "t", sent, acknowledged)
    wait_for(lambda: len(acknowledged) > 100)
    started = time.monotonic()
    server.process.send_signal(number)
    assert server.wait_until_stopped(10) == 0
    assert time.monotonic() - started < 5.5
    for thread in threads:
        thread.join()
    _expect_all(_known(server.file), sent, acknowledged)
    assert waiting.getresponse().status == 404
    assert server.status["status"] == "stopped"
    for connection in (idle, half, waiting):
        connection.close()


@pytest.fixture
def on_small_disk(start_server, tmp_path):
    """A server whose folder is a disk of its own, of 3 MB, and what fills that disk."""
    small = tmp_path / "small"
    small.mkdir()
    mount = 'mount -t tmpfs -o size=3m tmpfs "$0" && exec "$@"'
    server = start_server(
        small / "x.db",
        *("--buffers", str(small / "buffers")),
        inside=("unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(small)),
        notes=tmp_path,
    )
    # The disk is there for the server alone; this is the way in from outside.
    return server, Path(f"/proc/{server.process.pid}/root{small}/filler")


def _fill(filler):
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def test_a_server_whose_disk_is_full_says_so_and_recovers(on_small_disk):
    """Reads go on meanwhile, failed writes leave no trace, and later ones succeed."""
    server, filler = on_small_disk
    server.put("transformation", checksum=hex_of("a"), value=hex_of("b"))
    items = [{"transformation": hex_of(f"{n}"), "result": hex_of("r")} for n in range(1500)]
    content = b"content" * 10_000
    buffer = f"/{hashlib.sha256(content).hexdigest()}"
    for _ in range(3):
        _fill(filler)
        status, text = server.put("batch", store=items)
        assert (status, text[:7]) == (507, "ERROR: ")
        status, text = server.raw("PUT", content, buffer)
        assert (status, text[:7]) == (507, "ERROR: ")
        assert server.get_text("transformation", checksum=hex_of("a")) == (200, hex_of("b"))
        assert server.get("batch", transformations=[hex_of("1")]) == (200, {"results": {}})
        assert server.raw("GET", "", buffer)[0] == 404
        assert server.raw("GET", "", "/healthcheck") == (200, "OK")
        filler.unlink()
    assert server.put("batch", store=items)[1]["stored"] == 1500
    assert server.raw("PUT", content, buffer) == (200, "OK")
    assert server.raw("GET", "", buffer) == (200, content.decode())
    assert not any((filler.parent / "buffers" / ".tmp").iterdir())
    found = server.get(
        "batch", transformations=[hex_of("a"), *(i["transformation"] for i in items)]
    )
    assert len(found[1]["results"]) == 1501


def test_a_disk_that_is_full_at_the_start_is_a_clear_error(tmp_path):
    """One line, no traceback."""
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "from seamless_dask_cache.server.__main__ import main\n"
        f"main([{str(tmp_path / 'x.db')!r}, '--writable', '--host', '127.0.0.1', '--port', '0'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: cannot open") and len(done.stderr.splitlines()) == 1


def _as_nobody(script):
    """Run a script that may not write what others own; a tester may be root."""
    drop = "import os\nif os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    imports = "import seamless_dask_cache.server.__main__ as server, uvloop, aiohttp.web\n"
    command = [sys.executable, "-c", imports + drop + script]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_folder_that_takes_no_writes_is_a_clear_error_at_the_start():
    """For a writable server; one line, no traceback."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        done = _as_nobody(f"server.main(['{folder}/x.db', '--writable', '--port', '0'])")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: cannot write beside"), done.stderr
    assert len(done.stderr.splitlines()) == 1


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
