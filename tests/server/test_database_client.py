"""The clients, against a real server."""

from __future__ import annotations

import http.server
import multiprocessing
import socket
import subprocess
import sys
import threading

import pytest
from serving import hex_of

from seamless_dask_cache.database import (
    AsyncDatabaseClient,
    DatabaseClient,
    LookupAnswer,
    StoreItem,
    StoreReport,
)
from seamless_dask_cache.errors import (
    ConfigurationError,
    DatabaseConflictError,
    DatabaseError,
    DatabaseUnavailableError,
)

TF, RESULT = hex_of("recipe"), hex_of("content")
RECORD = {"schema_version": 1, "tf_checksum": TF, "result_checksum": RESULT}
ITEM = StoreItem(
    TF, RESULT, RECORD, "recipe", b"content", {"seconds": 2.5, "nbytes": 7, "created": 9.0}
)


@pytest.fixture
def client(server):
    with DatabaseClient(server.url) as client:
        yield client


def test_the_methods_of_seamless_remote(client):
    """Unknown keys are None; what was set is got."""
    client.healthcheck()
    assert client.get_protocol() == ["seamless", "database", "2.2"]
    assert client.get_transformation_result(TF) is None
    assert client.get_rev_transformations(RESULT) is None
    assert client.get_execution_record(TF) is None
    assert client.get_irreproducible_records(TF) is None
    client.set_transformation_result(TF, RESULT)
    client.set_execution_record(TF, RESULT, RECORD)
    assert client.get_transformation_result(TF) == RESULT
    assert client.get_rev_transformations(RESULT) == [TF]
    assert client.get_execution_record(TF) == RECORD
    with pytest.raises(DatabaseConflictError, match="different metadata"):
        client.set_execution_record(TF, RESULT, {**RECORD, "more": 1})
    assert client.undo_transformation_result(TF, RESULT)
    assert client.get_irreproducible_records(TF, RESULT)[0]["metadata"] == RECORD
    assert client.get_irreproducible_records(TF, TF) is None
    client.set_bucket_probe("node", "x", RESULT, {"a": 1}, "now")
    assert client.get_bucket_probe("node", "x")["freshness_tokens"] == {"a": 1}
    assert client.get_bucket_probe("node", "y") is None


def test_batches(client):
    """Store, look up, list, forget."""
    assert client.lookup([]) == {}
    assert client.store([ITEM]) == StoreReport(1, 0, (), 0)
    assert client.store([{"transformation": TF, "result": TF}]) == StoreReport(0, 0, (TF,), 0)
    assert client.lookup([TF, RESULT]) == {TF: LookupAnswer(RESULT, b"content", True, 2.5, 7, 9.0)}
    assert client.lookup([TF], inline=False)[TF].content is None
    assert client.entries()[0]["checksum"] == TF
    assert client.entries(prefix="x") == []
    assert client.summary()["divergences"] == 1
    assert client.get_buffer(TF) == b"recipe"
    client.put_buffer(hex_of("other"), b"other")
    assert client.get_buffer(hex_of("other")) == b"other"
    assert client.get_buffer(hex_of("none")) is None
    assert client.forget([TF, RESULT]) == 1
    assert client.lookup([TF]) == {}


def test_checksum_objects_are_taken(client):
    """Anything whose text is 64 hex digits."""

    class Checksum:
        def __str__(self):
            return TF

    client.store([StoreItem(Checksum(), Checksum())])
    assert client.lookup([Checksum()])[TF].result == TF


def test_refusals_are_database_errors_with_the_servers_text(client):
    """And not unavailability."""
    with pytest.raises(DatabaseError, match="checksum") as caught:
        client.get_transformation_result("12")
    assert not isinstance(caught.value, DatabaseUnavailableError)
    with pytest.raises(DatabaseError, match=r"store\[0\]"):
        client.store([StoreItem(TF, RESULT, recipe="wrong")])


def test_nobody_there_is_unavailable():
    """Connection refused, name unknown, no answer in time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with (
            DatabaseClient(f"http://127.0.0.1:{port}", timeout=0.3) as client,
            pytest.raises(DatabaseUnavailableError, match="no answer"),
        ):
            client.lookup([TF])
    with (
        DatabaseClient(f"http://127.0.0.1:{port}") as client,
        pytest.raises(DatabaseUnavailableError),
    ):
        client.healthcheck()


def test_a_url_that_makes_no_sense_is_told_at_once():
    """Before any request."""
    with pytest.raises(ConfigurationError, match="url"):
        DatabaseClient("localhost:5522")


def test_the_token_is_presented(start_server, tmp_path):
    """And its absence is an error that says so."""
    (tmp_path / "token").write_text("s3cret")
    server = start_server(tmp_path / "x.db", "--token-file", str(tmp_path / "token"))
    with DatabaseClient(server.url, "s3cret") as client:
        assert client.lookup([TF]) == {}
    with DatabaseClient(server.url) as client, pytest.raises(DatabaseError, match="401"):
        client.lookup([TF])


def test_a_server_that_comes_back_is_used_again(start_server, tmp_path):
    """Connections that died are replaced without a word."""
    server = start_server(tmp_path / "x.db")
    port = str(server.status["port"])
    with DatabaseClient(server.url) as client:
        client.store([ITEM])
        server.kill()
        with pytest.raises(DatabaseUnavailableError):
            client.lookup([TF])
        start_server(tmp_path / "x.db", "--port", port)
        assert client.lookup([TF])[TF].result == RESULT


def test_many_threads_share_one_client(client):
    """Every one gets its own answers."""
    client.store(
        [{"transformation": hex_of(f"t{n}"), "result": hex_of(f"r{n}")} for n in range(99)]
    )
    wrong = []

    def ask(start):
        for n in range(start, 99, 8):
            if client.get_transformation_result(hex_of(f"t{n}")) != hex_of(f"r{n}"):
                wrong.append(n)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


async def test_the_asynchronous_client(server):
    """The same methods, awaited."""
    async with AsyncDatabaseClient(server.url) as client:
        await client.healthcheck()
        assert await client.store([ITEM]) == StoreReport(1, 0, (), 0)
        assert (await client.lookup([TF]))[TF].content == b"content"
        assert await client.forget([TF]) == 1


def _ask_in_child(client, queue):
    queue.put(client.get_transformation_result(TF))


def test_a_client_works_after_a_fork_on_both_sides(client):
    """The child opens connections of its own; the parent's stay usable."""
    client.set_transformation_result(TF, RESULT)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_ask_in_child, args=(client, queue))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert queue.get() == RESULT
    assert client.get_transformation_result(TF) == RESULT
    queue.close()


