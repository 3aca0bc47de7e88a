"""What is printed of many tasks: few lines, and the ones that matter first."""

from __future__ import annotations

import dask
import dask.array as da
import pytest

from seamless_dask_cache.explaining.asked import asked_for, names_of
from seamless_dask_cache.explaining.lines import MOST_ALONE, MOST_LINES, alike
from seamless_dask_cache.explanation import Explanation

TOKEN = "18bfccd64969dd0ac25289beae2771ae"
NEW = "no earlier call of `chunk` is on record"


def row(key, status="miss", reason=NEW, function="chunk", **more):
    fields = {"key": key, "status": status, "reason": reason, "function": function}
    return {**fields, "transformation": None, "result": None, "seconds": None, **more}


def partitions(number, **more):
    return [row((f"chunk-{TOKEN}", i), **more) for i in range(number)]


def test_few_tasks_have_a_line_each():
    printed = repr(Explanation(partitions(MOST_ALONE)))
    assert len(printed.splitlines()) == MOST_ALONE + 1


def test_tasks_that_are_alike_share_a_line():
    printed = repr(Explanation([*partitions(100), *partitions(50, status="hit", reason="stored")]))
    assert printed.splitlines() == [
        "150 tasks: 50 hit, 100 miss, 0 refused",
        f"miss    chunk x 100  {NEW}",
        "hit     chunk x 50   stored",
    ]


def test_reasons_that_differ_by_the_partition_only_are_alike():
    lines = [
        f"because its input ('chunk-{TOKEN}', {i}, 0) is a miss (and {i} more)" for i in range(3)
    ]
    assert {alike(line) for line in lines} == {"because its input 'chunk' is a miss"}
    assert alike("args[0]: 1 -> 2") != alike("args[0]: 1 -> 3")


def test_what_was_asked_for_comes_first_and_then_where_it_began():
    origin = row("strange", reason="args[0]: 1 -> 2", function="load")
    asked = row("asked", origin="strange", reason="because", requested=True)
    lines = repr(Explanation([*partitions(300), origin, asked])).splitlines()
    assert lines[1].startswith("miss    asked")
    assert lines[2].startswith("miss    strange")
    assert lines[3].startswith("miss    chunk x 300")


def test_more_lines_than_fit_are_counted():
    rows = [row(f"k{i}", reason=f"args[0]: 0 -> {i}") for i in range(300)]
    found = Explanation(rows)
    assert len(repr(found).splitlines()) == MOST_LINES + 2
    assert repr(found).endswith(f"and {300 - MOST_LINES} more; to_dict() has all of them")
    assert found._repr_html_().count("<tr>") == MOST_LINES + 1


# What is asked for --------------------------------------------------------------------------------


def test_collections_are_found_in_lists_and_dictionaries():
    x, y = da.ones(3), dask.delayed(len)("abc")
    asked = asked_for([[x], {"y": (y,)}])
    assert asked.collections == (x, y) and asked.futures == ()


@pytest.mark.parametrize("thing", [3, "key", None, len, [dask.delayed(len)("a"), {"a": 3}]])
def test_anything_else_is_refused_by_its_type(thing):
    with pytest.raises(TypeError, match="explain takes Dask collections, not "):
        asked_for([thing])


@pytest.mark.parametrize("things", [[], [[]], [{}]])
def test_nothing_is_refused(things):
    with pytest.raises(TypeError, match="there are none"):
        asked_for(things)


def test_a_collection_is_found_by_itself_its_name_and_its_keys():
    x = da.ones(10, chunks=5)
    found = Explanation([row("a"), row("b")], names_of([x], ["b"]))
    for name in (x, x.name, (x.name, 1), "b", 1):
        assert found[name].key == "b"
    with pytest.raises(KeyError):
        found["c"]
