"""Batches: thousands of lookups or write-backs in one request."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
import time

import pytest
from serving import hex_of


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _item(name: str, content: bytes = b"", **more):
    recipe, content = f'{{"recipe": "{name}"}}', content or name.encode()
    tf, result = _sha(recipe.encode()), _sha(content)
    return {
        "transformation": tf,
        "result": result,
        "record": {"schema_version": 1, "tf_checksum": tf, "result_checksum": result},
        "recipe": recipe,
        "content": base64.b64encode(content).decode(),
        "entry": {
            "function": "f",
            "key_prefix": "clean-" + name,
            "seconds": 1.5,
            "nbytes": len(content),
            "created": 1000.0 + len(name),
            "format": "plain",
        },
        **more,
    }


def _lookup(server, *items, **options):
    transformations = [item["transformation"] for item in items]
    status, answer = server.get("batch", transformations=transformations, **options)
    assert status == 200, answer
    return answer["results"]


def test_what_was_stored_is_found_with_all_its_facts(server):
    """A lookup gives result, content, presence, seconds, bytes and time, and only known ones."""
    item, unknown = _item("a"), _item("b")
    assert server.put("batch", store=[item], forget=[]) == (
        200,
        {"stored": 1, "existing": 0, "diverged": [], "forgotten": 0},
    )
    assert _lookup(server, item, unknown) == {
        item["transformation"]: {
            "result": item["result"],
            "content": item["content"],
            "present": True,
            "seconds": 1.5,
            "nbytes": 1,
            "created": 1001.0,
        }
    }
    assert _lookup(server, item, inline=False)[item["transformation"]]["content"] is None
    assert _lookup(server, item, inline=False)[item["transformation"]]["present"] is True


def test_a_batch_is_seen_by_single_requests(server):
    """Published clients read what batches wrote, and the recipe is a buffer."""
    item = _item("a")
    tf, result = item["transformation"], item["result"]
    server.put("batch", store=[item])
    assert server.get_text("transformation", checksum=tf) == (200, result)
    assert server.get("rev_transformations", checksum=result) == (200, [tf])
    assert server.get("metadata", checksum=tf) == (200, item["record"])
    recipe = server.get("buffer", checksum=tf)[1]
    assert base64.b64decode(recipe).decode() == item["recipe"]


def test_presence_is_unknown_without_a_folder_and_known_with_one(start_server, tmp_path):
    """Large buffers lie in DIR/hh/<hex>."""
    here, gone = _item("here", content_=None), _item("gone", content_=None)
    for item in (here, gone):
        del item["content"], item["content_"]
    folder = tmp_path / "buffers" / here["result"][:2]
    folder.mkdir(parents=True)
    (folder / here["result"]).write_bytes(b"here")
    without = start_server(tmp_path / "a.db")
    without.put("batch", store=[here, gone])
    assert {found["present"] for found in _lookup(without, here, gone).values()} == {None}
    without.stop()
    found = _lookup(
        start_server(tmp_path / "a.db", "--buffers", str(tmp_path / "buffers")), here, gone
    )
    assert found[here["transformation"]]["present"] is True
    assert found[gone["transformation"]]["present"] is False


def test_the_first_result_stays_and_a_second_one_is_a_divergence(server):
    """Whoever comes second is told, and the database counts it."""
    first = _item("a")
    second = {**first, **{k: _item("a", b"other")[k] for k in ("result", "content", "record")}}
    assert server.put("batch", store=[first])[1]["stored"] == 1
    assert server.put("batch", store=[first])[1] == {
        "stored": 0,
        "existing": 1,
        "diverged": [],
        "forgotten": 0,
    }
    report = server.put("batch", store=[second])[1]
    assert (report["stored"], report["diverged"]) == (0, [first["transformation"]])
    assert _lookup(server, first)[first["transformation"]]["result"] == first["result"]
    assert server.get("summary")[1]["divergences"] == 1
    assert server.get("buffer", checksum=second["result"])[0] == 404


def test_divergence_inside_one_batch_is_seen(server):
    """The same transformation twice, with two results."""
    first = _item("a")
    second = {**first, **{k: _item("a", b"other")[k] for k in ("result", "content", "record")}}
    assert server.put("batch", store=[first, second, first])[1] == {
        "stored": 1,
        "existing": 1,
        "diverged": [first["transformation"]],
        "forgotten": 0,
    }


def test_an_irreproducible_transformation_is_not_brought_back(server):
    """What was contested stays so; its results are divergences."""
    item = _item("a")
    server.put("batch", store=[item])
    server.put("irreproducible", checksum=item["transformation"], result=item["result"])
    assert server.put("batch", store=[item])[1]["diverged"] == [item["transformation"]]
    assert _lookup(server, item) == {}
    assert server.get("entries")[1] == []


def test_missing_contents_are_added_to_a_known_result(server):
    """A result that a published client wrote gains its content, recipe, record and entry."""
    item = _item("a")
    server.put("transformation", checksum=item["transformation"], value=item["result"])
    assert _lookup(server, item)[item["transformation"]]["present"] is None
    assert server.put("batch", store=[item])[1]["existing"] == 1
    found = _lookup(server, item)[item["transformation"]]
    assert (found["content"], found["seconds"]) == (item["content"], 1.5)
    assert server.get("metadata", checksum=item["transformation"])[0] == 200


def test_facts_of_another_result_are_not_believed(server):
    """The published server overwrites results in the same file, and knows nothing of our tables."""
    item = _item("a")
    server.put("batch", store=[item])
    connection = sqlite3.connect(server.file)
    connection.execute("UPDATE transformation SET result = ?", (hex_of("other"),))
    connection.commit()
    connection.close()
    found = _lookup(server, item)[item["transformation"]]
    assert (found["result"], found["content"], found["seconds"]) == (hex_of("other"), None, None)


def test_a_published_overwrite_leaves_no_facts_of_the_old_result(server):
    """Seconds and bytes describe the result that they came with."""
    item = _item("a")
    server.put("batch", store=[item])
    server.put("transformation", checksum=item["transformation"], value=hex_of("other"))
    found = _lookup(server, item)[item["transformation"]]
    assert (found["result"], found["content"], found["seconds"]) == (hex_of("other"), None, None)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": "other"}, "recipe"),
        ({"content": base64.b64encode(b"other").decode()}, "content"),
        ({"content": "%%%"}, "content"),
        ({"content": "é"}, "content"),
        ({"transformation": "12"}, "transformation"),
        ({"result": None}, "result"),
        ({"record": {"schema_version": 1}}, "record"),
        ({"record": [1]}, "record"),
        ({"entry": {"seconds": "x"}}, "seconds"),
        ({"entry": {"nbytes": 2**63}}, "nbytes"),
        ({"entry": {"nbytes": True}}, "nbytes"),
        ({"entry": {"function": 3}}, "function"),
        ({"entry": 3}, "entry"),
    ],
)
def test_one_bad_item_refuses_the_whole_batch_and_is_named(server, change, named):
    """Nothing of a refused batch is in the database."""
    good = [_item("a"), _item("b")]
    status, text = server.put("batch", store=[*good, {**_item("c"), **change}], forget=[])
    assert status == 400
    assert text.startswith("ERROR: ") and "store[2]" in text and named in text
    assert server.get("summary")[1]["transformations"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {"store": 3},
        {"store": [3]},
        {"store": [], "forget": ["x"]},
        {"store": None},
        {"forget": {}},
    ],
)
def test_a_malformed_write_is_refused(server, body):
    """With a text, not a crash."""
    status, text = server.put("batch", **body)
    assert (status, text[:7]) == (400, "ERROR: ")


@pytest.mark.parametrize("wanted", [None, "x", 3, ["x"], [3], [None], ["1" * 63], [["1" * 64]]])
def test_a_malformed_lookup_is_refused(server, wanted):
    """With a text, not a crash."""
    status, text = server.get("batch", transformations=wanted)
    assert (status, text[:7]) == (400, "ERROR: ")


def test_forgetting_removes_everything_but_shared_results(server):
    """Two transformations with one result: it goes with the second."""
    one, two = _item("one", b"same"), _item("two", b"same")
    server.put("batch", store=[one, two])
    assert server.put("batch", forget=[one["transformation"], hex_of("never")])[1]["forgotten"] == 1
    assert server.get("transformation", checksum=one["transformation"])[0] == 404
    assert server.get("metadata", checksum=one["transformation"])[0] == 404
    assert server.get("buffer", checksum=one["transformation"])[0] == 404
    assert server.get("rev_transformations", checksum=one["result"])[1] == [two["transformation"]]
    assert server.get("buffer", checksum=one["result"])[0] == 200
    server.put("batch", forget=[two["transformation"]])
    assert server.get("buffer", checksum=one["result"])[0] == 404
    server.stop()
    connection = sqlite3.connect(server.file)
    for table in ("transformation", "rev_transformation", "meta_data", "buffer", "cache_entry"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    connection.close()


def test_an_empty_content_is_a_content(server):
    """Such as that of an empty text; the lookup of others in the same request works too."""
    empty, other = _item("e"), _item("o")
    empty["result"], empty["content"] = hex_of(""), ""
    empty["record"] = {**empty["record"], "result_checksum": hex_of("")}
    server.put("batch", store=[empty, other])
    found = _lookup(server, empty, other)
    assert (found[empty["transformation"]]["content"], len(found)) == ("", 2)
    assert server.get("buffer", checksum=hex_of("")) == (200, "")


def test_entries_are_listed_newest_first_by_prefix_and_page(server):
    """As `ls` shows them."""
    server.put("batch", store=[_item("a" * n) for n in (1, 3, 2)])
    names = [entry["key_prefix"] for entry in server.get("entries")[1]]
    assert names == ["clean-aaa", "clean-aa", "clean-a"]
    assert len(server.get("entries", prefix="clean-aa")[1]) == 2
    assert server.get("entries", prefix="%")[1] == []
    assert [e["nbytes"] for e in server.get("entries", limit=1, offset=1)[1]] == [2]
    assert server.get("entries", limit=-1)[0] == 400
    assert server.get("entries", offset=2**64)[0] == 400


def test_the_summary_counts_rows_and_bytes(server):
    """As `stats` shows them."""
    server.put("batch", store=[_item("a"), _item("bcd")])
    summary = server.get("summary")[1]
    assert summary["transformations"] == summary["entries"] == summary["records"] == 2
    assert (summary["buffers"], summary["result_bytes"], summary["seconds"]) == (4, 4, 3.0)
    assert summary["file_bytes"] > 0


def test_a_buffer_must_have_its_checksum(server):
    """Bytes come back as they were; others are refused."""
    content = bytes(range(256))
    value = base64.b64encode(content).decode()
    assert server.put("buffer", checksum=_sha(content), value=value) == (200, "OK")
    assert server.get("buffer", checksum=_sha(content)) == (200, value)
    assert server.put("buffer", checksum=hex_of("x"), value=value)[0] == 400
    assert server.get("buffer", checksum=hex_of("x"))[0] == 404


def test_a_large_batch_is_answered_whole(server):
    """More lookups than one statement takes: every one is in the answer, once."""
    items = [{"transformation": hex_of(f"t{i}"), "result": hex_of(f"r{i}")} for i in range(20_001)]
    assert server.put("batch", store=items)[1]["stored"] == len(items)
    found = _lookup(server, *items, *items[:10])
    assert {tf: answer["result"] for tf, answer in found.items()} == {
        item["transformation"]: item["result"] for item in items
    }


def test_many_transformations_with_one_result_are_stored_and_forgotten_quickly(server):
    """``True`` is a popular result: nothing may take quadratic time over those that share it."""
    names = [hex_of(f"t{i}") for i in range(20_000)]
    started = time.monotonic()
    items = [{"transformation": name, "result": hex_of("True")} for name in names]
    assert server.put("batch", store=items)[1]["stored"] == len(names)
    assert server.put("batch", store=items)[1]["existing"] == len(names)
    assert server.put("transformation", checksum=hex_of("new"), value=hex_of("True"))[0] == 200
    assert server.put("batch", forget=names)[1]["forgotten"] == len(names)
    assert time.monotonic() - started < 15  # it took a minute when it was quadratic
    assert server.get("rev_transformations", checksum=hex_of("True"))[1] == [hex_of("new")]
