"""Why a task is a miss, from recipes alone."""

from __future__ import annotations

import html
import json

import dask
import dask.array as da
import dask.bag as db
import numpy as np
import pandas as pd
import pytest
from recording import Record

from seamless_dask_cache.explaining.difference import Difference
from seamless_dask_cache.explaining.misses import (
    NOT_SERVED,
    NOT_STORED,
    Miss,
    explain_miss,
    origins,
    with_files_of_siblings,
)
from seamless_dask_cache.explaining.nearest import nearest, recorded
from seamless_dask_cache.explanation import Explanation


def train(x, alpha=1, depth=2):
    return x


def load_part(x):
    return x


def rows(*records, result="f" * 64):
    """What the database would answer, newest first."""
    found = []
    for age, record in enumerate(records):
        key = record.identities.known[record.keys[0]]
        found.append(
            {
                "checksum": key.checksum,
                "function": key.function,
                "created": 100.0 - age,
                "recipe": key.recipe.decode(),
                "result": result,
            }
        )
    return recorded(found)


def call(**arguments):
    return Record(dask.delayed(train)(0, **arguments))


def miss(record, candidates, **options):
    notes = {name: note for name, note in record.notes.items()}
    checksum = record.identities.known[record.keys[0]].checksum
    return explain_miss(
        checksum, record.recipe, candidates, record.recipes.get, notes.get, **options
    )


def test_the_nearest_recipe_has_the_fewest_differences():
    near, far = call(alpha=1, depth=7), call(alpha=5, depth=6)
    assert nearest(call(alpha=1, depth=8).recipe, rows(far, near)).recipe == near.recipe
    assert nearest(near.recipe, []) is None


def test_of_equally_near_recipes_the_newest_counts():
    one, two = call(alpha=1), call(alpha=2)
    assert nearest(call(alpha=3).recipe, rows(one, two)).recipe == one.recipe
    assert nearest(call(alpha=3).recipe, rows(two, one)).recipe == two.recipe


def test_of_equally_near_recipes_the_one_with_the_likest_values_counts():
    def part(first, last):
        frame = pd.DataFrame({"x": [first, first + 1], "y": [0, last]})
        return Record(dask.delayed(train)(frame))

    parts = [part(0, 1), part(100, 1), part(200, 1)]
    new = part(100, 7)
    notes = {name: note for record in (*parts, new) for name, note in record.notes.items()}
    found = nearest(new.recipe, rows(*parts), notes.get)
    assert found.recipe == parts[1].recipe
    assert nearest(new.recipe, rows(*parts)).recipe == parts[0].recipe


def scaling(limit):
    def scale(block):
        return block * limit

    return scale


COLLECTIONS = {
    "array": lambda limit: da.arange(100, chunks=50).map_blocks(scaling(limit), dtype=int),
    "bag": lambda limit: db.from_sequence(range(4), npartitions=2).map(scaling(limit)),
    "from_array": lambda limit: da.from_array(ARRAY, chunks=50).map_blocks(scaling(limit)),
}
ARRAY = np.arange(100.0)


@pytest.mark.parametrize("newest", [0, 1])
@pytest.mark.parametrize("kind", COLLECTIONS)
def test_a_partition_is_compared_with_its_own_earlier_self(kind, newest):
    def total(limit, partition):
        parts = COLLECTIONS[kind](limit).to_delayed()
        return Record(dask.delayed(train)(parts[partition]))

    old = [total(1, newest), total(1, 1 - newest)]
    new = total(2, 0)
    recipes = {name: item for record in (*old, new) for name, item in record.recipes.items()}
    notes = {name: item for record in (*old, new) for name, item in record.notes.items()}
    found = nearest(new.recipe, rows(*old), notes.get, recipes.get)
    assert found.recipe == old[newest].recipe


def test_a_task_is_not_compared_with_one_over_results_of_another_function():
    def last(limit, name):
        return Record(getattr(da.arange(100, chunks=50).map_blocks(scaling(limit)), name)())

    earlier, other, new = last(1, "sum"), last(2, "mean"), last(2, "sum")
    recipes = {name: r for record in (earlier, other, new) for name, r in record.recipes.items()}
    candidates = rows(other, earlier)
    found = nearest(new.recipe, candidates, fetch_recipe=recipes.get)
    assert found.recipe == earlier.recipe


def test_upstream_is_asked_for_no_further_than_it_takes():
    asked = []

    def fetch(checksum):
        asked.append(checksum)

    candidates = rows(call(alpha=1), call(alpha=2))
    assert nearest(call(alpha=3).recipe, candidates, fetch_recipe=fetch)
    assert asked == []


def test_what_is_no_recipe_is_no_candidate():
    broken = [{"checksum": "a", "recipe": text} for text in ("", "[]", "{", None, "\ud800")]
    assert recorded(broken) == []


