"""The published packages beside this project: each understands the other, in every direction.

They run in an environment of their own, which the first run makes and later ones find in pytest's
cache folder. What their clients do stands in ``interop/``.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from interop.exchange import CONTESTED, change_ours, check, check_ours, write_ours, write_records
from serving import DATA, Server, hex_of

from benchmarks.published import environment
from seamless_dask_cache.database import AsyncDatabaseClient, DatabaseClient
from seamless_dask_cache.errors import (
    DatabaseConflictError,
    DatabaseError,
    DatabaseUnavailableError,
)

SCENARIOS = Path(__file__).parent / "interop"
RECORDED = DATA / "seamless-database-2.1.0.db"
READ_ONLY = (405, "ERROR: Database server is read-only")
UNKNOWN = (404, "ERROR: Unknown key")

pytestmark = pytest.mark.timeout(600)  # the first test may make the environment


class PublishedServer(Server):
    """A process of the published server, to talk to as to one of ours."""

    def __init__(self, python: Path, file: Path, *, writable: bool = True):
        self.file, self.token = file, None
        self.status_file = file.with_name(f"{file.name}.{time.monotonic_ns()}.status")
        self.status_file.write_text("{}")
        self.log = self.status_file.with_suffix(".log")
        program = [python, SCENARIOS / "serve_read_only.py", file]
        if writable:
            program = [python.with_name("seamless-database"), file, "--writable"]
        command = [*program, "--host", "127.0.0.1", "--status-file", self.status_file]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)


@pytest.fixture(scope="session")
def published_python(request: pytest.FixtureRequest) -> Path:
    """The python of an environment with the published packages."""
    return environment(request.config.cache.mkdir("interop"))


@pytest.fixture
def start_published(published_python: Path) -> Iterator[Callable[..., PublishedServer]]:
    """Start published servers that are stopped at the end of the test."""
    servers: list[PublishedServer] = []

    def start(file: Path, **options: Any) -> PublishedServer:
        servers.append(PublishedServer(published_python, file, **options))
        servers[-1].wait_until_running()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def run_scenario(published_python: Path) -> Callable[..., dict[str, Any]]:
    """Run a script in the environment of the published packages; give its transcript."""

    def run(script: str, *arguments: str) -> dict[str, Any]:
        command = [published_python, SCENARIOS / script, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


# The published client against both servers --------------------------------------------------------

PINNED = {
    "ask_database.py": {
        "healthcheck": None,
        "result, unknown": None,
        "result, new": hex_of("shared"),
        "reverse, of two": [hex_of("one"), hex_of("two")],
        "set record, the same again": None,
        "set record, different": False,
        "set record, contested": {
            "status": 409,
            "text": "ERROR: Transformation already has irreproducible records",
        },
        "undo, with a record": True,
        "irreproducible, another result": None,
        "200 at once are right": True,
        "result, reader": hex_of("shared"),
        "set result, reader": {"raised": "AttributeError", "text": "Read-only database client"},
    },
    "ask_records.py": {
        "get protocol, version": ["seamless", "database", "2.2"],
        "put buffer_info, negative length": {"status": 400},
        "get syntactic_to_semantic, source 1": [hex_of("meaning")],
        "get expression, changed": hex_of("output 2"),
        "get rev_expression, unknown": {"status": 404, "text": "ERROR: Unknown key"},
    },
}


@pytest.mark.parametrize("script", PINNED)
def test_published_clients_cannot_tell_the_servers_apart(
    script, start_server, start_published, run_scenario, tmp_path
):
    """Every method and record type has the same outcome; some are pinned, lest all of them fail."""
    theirs = run_scenario(script, start_published(tmp_path / "theirs.db").url)
    ours = run_scenario(script, start_server(tmp_path / "ours.db").url)
    assert ours == theirs
    assert ours == {**ours, **PINNED[script]}


@pytest.mark.parametrize("first_is_ours", [True, False])
def test_published_functions_use_both_servers_together(
    first_is_ours, start_server, start_published, run_scenario, tmp_path
):
    """As extern clients: the one is read first, the other is written."""
    ours, theirs = start_server(tmp_path / "ours.db"), start_published(tmp_path / "theirs.db")
    first, second = (ours, theirs) if first_is_ours else (theirs, ours)
    tf, other, result = hex_of("tf"), hex_of("other tf"), hex_of("result")
    probe = {"bucket_kind": "node", "label": "first", "bucket_checksum": result}
    assert run_scenario("ask_extern.py", first.url, second.url) == {
        "set record": True,
        "set probe": True,
        "has servers": [True, True],
        "result of the first": result,
        "result of neither": None,
        "result of the second": result,
        "the first comes first": result,
        "reverse": [tf],
        "reverse in the second": [tf],
        "record": {"schema_version": 1, "tf_checksum": tf, "result_checksum": result},
        "no record": None,
        "probe": {**probe, "captured_at": "now", "freshness_tokens": {"a": 1}},
        "no probe": None,
        "undo": True,
        "undone": None,
        "irreproducible": [{"checksum": other, "result": result, "metadata": ""}],
        "another result is not": None,
        "only the second": hex_of("second result"),
        "record is in the first": None,
    }


# One file, opened by either server ----------------------------------------------------------------


@pytest.mark.parametrize("end", [Server.stop, Server.kill])
def test_our_file_is_served_by_the_published_server_and_then_by_ours_again(
    end, start_server, start_published, tmp_path
):
    """Every record of every writer is answered by whoever serves the file, also after a kill."""
    file = tmp_path / "shared.db"
    ours = start_server(file)
    old, batches = write_records(ours, "old"), write_ours(ours)
    end(ours)
    reader = start_published(file, writable=False)
    check(reader, old + batches)
    assert reader.put("transformation", checksum=hex_of("x"), value=hex_of("y")) == READ_ONLY
    reader.stop()
    writer = start_published(file)
    check(writer, old + batches)
    new = write_records(writer, "new") + change_ours(writer)
    check(writer, old + new)
    end(writer)
    for writable in (False, True):
        again = start_server(file, writable=writable)
        check(again, old + batches[:3] + new)
        assert again.get("transformation", checksum=CONTESTED.transformation) == UNKNOWN
        assert again.get("metadata", checksum=CONTESTED.transformation) == UNKNOWN
        check_ours(again)
        again.stop()


def _rows(file: Path) -> dict[str, set[tuple[Any, ...]]]:
    """All rows of the published tables; of the reverse records, those that are right."""
    with sqlite3.connect(RECORDED) as recorded:
        tables = recorded.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    recorded.close()
    queries = {name: f'SELECT * FROM "{name}"' for (name,) in tables}
    queries["rev_transformation"] = (
        "SELECT checksum, result FROM rev_transformation NATURAL JOIN transformation"
    )
    with sqlite3.connect(file) as connection:
        rows = {name: set(connection.execute(query)) for name, query in queries.items()}
    connection.close()
    return rows


def test_the_recorded_file_goes_through_both_servers_without_loss(
    start_server, start_published, tmp_path
):
    """Whoever opens it, every question of the recorded conversation gets the published answer."""
    steps = json.loads((DATA / "protocol.json").read_text())["steps"]
    asked = [step for step in steps if step["method"] == "GET" and step["status"] in (200, 404)]
    questions = [step["body"] for step in asked if "body" in step]
    assert len(questions) > 20
    file, copy, pristine = (tmp_path / name for name in ("file.db", "copy.db", "pristine.db"))
    for path in (file, copy, pristine):
        shutil.copy(RECORDED, path)
    reference = start_published(copy)
    answers = [(question, reference.ask("GET", **question)) for question in questions]
    for start in (start_server, start_published, start_server):
        server = start(file)
        assert _rows(file) == _rows(pristine)
        for question, answer in answers:
            assert server.ask("GET", **question) == answer, question
        server.stop()
    assert _rows(file) == _rows(pristine)


# Our clients against the published server ---------------------------------------------------------


@pytest.fixture(params=[DatabaseClient, AsyncDatabaseClient])
async def ask(request, start_published, tmp_path):
    """Call a method of our client of the published server, whether it is to be awaited or not."""
    client = request.param(start_published(tmp_path / "theirs.db").url)

    async def call(method: str, *arguments: Any, **options: Any) -> Any:
        found = getattr(client, method)(*arguments, **options)
        return await found if inspect.isawaitable(found) else found

    yield call
    await call("close")


async def test_single_requests_of_our_clients_work_against_the_published_server(ask):
    """What was set is got, unknown keys are None, conflicts are told from other refusals."""
    tf, result, other = map(hex_of, ("tf", "result", "other"))
    record = {"schema_version": 1, "tf_checksum": tf, "result_checksum": result, "host": "é"}
    await ask("healthcheck")
    assert await ask("get_protocol") == ["seamless", "database", "2.2"]
    for method in ("transformation_result", "rev_transformations", "execution_record"):
        assert await ask(f"get_{method}", tf) is None
    await ask("set_transformation_result", tf, result)
    await ask("set_execution_record", tf, result, record)
    await ask("set_execution_record", tf, result, record)
    assert await ask("get_transformation_result", tf) == result
    assert await ask("get_rev_transformations", result) == [tf]
    assert await ask("get_execution_record", tf) == record
    with pytest.raises(DatabaseConflictError, match="different metadata"):
        await ask("set_execution_record", tf, result, {**record, "host": "other"})
    with pytest.raises(DatabaseError, match="does not have the irreproducible result"):
        await ask("undo_transformation_result", tf, other)
    assert await ask("get_irreproducible_records", tf) is None
    assert await ask("undo_transformation_result", tf, result) is True
    contested = [{"checksum": tf, "result": result, "metadata": record}]
    assert await ask("get_irreproducible_records", tf) == contested
    assert await ask("get_irreproducible_records", tf, result) == contested
    assert await ask("get_irreproducible_records", tf, other) is None
    assert await ask("get_transformation_result", tf) is None
    with pytest.raises(DatabaseConflictError, match="already has irreproducible"):
        await ask("set_execution_record", tf, result, record)
    assert await ask("get_bucket_probe", "node", "x") is None
    await ask("set_bucket_probe", "node", "x", result, {"a": 1}, "now")
    assert await ask("get_bucket_probe", "node", "x") == {
        **{"bucket_kind": "node", "label": "x", "bucket_checksum": result},
        **{"captured_at": "now", "freshness_tokens": {"a": 1}},
    }
    with pytest.raises(DatabaseError, match="Malformed PUT bucket_probe"):
        await ask("set_bucket_probe", "nonsense", "x", result, {"a": 1}, "now")


async def test_requests_of_ours_are_refused_by_the_published_server(ask):
    """A refusal, not unavailability: the same server is right for everything else."""
    tf, result = hex_of("tf"), hex_of("result")
    files = {"transformation": tf, "result": result, "files": {"/a": "1-1"}}
    for method, *arguments in (
        ("lookup", [tf]),
        ("look_up", [tf]),
        ("cutoffs", [tf]),
        ("store", [{"transformation": tf, "result": result}]),
        ("store", [files]),
        ("forget", [tf]),
        ("acquire", "holder", [tf], 10),
        ("renew", "holder", 10),
        ("release_all", "holder"),
        ("leases", [tf]),
        ("divergences",),
        ("recipes",),
        ("notes", [tf]),
        ("entries",),
        ("summary",),
        ("get_buffer", tf),
        ("put_buffer", hex_of("content"), b"content"),
    ):
        with pytest.raises(DatabaseError) as caught:
            await ask(method, *arguments)
        assert not isinstance(caught.value, DatabaseUnavailableError), method
    await ask("healthcheck")


# The published client of buffers against our server -----------------------------------------------


def test_published_client_of_buffers_works_against_our_server(start_server, run_scenario, tmp_path):
    """It writes, asks for lengths, promises and waits; large buffers are files that it finds."""
    folder = tmp_path / "buffers"
    server = start_server(tmp_path / "ours.db", "--buffers", str(folder))
    refused = {"raised": "AttributeError", "text": "Read-only buffer client"}
    sizes = {"small": 10, "medium": 100_000, "large": 5_000_000}
    found = run_scenario("ask_buffers.py", server.url, str(folder))
    assert found == {
        "healthcheck": None,
        "length before": 0,
        **{f"write {name}": True for name in (*sizes, "empty")},
        **{f"write {name} again": True for name in (*sizes, "empty")},
        **{f"get {name}": name for name in (*sizes, "empty")},
        **{f"length of {name}": size for name, size in sizes.items()},
        "get unknown": None,
        "lengths": [0, *sizes.values(), 0],
        "no lengths": [],
        **{f"wrong {name}": {"status": 400} for name in ("small", "large")},
        **{f"length of wrong {name}": 0 for name in ("small", "large")},
        **{f"get wrong {name}": None for name in ("small", "large")},
        "promise": None,
        "promise again": None,
        "length of promised": True,
        "lengths of promised": [0, True],
        "get of promised is answered at once": False,
        "write promised": True,
        "get promised": "a promised buffer",
        "length of kept promise": 17,
        "promise what is there": None,
        "get what is there": "a promised buffer",
        "reader writes": refused,
        "reader promises": refused,
        "medium in the folder": "medium",
        "large in the folder": "large",
        "lengths in the folder": [5_000_000, None],
        "unknown in the folder": None,
        "has servers": [True, True],
        "function gets small": "small",
        "function gets large": "large",
        "function promises": None,
        "function writes": True,
        "function gets it": "another, by the functions",
        "function gives lengths": [10, 5_000_000],
        "function gets unknown": None,
    }
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.glob("??/*")}
    assert sorted(map(len, files.values())) == [100_000, 5_000_000]  # small ones are not files
    names = {hashlib.sha256(content).hexdigest() for content in files.values()}
    assert set(files) == {f"{name[:2]}/{name}" for name in names}
