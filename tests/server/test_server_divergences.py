"""Results that differ: who comes second is recorded, what is contested is served no more."""

from __future__ import annotations

import time

import pytest
from serving import hex_of

TF, RESULT, OTHER = hex_of("t"), hex_of("r"), hex_of("r2")


def _store(server, result, transformation=TF):
    return server.put("batch", store=[{"transformation": transformation, "result": result}])[1]


def _lookup(server):
    return server.get("batch", transformations=[TF])[1]["results"]


def test_divergences_are_listed_newest_first(server):
    """With the result in force, if there is one."""
    before = time.time()
    other_tf = hex_of("u")
    for result in (RESULT, OTHER, hex_of("r3")):
        _store(server, result)
        _store(server, result, other_tf)
    server.put("batch", forget=[other_tf])
    found = server.get("divergences")[1]
    assert all(before <= row.pop("created") <= time.time() for row in found)
    expected = [
        {"checksum": tf, "result": result, "first": first, "irreproducible": False}
        for result in (hex_of("r3"), OTHER)
        for tf, first in ((other_tf, None), (TF, RESULT))
    ]
    assert found == expected
    assert len(server.get("divergences", limit=1)[1]) == 1
    assert server.get("divergences", limit=0) == (200, [])


def test_a_contested_result_is_marked_and_has_none_in_force(server):
    """As an audit sees it."""
    _store(server, RESULT)
    _store(server, OTHER)
    server.put("irreproducible", checksum=TF, result=RESULT)
    (found,) = server.get("divergences")[1]
    assert (found["result"], found["first"], found["irreproducible"]) == (OTHER, None, True)


@pytest.mark.parametrize("result", [RESULT, OTHER])
def test_no_batch_brings_a_contested_transformation_back(server, result):
    """Not even with files, recipe, entry, or the word to forget it first."""
    _store(server, RESULT)
    server.put("irreproducible", checksum=TF, result=RESULT)
    item = {
        **{"transformation": TF, "result": result, "recipe": "t", "files": {"/a": "1"}},
        "entry": {"seconds": 1.0},
    }
    assert server.put("batch", store=[item], forget=[TF])[1]["diverged"] == [TF]
    assert _lookup(server) == {}
    assert server.get("leases", transformations=[TF]) == (200, {"known": {}, "held": {}})
    assert server.get("entries")[1] == []
    assert server.get("transformation", checksum=TF)[0] == 404


def test_lookups_serve_no_contested_transformation_that_a_published_client_set_again(server):
    """Single requests do, as published; who restores results does not see it."""
    _store(server, RESULT)
    server.put("irreproducible", checksum=TF, result=RESULT)
    server.put("transformation", checksum=TF, value=OTHER)
    assert server.get_text("transformation", checksum=TF) == (200, OTHER)
    assert _lookup(server) == {}
    found = server.put("leases", holder="a", acquire=[TF], seconds=10)[1]
    assert found == {"granted": [TF], "known": {}, "held": {}}


@pytest.mark.parametrize("limit", [-1, 1e3, "x", 100_001])
def test_a_malformed_limit_is_refused(server, limit):
    """With a text, not a crash."""
    status, text = server.get("divergences", limit=limit)
    assert status == 400 and "limit" in text
