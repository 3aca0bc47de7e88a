"""Results that outlive the process: in the database of a real server."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import numpy as np
import pytest
from aiohttp import web
from click.testing import CliRunner
from keeping import Keeper, keeping
from serving import Server

import seamless_dask_cache as sdc
from seamless_dask_cache import local
from seamless_dask_cache.cli import main
from seamless_dask_cache.server_store import ServerStore
from seamless_dask_cache.stores import GenomeStore, ProvenanceStore, TrackStore
from seamless_dask_cache.stores.shared_results import cache_for

ROOT = Path(__file__).parents[2]
SMALL, LARGE = 10, 5_000_000
pytestmark = pytest.mark.usefixtures("own_caches", "no_folder_of_the_user")


@pytest.fixture
def no_folder_of_the_user(tmp_path):
    """What is stored beside the server must not be in the cache folder, which stays empty."""
    folder = tmp_path / "cache"
    with dask.config.set({"seamless-dask-cache.cache-dir": str(folder)}):
        yield
    assert not list(folder.rglob("*"))


@pytest.fixture
def keeper(tmp_path):
    with keeping(tmp_path) as server:
        yield server


def elsewhere(**options):
    """A store that shares nothing with another one of this process."""
    local.reset()
    return ProvenanceStore(**options)


def noisy(calls):
    """A function that notes its calls where nobody sees it."""

    note = Note(calls)

    def stretch(text, nbytes):
        note(text)
        return np.frombuffer((text * nbytes)[:nbytes].encode(), np.uint8).copy()

    return stretch


class Note:
    """Notes calls; whatever was noted, it is the same."""

    def __init__(self, calls):
        self.calls = calls

    def __call__(self, what):
        self.calls.append(what)

    def __seamless_identity__(self):
        return "note"


@pytest.mark.parametrize("nbytes", [SMALL, LARGE])
def test_another_store_is_served(keeper, nbytes):
    """A result is there for a store with ids of its own; the function does not run again."""
    calls = []
    for number in range(2):
        store = elsewhere(database=keeper.url)
        made = store.compute("stretch", [store.put("ab")], {"nbytes": nbytes}, noisy(calls))
        found = store[made].item
        assert found.nbytes == nbytes
        assert found[:4].tobytes() == b"abab"
        assert calls == ["ab"], number
    other = elsewhere(database=keeper.url)
    assert other.compute("stretch", [other.put("ab")], {"nbytes": nbytes}, noisy(calls)) != made


def test_each_part_of_the_identity_counts(keeper):
    """Operation, code, content and order of the inputs, and parameters: each makes another result.

    Where they are, ids are not.
    """
    calls = []
    note = Note(calls)

    def first(a, b, by=0):
        note("first")
        return a + b

    def second(a, b, by=0):
        note("second")
        return b + a

    asked = [
        ("join", "a", "b", {}, first),
        ("JOIN", "a", "b", {}, first),
        ("join", "b", "a", {}, first),
        ("join", "a", "c", {}, first),
        ("join", "a", "b", {"by": 1}, first),
        ("join", "a", "b", {"by": 1.0}, first),
        ("join", "a", "b", {"by": True}, first),
        ("join", "a", "b", {}, second),
    ]
    for _ in range(2):
        for operation, a, b, params, function in asked:
            store = ProvenanceStore(database=keeper.url)
            made = store.compute(operation, [store.put(a), store.put(b)], params, function)
            assert store[made].item == (a + b if function is first else b + a)
        assert len(calls) == len(asked)


def test_inputs_of_a_function_that_takes_nothing_count(keeper):
    """What the closure does not tell is in the identity, too."""
    for item, by in (("a", 1), ("b", 1), ("a", 2), ("a", 1)):
        store = ProvenanceStore(database=keeper.url)
        store.compute("constant", [store.put(item)], {"by": by}, lambda: 5)
    with sdc.DatabaseClient(keeper.url) as client:
        assert client.summary()["transformations"] == 3


def test_functions_without_a_signature_are_shared(keeper):
    """A function written in C is known by its name."""
    for _ in range(2):
        store = elsewhere(database=keeper.url)
        assert store[store.compute("larger", [store.put(1), store.put(2)], {}, max)].item == 2
    with sdc.DatabaseClient(keeper.url) as client:
        assert client.summary()["transformations"] == 1


def test_cached_functions_are_shared_too(keeper):
    """A function with a memory of its own can be an operation."""
    remembered = sdc.cached(double)
    with dask.config.set({"seamless-dask-cache.database": keeper.url}):
        for _ in range(2):
            store = elsewhere(database=True)
            made = store.compute("twice", [store.put(4)], {}, remembered)
            assert store[made].item == 8
    with sdc.DatabaseClient(keeper.url) as client:
        assert sorted(entry["key_prefix"] for entry in client.entries()) == ["double", "twice"]


def test_the_record_is_like_those_of_cached(keeper):
    """It has a recipe, an execution record, and the operation as the name for lists."""
    store = ProvenanceStore(database=keeper.url)
    store.compute("double it", [store.put(4)], {}, double)
    with sdc.DatabaseClient(keeper.url) as client:
        (entry,) = client.entries()
        (recipe,) = client.recipes()
        record = client.get_execution_record(entry["checksum"])
        assert client.entries("double i")
    assert entry["key_prefix"] == "double it"
    assert entry["function"].endswith("double")
    assert entry["nbytes"] == len(b"8\n")
    assert entry["created"] > 1.7e9
    assert '"version"' in recipe["recipe"]
    assert "double it" in recipe["recipe"]
    assert record["wall_time_seconds"] == entry["seconds"] >= 0
    assert record["result_checksum"] == entry["result"]


def double(x):
    return 2 * x


def test_commands_show_it_under_the_name_of_the_operation(keeper):
    """It is listed, and explained, by operation and function."""
    store = ProvenanceStore(database=keeper.url)
    store.compute("double-it", [store.put(4)], {}, double)

    def told(*command):
        return CliRunner().invoke(
            main, [*command, "--database", keeper.url], catch_exceptions=False
        )

    listed, explained = told("ls"), told("explain", "double-it")
    (line,) = [line for line in listed.output.split("\n") if "double-it" in line]
    assert re.search(r"double-it .* double\b", line)
    assert explained.exit_code == 0
    assert "double-it" in explained.output
    assert re.search(r"function  \S*double\n", explained.output)
    assert "version: 'double-it'" in explained.output


@pytest.mark.parametrize("given", ["store", "call", "neither", "off"])
def test_the_database_of_a_call_goes_before_that_of_the_store(keeper, given):
    """Without one, nothing is asked; False turns it off."""
    store = ProvenanceStore(database=keeper.url if given in ("store", "off") else None)
    chosen = {"call": keeper.url, "off": False}.get(given)
    store.compute("double", [store.put(4)], {}, double, database=chosen)
    with sdc.DatabaseClient(keeper.url) as client:
        assert client.summary()["transformations"] == (given in ("store", "call"))


def test_the_configured_database_is_used(keeper):
    """True stands for the database that is in force in this process."""
    with dask.config.set({"seamless-dask-cache.database": keeper.url}):
        store = ProvenanceStore(database=True)
        made = store.compute("stretch", [store.put("ab")], {"nbytes": LARGE}, noisy([]))
    assert store[made].item.nbytes == LARGE
    assert len(list(keeper.folder.glob("??/*"))) == 1


def test_cached_calls_beside_it_change_nothing(keeper):
    """Large results go to the server, also where `cached` uses the same database its own way."""
    with dask.config.set({"seamless-dask-cache.database": keeper.url}):
        assert sdc.cached(double)(4) == 8
        store = ProvenanceStore(database=True)
        store.compute("stretch", [store.put("ab")], {"nbytes": LARGE}, noisy([]))
    assert len(list(keeper.folder.glob("??/*"))) == 1


def test_configured_buffers_go_before_those_of_the_server(keeper, tmp_path):
    """Who configured a place for buffers has large results there."""
    with dask.config.set({"seamless-dask-cache.buffers": str(tmp_path / "mine")}):
        store = ProvenanceStore(database=keeper.url)
        store.compute("stretch", [store.put("ab")], {"nbytes": LARGE}, noisy([]))
    assert len(list((tmp_path / "mine").glob("??/*"))) == 1
    assert not keeper.folder.exists()


def test_deleting_leaves_what_is_shared(keeper):
    """After a deletion, the result comes from the database, under another id."""
    calls = []
    store = ProvenanceStore(database=keeper.url)
    text = store.put("ab")
    first = store.compute("stretch", [text], {"nbytes": 10}, noisy(calls))
    store.delete(first)
    second = store.compute("stretch", [text], {"nbytes": 10}, noisy(calls))
    assert second != first
    assert store[second].item.nbytes == 10
    assert len(calls) == 1


def test_genomes_and_tracks_are_shared_by_content(keeper):
    """Ids differ, stores differ: the content of what is in a linked store counts."""
    calls = []
    note = Note(calls)
    for _ in range(2):
        local.reset()
        genomes = GenomeStore()
        tracks = TrackStore(linked=[genomes], database=keeper.url)
        genome = genomes.put({"chr1": "GATTACA"})

        def lengths(genome):
            note("lengths")
            return {name: len(text) for name, text in genome.items()}

        found = tracks[tracks.compute("lengths", [genome], {}, lengths)]
        assert (found.track, found.track_type) == ({"chr1": 7}, "dict")
    assert len(calls) == 1


def test_what_has_no_identity_is_computed(keeper):
    """An input that nobody could know again is no error, and nothing is stored."""
    store = ProvenanceStore(database=keeper.url)
    made = store.compute("kind", [store.put(object())], {}, lambda x: type(x).__name__)
    assert store[made].item == "object"
    with sdc.DatabaseClient(keeper.url) as client:
        assert client.summary()["transformations"] == 0


def test_many_threads_ask_once(keeper):
    """The database is asked by one thread, too."""
    calls, barrier = [], threading.Barrier(4)
    store = ProvenanceStore(database=keeper.url)
    text = store.put("ab")

    def ask(_):
        barrier.wait(30)
        return store.compute("stretch", [text], {"nbytes": 100_000}, noisy(calls))

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ask, range(4)))) == 1
    assert len(calls) == 1


# Faults -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nbytes", [SMALL, LARGE])
def test_a_server_that_was_killed_is_done_without(tmp_path, nbytes, caplog):
    """Killed, it keeps nobody from computing; started again, it serves what it had."""
    server = Keeper(tmp_path, "--port", "0").wait_until_running()
    port, calls = str(server.status["port"]), []
    store = ProvenanceStore(database=server.url)
    text = store.put("ab")
    store.compute("stretch", [text], {"nbytes": nbytes}, noisy(calls))
    server.kill()
    made = store.compute("stretch", [text], {"nbytes": nbytes + 1}, noisy(calls))
    assert store[made].item.nbytes == nbytes + 1
    assert len(calls) == 2
    assert "computing without it" in caplog.text
    server = Keeper(tmp_path, "--port", port)
    try:
        server.wait_until_running()
        store = elsewhere(database=f"http://127.0.0.1:{port}")
        made = store.compute("stretch", [store.put("ab")], {"nbytes": nbytes}, noisy(calls))
        assert store[made].item.nbytes == nbytes
        assert len(calls) == 2
    finally:
        server.stop()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_damaged_buffer_is_not_served(keeper, is_there):
    """What does not match its checksum, or is gone, is computed anew and is there afterwards."""
    calls = []
    store = ProvenanceStore(database=keeper.url)
    store.compute("stretch", [store.put("ab")], {"nbytes": LARGE}, noisy(calls))
    (file,) = keeper.folder.glob("??/*")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()
    if is_there:
        file.write_bytes(content)
    for _ in range(2):
        store = elsewhere(database=keeper.url)
        made = store.compute("stretch", [store.put("ab")], {"nbytes": LARGE}, noisy(calls))
        assert store[made].item[-1] == ord("b")
    assert len(calls) == 2


def test_a_server_without_a_folder_takes_what_is_small(tmp_path, caplog):
    """A large result is only not stored, with a warning; small ones are, right after it."""
    server = Server(tmp_path / "x.db").wait_until_running()
    try:
        calls = []
        store = ProvenanceStore(database=server.url)
        text = store.put("ab")
        made = store.compute("stretch", [text], {"nbytes": LARGE}, noisy(calls))
        assert store[made].item.nbytes == LARGE
        assert "start it with --buffers" in caplog.text
        for nbytes in (SMALL, 100_000):
            store.compute("stretch", [text], {"nbytes": nbytes}, noisy(calls))
        store = elsewhere(database=server.url)
        for nbytes in (SMALL, 100_000):
            store.compute("stretch", [store.put("ab")], {"nbytes": nbytes}, noisy(calls))
        assert len(calls) == 3
    finally:
        server.stop()


def test_a_server_that_only_reads_serves(tmp_path):
    """What it knows is served; what it does not know is computed, and not stored."""
    calls = []
    with keeping(tmp_path) as server:
        store = ProvenanceStore(database=server.url)
        store.compute("stretch", [store.put("ab")], {"nbytes": LARGE}, noisy(calls))
    with keeping(tmp_path, writable=False) as server:
        store = elsewhere(database=server.url)
        for nbytes, runs in ((SMALL + 1, 2), (LARGE, 2), (LARGE + 2, 3)):
            store.compute("stretch", [store.put("ab")], {"nbytes": nbytes}, noisy(calls))
            assert len(calls) == runs, "one that is not stored does not keep others from being read"
        calls.clear(), calls.append("the first")
        for nbytes, runs in ((LARGE, 1), (SMALL, 2), (LARGE + 1, 3)):
            store = elsewhere(database=server.url)
            made = store.compute("stretch", [store.put("ab")], {"nbytes": nbytes}, noisy(calls))
            assert store[made].item.nbytes == nbytes
            assert len(calls) == runs


def test_a_wrong_token_keeps_nobody_from_computing(tmp_path, caplog):
    """Without the token the result is computed; with the configured one it is shared."""
    (tmp_path / "token").write_text("a secret")
    (tmp_path / "wrong").write_text("another")
    calls = []
    with keeping(tmp_path, "--token-file", str(tmp_path / "token")) as server:
        for name in ("wrong", "token", "token"):
            with dask.config.set({"seamless-dask-cache.token-file": str(tmp_path / name)}):
                store = elsewhere(database=server.url)
                made = store.compute("stretch", [store.put("ab")], {"nbytes": LARGE}, noisy(calls))
                assert store[made].item.nbytes == LARGE
    assert len(calls) == 2
    assert "a secret" not in caplog.text


def test_a_configuration_that_makes_no_sense_is_an_error():
    """A token file that is not there is told, not passed over."""
    store = ProvenanceStore(database="http://127.0.0.1:9")
    with (
        dask.config.set({"seamless-dask-cache.token-file": "/nowhere/token"}),
        pytest.raises(sdc.ConfigurationError, match="token-file '/nowhere/token'"),
    ):
        store.compute("double", [store.put(4)], {}, double)
    assert len(store) == 1


def test_failures_of_the_function_are_not_shared(keeper):
    """An error goes to the caller, and the next call computes."""
    store = ProvenanceStore(database=keeper.url)
    with pytest.raises(ZeroDivisionError):
        store.compute("divide", [store.put(0)], {}, lambda x: 1 / x)
    with sdc.DatabaseClient(keeper.url) as client:
        assert client.summary()["transformations"] == 0


# Other processes ----------------------------------------------------------------------------------

PROGRAM = """
import sys
from helper import shift
from seamless_dask_cache.stores import ProvenanceStore