def test_a_changed_argument_is_the_reason():
    found = miss(call(alpha=2), rows(call(alpha=1)))
    assert found.reason == "alpha: 1 -> 2"
    assert found.differences[0].path == "alpha"


def test_many_differences_are_counted():
    found = miss(call(alpha=2, depth=3), rows(call(alpha=1, extra=1, depth=9)))
    assert found.reason == "alpha: 1 -> 2; depth: 9 -> 3; and 1 more"


def test_without_an_earlier_call_that_is_the_reason():
    assert miss(call(), []).reason == "no earlier call of `train` is on record"


@pytest.mark.parametrize(("result", "reason"), [(None, NOT_STORED), ("f" * 64, NOT_SERVED)])
def test_a_recipe_that_is_on_record_as_it_is(result, reason):
    assert miss(call(), rows(call(), result=result)).reason == reason


def test_an_input_that_is_a_miss_is_pointed_to():
    def graph(number):
        return Record(dask.delayed(train)(dask.delayed(load_part)(number)))

    new = graph(2)
    part = next(name for name, recipe in new.recipes.items() if recipe["function"] == "load_part")
    found = miss(new, rows(graph(1)), misses={part}, name_of={part: "load-1"}.get)
    assert found.reason == "because its input 'load-1' is a miss"
    assert found.upstream == part and found.differences == []


def test_a_first_call_on_results_of_another_function_is_said_to_be_one():
    old = Record(dask.delayed(train)(dask.delayed(load_part)(1)))
    new = Record(dask.delayed(train)(dask.delayed(len)("a", pure=False)))
    recipes = {**old.recipes, **new.recipes}
    checksum = new.identities.known[new.keys[0]].checksum
    found = explain_miss(checksum, new.recipe, rows(old), recipes.get, {}.get)
    assert found.reason == ("no earlier call of `train` on a result of `builtins.len` is on record")
    assert [difference.kind for difference in found.differences] == ["function"]


def test_a_changed_file_is_said_before_what_it_brings_along(tmp_path):
    path = tmp_path / "input.csv"
    found = []
    for content in ("a", "longer"):
        path.write_text(content)
        found.append(Record(dask.delayed(train)(len(content), depth=content, alpha=str(path))))
    assert miss(found[1], rows(found[0])).reason == (
        f"file '{path}' changed; args[0]: 1 -> 6; and 1 more"
    )


def read_part(source, file, before, after):
    """The miss of one partition of a collection that Dask reads."""
    producer = Difference("producer", "producer", "old", source, "what Dask reads changed")
    if before == after:
        return Miss("", [producer])
    return Miss("", [producer, Difference("files", file, before, after, f"file '{file}' changed")])


def test_the_file_that_changed_is_named_for_the_partitions_of_the_others_too():
    found = with_files_of_siblings(
        {
            "one": read_part("new", "1.csv", "a", "b"),
            "two": read_part("new", "2.csv", "a", "a"),
            "elsewhere": read_part("other", "3.csv", "a", "a"),
        }
    )
    text = "file '1.csv' changed (in another partition)"
    assert found["two"].reason == f"{text}; what Dask reads changed"
    assert text not in found["one"].reason
    assert found["elsewhere"].reason == ""


def test_the_origin_is_the_first_of_a_chain_of_misses():
    chain = {"a": None, "b": "a", "c": "b", "d": None}
    assert origins(chain, list(chain)) == {"b": "a", "c": "a"}


# What people see ----------------------------------------------------------------------------------

NASTY = "<script>alert('x')</script>"


def explanation(**changes):
    difference = Difference(
        "code", "f -> g", None, "<b>", f"g changed {NASTY}", f"-{NASTY}", ("t",)
    )
    row = {
        "key": ("x", 0),
        "status": "miss",
        "reason": f"why {NASTY}",
        "function": NASTY,
        "transformation": "a" * 64,
        "result": None,
        "seconds": None,
        "differences": [difference.to_dict()],
    }
    return Explanation([row | changes])


def test_everything_in_a_table_is_escaped():
    page = explanation(key=NASTY)._repr_html_()
    assert NASTY not in page
    assert page.count(html.escape(NASTY)) == 5
    assert "<details>" in page and page.count("<td") == 4


def test_an_explanation_is_fit_for_json():
    (row,) = json.loads(explanation().to_json())
    assert row["key"] == "('x', 0)"
    assert row["differences"][0]["tasks"] == ["t"]
    assert row == explanation().to_dict()[0]


def test_details_have_the_diff_and_the_path():
    text = explanation(path="f -> time.time", origin="other").details()
    assert f"-{NASTY}" in text
    assert "path: f -> time.time" in text and "see the task 'other'" in text
    assert f"-{NASTY}" not in repr(explanation())
