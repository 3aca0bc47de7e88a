"""Why a task is a miss, from recipes alone."""

from __future__ import annotations

import html
import json

import dask
import pandas as pd
import pytest
from recording import Record

from seamless_dask_cache.explaining.difference import Difference
from seamless_dask_cache.explaining.misses import NOT_SERVED, NOT_STORED, explain_miss, origins
from seamless_dask_cache.explaining.nearest import nearest, recorded
from seamless_dask_cache.explanation import MOST_LINES, Explanation


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


def test_a_long_explanation_prints_what_is_no_hit():
    row = vars(explanation()[0]) | {"differences": []}
    hits = [row | {"key": f"hit-{i}", "status": "hit"} for i in range(MOST_LINES)]
    printed = repr(Explanation([*hits, row]))
    assert "hit-1" not in printed and "('x', 0)" in printed
    assert f"and {MOST_LINES} more" in printed