def test_a_program_that_forgets_to_close_ends_quietly(server):
    """No warning, no hanging thread."""
    program = f"""
from seamless_dask_cache.database import DatabaseClient
client = DatabaseClient({server.url!r})
client.healthcheck()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_the_client_does_not_import_aiohttp():
    """A program that never asks pays nothing."""
    program = (
        "import sys, seamless_dask_cache.database, seamless_dask_cache.embedded;"
        "print([m for m in ('aiohttp', 'seamless_dask_cache.server') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


FILES = {"/data/a.csv": "10-1"}


def test_files_go_with_a_result(client):
    """They come back with the lookup, and None where there are none."""

    class Path(str):
        """What identity has in the place of a path."""

    client.store([StoreItem(TF, RESULT, files={Path("/data/a.csv"): "10-1"})])
    client.store([{"transformation": RESULT, "result": TF}])
    found = client.lookup([TF, RESULT])
    assert (found[TF].files, found[RESULT].files) == (FILES, None)


def test_recipes_and_notes(client):
    """Those of stored items and those without a result; however many are asked for."""
    client.store([ITEM], recipes=[{"function": "f", "content": "more"}], notes={TF: {"a": 1}})
    assert [recipe["recipe"] for recipe in client.recipes("f")] == ["more"]
    assert client.recipes("f", limit=0) == []
    many = [hex_of(f"{n}") for n in range(2_500)]
    found = {r["checksum"]: r["result"] for r in client.recipes(checksums=[TF, *many, TF])}
    assert found == {TF: RESULT}
    assert len(client.recipes()) == 2
    assert client.notes([*many, TF]) == {TF: {"a": 1}}
    assert client.recipes(checksums=[]) == [] and client.notes([]) == {}
    with pytest.raises(DatabaseError, match="not both"):
        client.recipes("f", checksums=[TF])


def test_recipes_asked_for_in_parts_are_in_order_all_the_same(client):
    """The newest first, wherever it stood in the question."""
    for name in ("old", "new"):
        client.store((), recipes=[{"function": "f", "content": name}])
    wanted = [hex_of("old"), *(hex_of(f"{n}") for n in range(1_000)), hex_of("new")]
    assert [recipe["recipe"] for recipe in client.recipes(checksums=wanted)] == ["new", "old"]


async def test_the_asynchronous_client_has_recipes_and_notes_too(server):
    """Awaited."""
    async with AsyncDatabaseClient(server.url) as client:
        recipes = [{"function": "f", "content": "x"}]
        await client.store((), recipes=recipes, notes={TF: {"a": 1}})
        assert [recipe["recipe"] for recipe in await client.recipes("f")] == ["x"]
        assert await client.notes([TF]) == {TF: {"a": 1}}


def test_what_json_cannot_hold_is_a_refusal(client):
    """Such as a file name that is not UTF-8: of that item only, when it is sent by itself."""
    with pytest.raises(DatabaseError, match="JSON") as caught:
        client.store([StoreItem(TF, RESULT, files={"/data/\udce9": "10-1"})])
    assert not isinstance(caught.value, DatabaseUnavailableError)
    assert client.lookup([TF]) == {}


class _ServerOfVersion01(http.server.BaseHTTPRequestHandler):
    """Knows batches but neither files nor notes."""

    def do_GET(self):
        self._answer(400, b"ERROR: Malformed request: unknown type")

    def do_PUT(self):
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(200, b'{"stored":1,"existing":0,"diverged":[],"forgotten":0}')

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def old_server():
    """A server of version 0.1, with the bodies of its PUT requests."""
    with http.server.HTTPServer(("127.0.0.1", 0), _ServerOfVersion01) as old:
        old.bodies = []
        thread = threading.Thread(target=old.serve_forever)
        thread.start()
        yield old
        old.shutdown()
        thread.join()


def test_no_result_that_depends_on_files_goes_to_a_server_that_would_drop_them(old_server):
    """An embedded server of version 0.1 may still run after an upgrade."""
    with DatabaseClient(f"http://127.0.0.1:{old_server.server_port}") as client:
        with pytest.raises(DatabaseError, match="too old"):
            client.store([StoreItem(TF, RESULT, files=FILES)])
        assert old_server.bodies == []
        client.store([StoreItem(TF, RESULT)])
        assert len(old_server.bodies) == 1


def test_clients_and_server_agree_on_limits():
    """The server imports nothing of the clients."""
    from seamless_dask_cache.server import handlers, writing

    from seamless_dask_cache import database_messages

    assert database_messages.MAX_FILES_BYTES == writing.MAX_FILES_BYTES
    assert database_messages.MAX_NOTE_BYTES == writing.MAX_NOTE_BYTES
    assert database_messages.MAX_DOCUMENTS == handlers.MAX_DOCUMENTS
