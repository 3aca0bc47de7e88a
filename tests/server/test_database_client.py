"""The clients, against a real server."""

from __future__ import annotations

import json
import multiprocessing
import socket
import socketserver
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from serving import hex_of

from seamless_dask_cache import database_async
from seamless_dask_cache.database import (
    AsyncDatabaseClient,
    Cost,
    DatabaseClient,
    LeaseAnswer,
    Lookup,
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


def test_large_requests_are_sent_without_a_warning(client):
    """Thousands of items; warnings are errors here, as they may be in a user's tests."""
    items = [{"transformation": hex_of(f"{n}"), "result": RESULT} for n in range(20_000)]
    assert client.store(items).stored == 20_000
    assert len(client.lookup([item["transformation"] for item in items])) == 20_000
    content = b"x" * 3_000_000
    client.put_buffer(hex_of(content.decode()), content)
    assert client.get_buffer(hex_of(content.decode())) == content


async def test_a_large_body_can_be_sent_again():
    """aiohttp does so when a connection turns out to be dead: the second time starts anew."""
    from seamless_dask_cache.database_body import PIECE, LargeBody

    class Writer(list):
        async def write(self, piece):
            self.append(piece)

    content = bytes(range(256)) * 5_000
    body = LargeBody(content)
    assert body.size == len(content)
    for _ in range(2):
        pieces = Writer()
        await body.write(pieces)
        assert b"".join(pieces) == content and max(map(len, pieces)) == PIECE


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
    """Of that item only, when it is sent by itself."""
    with pytest.raises(DatabaseError, match="JSON") as caught:
        client.store([StoreItem(TF, RESULT, {**RECORD, "value": object()})])
    assert not isinstance(caught.value, DatabaseUnavailableError)
    assert client.lookup([TF]) == {}


OTHER = {**RECORD, "tf_checksum": hex_of("nan")}
LOSSLESS = {
    "long": 2**64 + 1,
    "negative": -(2**63) - 1,
    "longest": 10**4000,
    "name": "/data/\udce9",
    "in a list": [2**70, {"2": -(2**80)}],
    "float": 1e300,
    "infinite": [float("inf"), -float("inf"), None],
    "text": ": 1234567890123456789012",
    "deep": json.loads("[" * 300 + "]" * 300),
}


def test_records_come_back_whole(server, client):
    """With integers of any size, names of files that are not UTF-8, and deep lists."""
    record = {**RECORD, **LOSSLESS}
    client.set_execution_record(TF, RESULT, record)
    assert client.get_execution_record(TF) == record
    client.set_execution_record(TF, RESULT, record)  # the same one again is no conflict
    with pytest.raises(DatabaseConflictError):
        client.set_execution_record(TF, RESULT, {**record, "long": 2**64 + 2})
    client.undo_transformation_result(TF, RESULT)
    assert client.get_irreproducible_records(TF)[0]["metadata"] == record
    client.set_execution_record(hex_of("nan"), RESULT, {**OTHER, "nan": float("nan"), "none": None})
    assert repr(client.get_execution_record(hex_of("nan"))) == repr(
        {**OTHER, "nan": float("nan"), "none": None}
    )
    assert server.put("buffer_info", checksum=TF, value={"length": 1, **LOSSLESS}) == (200, "OK")
    assert server.put("buffer_info", checksum=TF, value={"is_json": True}) == (200, "OK")
    assert server.get("buffer_info", checksum=TF)[1] == {"length": 1, "is_json": True, **LOSSLESS}


@pytest.mark.parametrize("name", LOSSLESS)
def test_each_of_them_comes_back_whole_by_itself(client, name):
    """One of them must not bring the others along."""
    record = {**RECORD, name: LOSSLESS[name]}
    client.set_execution_record(TF, RESULT, record)
    assert client.get_execution_record(TF) == record


def test_files_with_names_that_are_not_utf8_go_with_a_result(client):
    """As the system gives them."""
    files = {"/data/\udce9": "10-1"}
    client.store([StoreItem(TF, RESULT, files=files)])
    assert client.lookup([TF])[TF].files == files


def test_results_are_touched(server, client):
    """Known ones only; `entries` says when, and forgetting takes it along."""
    client.store([ITEM])
    assert client.entries()[0]["used"] is None
    before = int(time.time())
    assert client.touch([TF, hex_of("unknown")]) == 1
    assert before <= client.entries()[0]["used"] <= time.time()
    assert client.store([], forget=[TF], touch=[TF]).touched == 0
    client.store([ITEM])
    assert client.entries()[0]["used"] is None


def test_a_request_is_sent_again_when_the_connection_fails(start_server, tmp_path):
    """A server that is just being started anew is no reason for an error."""
    server = start_server(tmp_path / "x.db")
    port = str(server.status["port"])
    with DatabaseClient(server.url, retries=50) as client:
        client.store([ITEM])
        server.kill()
        found = []
        asking = threading.Thread(target=lambda: found.append(client.lookup([TF])))
        asking.start()
        start_server(tmp_path / "x.db", "--port", port)
        asking.join(30)
        assert found[0][TF].result == RESULT


def test_an_answer_is_never_asked_for_again():
    """Nor is one that does not come in time: the server may be working on it."""
    requests = []

    class Slow(socketserver.StreamRequestHandler):
        def handle(self):
            requests.append(self.rfile.readline())
            if len(requests) == 1:
                self.wfile.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            else:
                over.wait(20)

    over = threading.Event()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Slow) as listener:
        threading.Thread(target=listener.serve_forever).start()
        url = f"http://127.0.0.1:{listener.server_address[1]}"
        with DatabaseClient(url, timeout=0.5) as client:
            with pytest.raises(DatabaseUnavailableError, match="503"):
                client.healthcheck()
            with pytest.raises(DatabaseUnavailableError, match="no answer"):
                client.healthcheck()
        over.set()
        listener.shutdown()
    assert len(requests) == 2


