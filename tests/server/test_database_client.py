"""The clients, against a real server."""

from __future__ import annotations

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
