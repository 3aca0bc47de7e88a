"""The recorded conversation with the published server, and the file that it left behind."""

from __future__ import annotations

import json
import shutil
import sqlite3

from seamless_dask_cache.server.schema import PUBLISHED_INDICES
from serving import DATA, hex_of

CONVERSATION = json.loads((DATA / "protocol.json").read_text())["steps"]
RECORDED = DATA / "seamless-database-2.1.0.db"


def _value(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def test_every_recorded_step_gets_the_recorded_answer(server):
    """A Seamless client cannot tell this server from the published one."""
    for number, step in enumerate(CONVERSATION):
        body = step.get("body", "")
        body = body if step.get("raw") or body == "" else json.dumps(body)
        status, text = server.raw(step["method"], body, step["path"])
        expected = step.get("must_be", step["status"])
        assert status == expected, (number, step, text)
        if status == 200:
            assert _value(text) == _value(step["response"]), (number, step)
        else:
            assert text.startswith("ERROR: "), (number, step, text)


def test_the_recorded_file_opens_and_answers(start_server, tmp_path):
    """A file of the published server opens here, writable or not."""
    for writable in (False, True):
        copy = tmp_path / f"{writable}.db"
        shutil.copy(RECORDED, copy)
        server = start_server(copy, writable=writable)
        assert server.get_text("transformation", checksum="1" * 64) == (200, "3" * 64)
        assert server.get("rev_transformations", checksum="3" * 64) == (200, ["1" * 64])
        assert server.get("buffer_info", checksum="4" * 64)[1]["length"] == 10
        assert server.get("irreproducible", checksum="d" * 64)[1][0]["result"] == "e" * 64
        assert server.get("rev_expression", checksum="8" * 64)[1][0]["path"] == ["a", 0]
        status, answer = server.get("batch", transformations=["1" * 64, "2" * 64])
        assert (status, list(answer["results"])) == (200, ["1" * 64])
        assert server.get("entries") == (200, [])
        assert server.get("summary")[1]["transformations"] == 1


def test_a_stale_reverse_record_of_the_published_server_is_not_believed(start_server, tmp_path):
    """The recorded file says that 1111 gives 2222, which was overwritten by 3333."""
    copy = tmp_path / "copy.db"
    shutil.copy(RECORDED, copy)
    assert start_server(copy).get("rev_transformations", checksum="2" * 64)[0] == 404


def test_overwriting_a_result_leaves_no_stale_reverse_record(server):
    """The table itself has only the new pair, for the published server to read."""
    tf, old, new = hex_of("tf"), hex_of("old"), hex_of("new")
    for result in (old, new, new):
        assert server.put("transformation", checksum=tf, value=result) == (200, "OK")
    assert server.get("rev_transformations", checksum=old)[0] == 404
    server.stop()
    with sqlite3.connect(server.file) as connection:
        assert connection.execute("SELECT result, checksum FROM rev_transformation").fetchall() == [
            (new, tf)
        ]
    connection.close()


def test_reverse_records_of_another_program_are_completed(start_server, tmp_path):
    """What was stale goes, what a crash left out comes, also where many have the same result."""
    file = tmp_path / "published.db"
    shutil.copy(RECORDED, file)
    shared, many = hex_of("shared"), [hex_of(f"{n}") for n in range(5_000)]
    connection = sqlite3.connect(file)
    connection.executemany("INSERT INTO transformation VALUES (?, ?)", [(m, shared) for m in many])
    connection.executemany(
        "INSERT INTO rev_transformation (result, checksum) VALUES (?, ?)",
        [(shared, name) for name in [*many[:100], *many[:3]]],
    )
    connection.commit()
    connection.close()
    server = start_server(file)
    assert set(server.get("rev_transformations", checksum=shared)[1]) == set(many)
    assert len(server.get("rev_transformations", checksum=shared)[1]) == len(many)
    server.stop()
    connection = sqlite3.connect(file)
    pairs = connection.execute(
        "SELECT DISTINCT result, checksum FROM rev_transformation"
    ).fetchall()
    kept = connection.execute("SELECT result, checksum FROM transformation").fetchall()
    assert set(pairs) == set(kept)
    connection.close()


def _shape(path):
    connection = sqlite3.connect(path)
    tables = [r[0] for r in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
    shape = {
        table: (
            [row[1:] for row in connection.execute(f'PRAGMA table_info("{table}")')],
            sorted(
                (
                    index[1],
                    index[2],
                    [c[2] for c in connection.execute(f'PRAGMA index_info("{index[1]}")')],
                )
                for index in connection.execute(f'PRAGMA index_list("{table}")').fetchall()
            ),
        )
        for table in tables
    }
    connection.close()
    return shape


def _without_needless_indices(shape):
    return {
        table: (columns, [index for index in indices if index[0] not in PUBLISHED_INDICES])
        for table, (columns, indices) in shape.items()
    }


def test_our_tables_are_those_of_the_published_server(server):
    """Columns, types and keys are the same, name for name, so it opens our files; and so are the
    indices, but for those by which nobody searches."""
    published = _shape(RECORDED)
    server.stop()
    ours = _shape(server.file)
    assert {table: ours[table] for table in published} == _without_needless_indices(published)
    assert published != _without_needless_indices(published)
    assert set(ours) - set(published) == {
        *("buffer", "cache_entry", "cost", "cutoff", "divergence", "files_read", "last_use"),
        *("recipe", "note"),
    }


def test_a_transformation_can_be_asked_in_upper_case(server):
    """As the published server has it."""
    server.put("transformation", checksum=hex_of("a").upper(), value=hex_of("b").upper())
    assert server.get_text("transformation", checksum=hex_of("a")) == (200, hex_of("b"))


def test_an_empty_legacy_metadata_table_is_rebuilt_and_a_full_one_refused(start_server, tmp_path):
    """Records are never dropped silently."""
    for rows in (0, 1):
        file = tmp_path / f"legacy{rows}.db"
        connection = sqlite3.connect(file)
        connection.execute("CREATE TABLE meta_data (checksum CHAR(64) PRIMARY KEY, metadata TEXT)")
        connection.executemany("INSERT INTO meta_data VALUES (?, '{}')", [("a",)] * rows)
        connection.commit()
        connection.close()
        server = start_server(file, wait=False)
        if rows:
            assert server.wait_until_stopped() == 1
            assert "old layout" in server.log.read_text()
        else:
            server.wait_until_running()


def test_a_file_of_a_newer_schema_is_refused(start_server, tmp_path):
    """The message says to upgrade."""
    connection = sqlite3.connect(tmp_path / "new.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    server = start_server(tmp_path / "new.db", wait=False)
    assert server.wait_until_stopped() == 1
    assert "upgrade" in server.log.read_text()