def stretch(text, nbytes):
    print("computing")
    return [shift(text), bytes(nbytes)]

store = ProvenanceStore(database=sys.argv[1])
id = store.compute("stretch", [store.put("ab")], {"nbytes": int(sys.argv[2])}, stretch)
print(store[id].item[0], len(store[id].item[1]))
"""


def run(folder, url, nbytes):
    """Run the program in a process of its own; give what it prints."""
    done = subprocess.run(
        [sys.executable, "program.py", url, str(nbytes)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "random"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize("nbytes", [SMALL, LARGE])
def test_another_process_is_served_until_the_code_changes(keeper, tmp_path, nbytes):
    """A second process does not compute; after an edit of what the function calls, it does."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "helper.py").write_text("def shift(text):\n    return text.upper()\n")
    assert run(tmp_path, keeper.url, nbytes) == ["computing", f"AB {nbytes}"]
    assert run(tmp_path, keeper.url, nbytes) == [f"AB {nbytes}"]
    (tmp_path / "helper.py").write_text("def shift(text):\n    return text.title()\n")
    assert run(tmp_path, keeper.url, nbytes) == ["computing", f"Ab {nbytes}"]
    (tmp_path / "program.py").write_text(PROGRAM.replace("text, nbytes):", "text, nbytes):\n"))
    assert run(tmp_path, keeper.url, nbytes) == [f"Ab {nbytes}"]


