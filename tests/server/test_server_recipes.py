"""Recipes and notes: what `explain` compares and shows."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
import time

import pytest
from seamless_dask_cache.server.writing import MAX_NOTE_BYTES
from serving import hex_of


def _item(name, function="clean", **more):
    return {
        "transformation": hex_of(name),
        "result": hex_of(f"result of {name}"),
        "recipe": name,
        "entry": {"function": function, "created": 5.0},
        **more,
    }


def _texts(server, **query):
    status, found = server.get("recipes", **query)
    assert status == 200, found
    return [recipe["recipe"] for recipe in found]


def test_the_recipe_of_a_stored_item_is_listed_under_its_function(server):
    """With its result, its text and the time."""
    before = time.time()
    server.put("batch", store=[_item("é"), _item("b", "other"), _item("c", recipe=None)])
    (found,) = server.get("recipes", function="clean")[1]
    assert before <= found.pop("created") <= time.time()
    assert found == {
        "checksum": hex_of("é"),
        "function": "clean",
        "recipe": "é",
        "result": hex_of("result of é"),
    }
    assert _texts(server, function="other") == ["b"]
    assert _texts(server, function="nobody") == []
    assert sorted(_texts(server)) == ["b", "é"]


def test_a_recipe_is_kept_without_a_result(server):
    """And gains it when it is stored; a published client reads the text as a buffer."""
    recipe = {"function": "clean", "content": "a"}
    assert server.put("batch", recipes=[recipe])[0] == 200
    assert server.get("recipes", function="clean")[1][0]["result"] is None
    assert base64.b64decode(server.get("buffer", checksum=hex_of("a"))[1]) == b"a"
    assert server.get("transformation", checksum=hex_of("a"))[0] == 404
    server.put("batch", store=[_item("a")])
    assert server.get("recipes", function="clean")[1][0]["result"] == hex_of("result of a")


def test_the_recipe_that_was_last_stored_or_seen_comes_first(server):
    """Whether it came with a result or without one."""
    for name in ("a", "b", "c"):
        server.put("batch", store=[_item(name)])
    assert _texts(server, function="clean") == ["c", "b", "a"]
    server.put("batch", recipes=[{"function": "clean", "content": "a"}])
    server.put("batch", store=[_item("b")])
    assert _texts(server, function="clean") == ["b", "a", "c"]
    assert _texts(server, function="clean", limit=2) == ["b", "a"]
    assert _texts(server, function="clean", limit=0) == []
    assert _texts(server, checksums=[hex_of(name) for name in "cab"]) == ["b", "a", "c"]


def test_recipes_are_found_by_checksum(server):
    """Known ones only, each once, in upper case too."""
    server.put("batch", store=[_item("a"), _item("b", function=None, entry=None)])
    wanted = [hex_of("a").upper(), hex_of("a"), hex_of("b"), hex_of("never")]
    found = sorted(server.get("recipes", checksums=wanted)[1], key=lambda r: r["recipe"])
    assert [(r["recipe"], r["function"]) for r in found] == [("a", "clean"), ("b", "")]
    assert _texts(server, checksums=[]) == []


def test_a_nameless_recipe_takes_no_name_away(server):
    """Nor does it stay nameless when a name is learnt."""
    named, nameless = {"function": "f", "content": "a"}, {"function": "", "content": "a"}
    for recipe in (nameless, named, nameless):
        server.put("batch", recipes=[recipe])
    assert _texts(server, function="f") == ["a"]
    assert _texts(server, function="") == []


def test_a_diverging_item_brings_no_recipe(server):
    """It is not in force; its transformation has its recipe already."""
    server.put("batch", store=[{"transformation": hex_of("a"), "result": hex_of("first")}])
    server.put("batch", store=[_item("a")])
    assert _texts(server) == []


def test_forgetting_a_transformation_removes_its_recipe(server):
    """Others stay, also those that never had a result."""
    server.put("batch", store=[_item("a"), _item("b")])
    server.put("batch", recipes=[{"function": "clean", "content": "never computed"}])
    server.put("batch", forget=[hex_of("a"), hex_of("never computed")])
    assert sorted(_texts(server)) == ["b", "never computed"]
    assert server.get("buffer", checksum=hex_of("a"))[0] == 404


def test_forgetting_leaves_the_texts_that_others_need(server):
    """A recipe that is a result elsewhere, and a result that is a recipe elsewhere."""
    as_result = {"content": base64.b64encode(b"a").decode(), "result": hex_of("a")}
    server.put("batch", store=[_item("a"), _item("b", **as_result)])
    server.put("batch", forget=[hex_of("a")])
    assert server.get("buffer", checksum=hex_of("a"))[0] == 200
    server.put("batch", store=[_item("a")])
    server.put("batch", forget=[hex_of("b")])
    assert _texts(server) == ["a"]


def test_a_recipe_without_its_text_is_not_listed(server):
    """Another program removed the buffer."""
    server.put("batch", store=[_item("a")])
    connection = sqlite3.connect(server.file)
    connection.execute("DELETE FROM buffer")
    connection.commit()
    connection.close()
    assert _texts(server) == []


def test_a_note_comes_back_and_the_first_one_stays(server):
    """Known checksums only."""
    first = {"source": "def f(): é", "deep": [[{"x": None}]]}
    server.put("batch", notes={hex_of("f").upper(): first, hex_of("g"): {}})
    assert server.put("batch", notes={hex_of("f"): {"source": "other"}})[0] == 200
    wanted = [hex_of("f"), hex_of("f"), hex_of("g"), hex_of("never")]
    assert server.get("notes", checksums=wanted) == (200, {hex_of("f"): first, hex_of("g"): {}})
    assert server.get("notes") == server.get("notes", checksums=[]) == (200, {})


@pytest.mark.parametrize(
    "body",
    [
        {"recipes": 3},
        {"recipes": ["x"]},
        {"recipes": [{"content": "x"}]},
        {"recipes": [{"function": "f"}]},
        {"recipes": [{"function": "f", "content": 3}]},
        {"recipes": [{"function": None, "content": "x"}]},
        {"recipes": [{"function": "f" * 4097, "content": "x"}]},
        {"recipes": [{"function": "f", "content": "x", "checksum": hex_of("y")}]},
        {"notes": 3},
        {"notes": [{}]},
        {"notes": {"12": {}}},
        {"notes": {hex_of("a"): "x"}},
        {"notes": {hex_of("a"): None}},
        {"notes": {hex_of("a"): {"x": "é" * (MAX_NOTE_BYTES // 2)}}},
    ],
)
def test_a_malformed_or_immense_part_refuses_the_whole_batch(server, body):
    """With a text that names the part, and nothing stored."""
    status, text = server.put("batch", store=[_item("a")], **body)
    assert status == 400 and text.startswith("ERROR: ")
    assert next(iter(body)) in text
    assert server.get("summary")[1]["transformations"] == 0


@pytest.mark.parametrize(
    ("type_", "query"),
    [
        ("recipes", {"function": 3}),
        ("recipes", {"limit": -1}),
        ("recipes", {"limit": 1001}),
        ("recipes", {"checksums": "x"}),
        ("recipes", {"checksums": ["x"]}),
        ("recipes", {"checksums": [hex_of("a")] * 1001}),
        ("recipes", {"checksums": [hex_of("a")], "function": "f"}),
        ("notes", {"checksums": {}}),
        ("notes", {"checksums": [3]}),
        ("notes", {"checksums": [hex_of("a")] * 1001}),
    ],
)
def test_a_malformed_question_is_refused(server, type_, query):
    """With a text, not a crash."""
    status, text = server.get(type_, **query)
    assert (status, text[:7]) == (400, "ERROR: ")


def test_the_newest_recipes_of_a_function_are_found_without_reading_the_others(server):
    """By the index: neither a scan of all recipes nor a sort of those of the function."""
    server.stop()
    connection = sqlite3.connect(server.file)
    from seamless_dask_cache.server import recipe_tables

    statements = []
    connection.set_trace_callback(statements.append)
    recipe_tables.recipes_of(connection, "f", 5)
    connection.set_trace_callback(None)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statements[0]}")]
    connection.close()
    assert "recipe_function (function=?)" in plan[0]
    assert not [step for step in plan if step.startswith("SCAN") or "TEMP B-TREE" in step]


def test_ten_thousand_recipes_are_kept_whole(server):
    """More than one answer holds; the newest come."""
    names = [f"recipe {number}" for number in range(10_000)]
    recipes = [{"function": "f", "content": name} for name in names]
    assert server.put("batch", recipes=recipes)[0] == 200
    found = server.get("recipes", function="f", limit=1000)[1]
    assert len({recipe["checksum"] for recipe in found}) == 1000
    for recipe in found:
        assert hashlib.sha256(recipe["recipe"].encode()).hexdigest() == recipe["checksum"]