def test_a_connection_is_used_again(server, client):
    """For all requests of one client that come one after the other."""
    for _ in range(5):
        client.get_transformation_result(TF)
    status, text = server.raw("GET", "", "/metrics")
    assert status == 200
    assert "seamless_database_connections 2.0" in text  # the client's, and that of this question


def test_many_lookups_go_in_several_requests(client, monkeypatch):
    """And come back as one answer."""
    monkeypatch.setattr(database_async, "MAX_LOOKUPS", 3)
    names = [hex_of(f"{n}") for n in range(10)]
    client.store([{"transformation": name, "result": RESULT} for name in names])
    assert set(client.lookup([*names, TF])) == set(names)
    client.store([], costs={name: (1, 2.0, 3.0, 0, 0.0) for name in names})
    found = client.look_up([*names, TF], names[:7], [TF])
    assert (set(found.answers), set(found.costs)) == (set(names), set(names[:7]))


def test_cutoffs_come_back_verified(server, client):
    """With their contents, by skeleton; none that is damaged."""
    skeleton, one, two = (hex_of(name) for name in ("s", "1", "2"))
    client.put_buffer(RESULT, b"content")
    client.put_buffer(hex_of(""), b"")
    rows = [(skeleton, one, RESULT, 7, 1.5), (skeleton, two, hex_of(""), None, None, TF)]
    client.store([], cutoffs=rows)
    known = {
        one: LookupAnswer(RESULT, b"content", True, 1.5, 7),
        two: LookupAnswer(hex_of(""), b"", True),
    }
    assert client.cutoffs([skeleton, skeleton, hex_of("never")]) == {skeleton: known}
    assert {row.content for row in client.cutoffs([skeleton], False)[skeleton].values()} == {None}
    assert len(client.cutoffs([skeleton], limit=1)[skeleton]) == 1
    assert client.cutoffs([]) == {}
    connection = sqlite3.connect(server.file)
    connection.execute("UPDATE buffer SET content = ? WHERE checksum = ?", (b"damaged", RESULT))
    connection.commit()
    connection.close()
    assert client.cutoffs([skeleton]) == {skeleton: {two: known[two]}}


def test_costs_come_with_a_lookup(client):
    """As sums; unknown codes are not there."""
    code = hex_of("def f")
    client.store([ITEM], costs={code: Cost(2, 3.0, 100, 1, 0.5)})
    client.store([], costs={code: (1, 1.0, 50, 0, 0.0)})
    found = client.look_up([TF, RESULT], [code, TF])
    assert found.answers == client.lookup([TF])
    assert found.costs == {code: Cost(3, 4.0, 150.0, 1, 0.5)}
    assert client.look_up([], [code]) == Lookup({}, found.costs)
    assert client.look_up([], []) == Lookup()


def test_what_is_irreproducible_comes_with_a_lookup(client):
    """Among what is asked for and its inputs; no result of it counts."""
    other = hex_of("another")
    client.store([ITEM, StoreItem(other, RESULT)])
    assert client.look_up([TF, other]).irreproducible == set()
    client.undo_transformation_result(TF, ITEM.result)
    found = client.look_up([TF, other], [other])
    assert found.answers.keys() == {other}
    assert found.irreproducible == {TF}
    assert client.look_up([other], inputs=[TF]) == Lookup(found.answers, {}, {TF})
    assert client.look_up([other], inputs=[RESULT]) == Lookup(found.answers)


def test_divergences_are_listed(client):
    """Newest first."""
    client.store([ITEM])
    for name in ("x", "y"):
        client.store([StoreItem(TF, hex_of(name))])
    found = client.divergences()
    assert [(row["result"], row["first"]) for row in found] == [
        (hex_of("y"), RESULT),
        (hex_of("x"), RESULT),
    ]
    assert len(client.divergences(limit=1)) == 1


async def test_the_asynchronous_client_leases(server):
    """Awaited."""
    async with AsyncDatabaseClient(server.url) as client:
        assert (await client.acquire("x", [TF], 30)).granted == {TF}
        assert await client.renew("x", 30) == 1
        assert set((await client.leases([TF])).held) == {TF}
        assert await client.release_all("x") == 1
        assert await client.leases([]) == await client.acquire("x", [], 30) == LeaseAnswer()


def test_clients_and_server_agree_on_limits():
    """The server imports nothing of the clients."""
    from seamless_dask_cache.server import cache_handlers, cutoffs, writing

    from seamless_dask_cache import database_messages

    assert database_messages.MAX_FILES_BYTES == writing.MAX_FILES_BYTES
    assert database_messages.MAX_NOTE_BYTES == writing.MAX_NOTE_BYTES
    assert database_messages.MAX_DOCUMENTS == cache_handlers.MAX_DOCUMENTS
    assert database_messages.MAX_CUTOFFS == cutoffs.MAX_OF_SKELETON