# The server as a buffer store ---------------------------------------------------------------------


@pytest.fixture
def buffers(keeper):
    with sdc.DatabaseClient(keeper.url) as client:
        yield ServerStore(client)


@pytest.mark.parametrize("nbytes", [0, SMALL, LARGE])
def test_buffers_come_back(buffers, nbytes):
    """What was put is there, for another client, too; a second put writes nothing."""
    content = os.urandom(nbytes)
    checksum = sdc.Checksum.of(content)
    assert buffers.get(checksum) is None
    assert not buffers.has(checksum)
    assert buffers.put(checksum, [content[:7], memoryview(content)[7:]])
    assert not buffers.put(checksum, content)
    assert buffers.add([content]) == checksum.hex()
    again = pickle.loads(pickle.dumps(buffers))
    assert again.has(checksum.hex())
    assert again.get(checksum.bytes()) == content
    assert again.has_many([checksum, sdc.Checksum.of(b"other")]) == {checksum.hex()}
    again.client.close()


def test_only_what_matches_is_put_and_served(buffers, keeper, monkeypatch):
    """Content under a wrong name is refused here; what a server gives is verified."""
    with pytest.raises(sdc.StoreError, match="has checksum"):
        buffers.put(sdc.Checksum.of(b"other"), b"content")
    monkeypatch.setattr(buffers.client, "fetch_buffer", lambda key: b"content")
    with pytest.raises(sdc.CorruptBufferError, match="7 bytes that are not buffer"):
        buffers.get(sdc.Checksum.of(b"other"))
    assert ServerStore(buffers.client, verify=False).get(sdc.Checksum.of(b"other")) == b"content"


