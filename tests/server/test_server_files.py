"""Files that a computation has read: the condition under which its result counts."""

from __future__ import annotations

import itertools
import json
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seamless_dask_cache.server.writing import MAX_FILES_BYTES
from serving import Server, hex_of

OLD, NEW = {"/data/a.csv": "10-1", "/data/é": "7-1"}, {"/data/a.csv": "10-2"}
TF, RESULT, OTHER = hex_of("t"), hex_of("r"), hex_of("r2")


def _put(server, files=None, result=RESULT, **more):
    item = {"transformation": TF, "result": result, "files": files}
    status, report = server.put("batch", store=[item], **more)
    assert status == 200, report
    return report


def _found(server):
    status, answer = server.get("batch", transformations=[TF])
    assert status == 200, answer
    return answer["results"].get(TF)


def _recorded(file):
    connection = sqlite3.connect(file)
    rows = connection.execute("SELECT checksum, result, files FROM files_read").fetchall()
    connection.close()
    return [(checksum, result, json.loads(files)) for checksum, result, files in rows]


def test_a_lookup_gives_the_files_that_were_read_and_only_where_there_are_some(server):
    """Other answers have no such field."""
    _put(server, OLD)
    server.put("batch", store=[{"transformation": hex_of("plain"), "result": RESULT}])
    results = server.get("batch", transformations=[TF, hex_of("plain")])[1]["results"]
    assert results[TF]["files"] == OLD
    assert "files" not in results[hex_of("plain")]
    assert _recorded(server.file) == [(TF, RESULT, OLD)]


def test_the_same_result_of_newer_files_makes_these_the_condition(server):
    """The computation gave the same from what lies there now."""
    _put(server, OLD)
    assert _put(server, NEW)["existing"] == 1
    assert _found(server)["files"] == NEW


@pytest.mark.parametrize("nothing", [None, {}])
def test_a_known_result_keeps_its_files_when_a_later_run_names_none(server, nothing):
    """They were read once, so the result depends on them."""
    _put(server, OLD)
    assert _put(server, nothing)["existing"] == 1
    assert _found(server)["files"] == OLD


def test_a_diverging_result_changes_no_files(server):
    """They belong to a result that is not in force."""
    _put(server, OLD)
    assert _put(server, NEW, OTHER)["diverged"] == [TF]
    assert (_found(server)["result"], _found(server)["files"]) == (RESULT, OLD)


def test_forgetting_and_storing_in_one_batch_starts_anew(server):
    """As is done when a file has changed: the new result stands under its own files, or none."""
    _put(server, OLD)
    assert _put(server, NEW, OTHER, forget=[TF]) == {
        **{"stored": 1, "existing": 0, "diverged": [], "forgotten": 1}
    }
    assert (_found(server)["result"], _found(server)["files"]) == (OTHER, NEW)
    _put(server, None, RESULT, forget=[TF])
    assert "files" not in _found(server)


def test_what_is_forgotten_or_contested_leaves_no_files_behind(server):
    """Not in the table either."""
    _put(server, OLD)
    server.put("batch", forget=[TF])
    assert _recorded(server.file) == []
    _put(server, OLD)
    server.put("irreproducible", checksum=TF, result=RESULT)
    assert _recorded(server.file) == []


def test_a_new_result_without_files_is_free_of_those_that_another_program_left(server):
    """The published server removes transformations and knows nothing of our table."""
    _put(server, OLD)
    connection = sqlite3.connect(server.file)
    connection.execute("DELETE FROM transformation")
    connection.commit()
    connection.close()
    assert _put(server)["stored"] == 1
    assert "files" not in _found(server)


def test_files_stay_a_condition_when_a_published_client_overwrites_the_result(server):
    """At worst the result is computed again; without them it would be believed for ever."""
    _put(server, OLD)
    server.put("transformation", checksum=TF, value=OTHER)
    assert (_found(server)["result"], _found(server)["files"]) == (OTHER, OLD)