def test_what_a_server_cannot_do_is_said(buffers):
    """Buffers are not deleted over HTTP, nor listed, nor summed up."""
    key = buffers.add(b"content")
    assert not buffers.delete(key)
    assert buffers.has(key)
    with pytest.raises(sdc.StoreError, match="does not list"):
        iter(buffers)
    with pytest.raises(sdc.StoreError, match="does not tell"):
        buffers.nbytes()
    with pytest.raises(ValueError, match="xyz"):
        buffers.delete("xyz")


async def test_large_buffers_may_take_longer_than_questions(monkeypatch):
    """An upload may last a second more per ten megabytes; of a download nobody knows the length."""
    limits = []

    async def send(self, method, path, body, unless=None, timeout=None):
        limits.append((method, timeout.total, timeout.sock_read))

    monkeypatch.setattr(sdc.AsyncDatabaseClient, "_send", send)
    client = sdc.AsyncDatabaseClient("http://127.0.0.1:9", timeout=7)
    await client.send_buffer("00" * 32, bytes(50_000_000))
    await client.fetch_buffer("00" * 32)
    assert limits == [("PUT", 12, None), ("GET", None, 7)]


async def test_a_server_that_drips_is_not_waited_for():
    """It sends a byte now and then, which no limit between two bytes would notice."""

    async def drip(request):
        response = web.StreamResponse(headers={"Content-Length": "100000"})
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.02)

    app = web.Application()
    app.router.add_get("/{checksum}", drip)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    client = sdc.AsyncDatabaseClient(f"http://127.0.0.1:{port}", timeout=0.3, retries=0)
    try:
        with pytest.raises(sdc.DatabaseUnavailableError, match="no answer within"):
            await client.fetch_buffer("00" * 32)
    finally:
        await client.close()
        await runner.cleanup()


def test_a_result_whose_buffer_is_gone_is_replaced(keeper):
    """Also where computing it again gives another one: the new one is served from then on."""
    calls = []
    note = Note(calls)

    def different():
        note("ran")
        return np.full(LARGE // 8, len(note.calls), float)

    for runs in (1, 2, 2):
        store = elsewhere(database=keeper.url)
        assert store[store.compute("make", [], {}, different)].item[0] == runs == len(calls)
        if runs == 1:
            for file in keeper.folder.rglob("*"):
                if file.is_file():
                    file.unlink()


def test_who_has_other_buffers_leaves_records_alone(tmp_path):
    """A buffer that is not found is computed again; the record stays good for those who have it."""
    calls = []
    server = Server(tmp_path / "x.db").wait_until_running()
    shared = {"seamless-dask-cache.buffers": str(tmp_path / "shared")}
    try:
        for config, runs in ((shared, 1), (shared, 1), ({}, 2), (shared, 2)):
            with dask.config.set(config):
                store = elsewhere(database=server.url)
                store.compute("stretch", [store.put("ab")], {"nbytes": LARGE}, noisy(calls))
            assert len(calls) == runs
    finally:
        server.stop()


def test_a_server_that_is_away_is_told(tmp_path):
    """Every request says that nobody answers."""
    with sdc.DatabaseClient("http://127.0.0.1:9", retries=0) as client:
        store = ServerStore(client)
        key = sdc.Checksum.of(b"x")
        for ask in (store.get, store.has, lambda key: store.put(key, b"x")):
            with pytest.raises(sdc.DatabaseUnavailableError, match=r"127\.0\.0\.1:9"):
                ask(key)


def test_a_store_of_a_process_keeps_its_connection(keeper):
    """Two stores with the same database share what is connected."""
    assert cache_for(keeper.url) is cache_for(keeper.url)
    first, second = ProvenanceStore(database=keeper.url), ProvenanceStore(database=keeper.url)
    first.compute("double", [first.put(4)], {}, double)
    connected = cache_for(keeper.url)._link
    second.compute("double", [second.put(5)], {}, double)
    assert cache_for(keeper.url)._link is connected is not None