@pytest.mark.parametrize(
    "files",
    [
        3,
        [],
        "x",
        {"/a": None},
        {"/a": 3},
        {"/a": {"b": "c"}},
        {"/a": "1" * MAX_FILES_BYTES},
        {f"/{'é' * 100}/{number}": "1" for number in range(MAX_FILES_BYTES // 200)},
    ],
)
def test_malformed_or_immense_files_are_refused_and_named(server, files):
    """And nothing of the batch is stored."""
    items = [{"transformation": TF, "result": RESULT}, {"transformation": OTHER, "result": RESULT}]
    items[1]["files"] = files
    status, text = server.put("batch", store=items)
    assert status == 400 and text.startswith("ERROR: ")
    assert "store[1]" in text and "files" in text
    assert _found(server) is None


def test_as_many_files_as_are_allowed_come_back_whole(server):
    """A megabyte of them."""
    files = {
        f"/data/part-{number:06}.parquet": "1048576-1700000000000000000" for number in range(15_000)
    }
    _put(server, files)
    assert _found(server)["files"] == files


# Files that version 0.1 wrote --------------------------------------------------------------------


def _as_version_0_1(file):
    """Make a file what version 0.1 leaves behind: without our newer tables."""
    connection = sqlite3.connect(file)
    for table in ("files_read", "recipe", "note", "cutoff", "cost"):
        connection.execute(f"DROP TABLE {table}")
    connection.execute("PRAGMA user_version = 1")
    connection.close()


@pytest.fixture
def old_file(start_server, tmp_path):
    """A file of version 0.1 with one result."""
    server = start_server(tmp_path / "old.db")
    _put(server)
    server.stop()
    _as_version_0_1(server.file)
    return server.file


def test_an_old_file_is_served_read_only_as_if_the_tables_were_empty(start_server, old_file):
    """Nothing is written to it."""
    server = start_server(old_file, writable=False)
    assert _found(server)["result"] == RESULT and "files" not in _found(server)
    assert server.get("recipes", checksums=[TF]) == server.get("recipes") == (200, [])
    assert server.get("notes", checksums=[TF]) == (200, {})
    assert server.get("cutoffs", skeletons=[TF]) == (200, {})
    assert server.get("batch", transformations=[], codes=[TF])[1]["costs"] == {}
    server.stop()
    connection = sqlite3.connect(old_file)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()


def test_an_old_file_is_upgraded_by_a_writable_server(start_server, old_file):
    """Its results stay, the tables come; version 0.1 refuses it from now on."""
    server = start_server(old_file)
    assert _put(server, OLD)["existing"] == 1
    assert _found(server)["files"] == OLD
    server.stop()
    connection = sqlite3.connect(old_file)
    assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    connection.close()


def test_a_reader_of_an_old_file_sees_the_files_that_a_later_writer_records(start_server, old_file):
    """Else it would serve, for as long as it runs, what depends on files that have changed."""
    reader = start_server(old_file, writable=False)
    assert "files" not in _found(reader)
    writer = start_server(old_file)
    _put(writer, OLD)
    writer.put("batch", recipes=[{"function": "f", "content": "x"}], notes={TF: {"a": 1}})
    for _ in range(8):  # more often than there are connections
        assert _found(reader)["files"] == OLD
        assert [found["recipe"] for found in reader.get("recipes")[1]] == ["x"]
        assert reader.get("notes", checksums=[TF]) == (200, {TF: {"a": 1}})


# Any history -------------------------------------------------------------------------------------

_names = itertools.count()
_items = st.tuples(
    st.integers(0, 2), st.sampled_from(["r", "s"]), st.sampled_from([None, {}, OLD, NEW])
)
_batches = st.lists(
    st.tuples(st.lists(_items, max_size=4), st.sets(st.integers(0, 2), max_size=2)), max_size=5
)


@pytest.fixture(scope="module")
def one_server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("files") / "files.db").wait_until_running()
    yield server
    server.stop()


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=_batches)
def test_after_any_history_results_and_files_are_those_of_a_simple_model(one_server, batches):
    """The first result stays; the last files that came with it are its condition."""
    prefix = next(_names)
    names = [hex_of(f"{prefix}-{number}") for number in range(3)]
    model = {}
    for items, forget in batches:
        for number in forget:
            model.pop(names[number], None)
        for number, result, files in items:
            known = model.setdefault(names[number], [result, None])
            if known[0] == result and files:
                known[1] = files
        written = [
            {"transformation": names[number], "result": hex_of(result), "files": files}
            for number, result, files in items
        ]
        one_server.put("batch", store=written, forget=[names[number] for number in forget])
        results = one_server.get("batch", transformations=names)[1]["results"]
        found = {name: [answer["result"], answer.get("files")] for name, answer in results.items()}
        assert found == {name: [hex_of(result), files] for name, (result, files) in model.items()}
