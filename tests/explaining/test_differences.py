"""What differs between two recipes is named where it was made, and nothing else is."""

from __future__ import annotations

import functools

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from recording import Record, differences, load, record_call

from seamless_dask_cache.explaining.code_differences import code_differences
from seamless_dask_cache.explaining.difference import from_dict
from seamless_dask_cache.explaining.differences import MAX_PAIRS, compare

SOURCE = """
import os
import numpy as np

LIMIT = 3
CONFIG = {"alpha": 0.1, "depth": [1, 2]}


def strip(text):
    return text.strip()


def decorate(function):
    def wrapper(*args):
        return function(*args)
    return wrapper


class Base:
    def prepare(self, x):
        return x


class Model(Base):
    rate = 0.5

    def fit(self, x):
        return self.prepare(x) * self.rate


def clean(text, side="left"):
    return strip(text)[:LIMIT], CONFIG, os.environ.get("MY_MODE")


def train(x):
    return Model().fit(x)
"""

EDITS = [
    ("clean", "text.strip()", "text.rstrip()", "code changed: helper `strip` (edited.py)"),
    ("clean", "[:LIMIT], C", "[1:LIMIT], C", "code changed: `clean` (edited.py) itself"),
    ("clean", "LIMIT = 3", "LIMIT = 4", "global LIMIT of `clean`: 3 -> 4"),
    ("clean", "0.1", "0.2", "global CONFIG['alpha'] of `clean`: 0.1 -> 0.2"),
    ("clean", "[1, 2]", "[1, 2, 3]", "global CONFIG['depth'][2] of `clean` is new: 3"),
    ("clean", '"left"', '"right"', "default 0 of `clean`: 'left' -> 'right'"),
    ("train", "rate = 0.5", "rate = 0.7", "attribute rate of `Model`: 0.5 -> 0.7"),
    ("train", "return x\n\n", "return -x\n\n", "code changed: helper `prepare` (edited.py)"),
    ("train", "class Model(Base):", "class Model(Base):\n    def more(self): pass", None),
    ("train", "(Base):", "(Base, dict):", "bases[1] of `Model` is new: <class dict>"),
]


def lines(found):
    return [difference.line for difference in found]


@pytest.mark.parametrize(("name", "old", "new", "line"), EDITS)
def test_an_edit_is_named(tmp_path, name, old, new, line):
    """One edit, one difference, in words."""
    before = record_call(getattr(load(tmp_path, "edited", SOURCE), name), "x")
    after = record_call(getattr(load(tmp_path, "edited", SOURCE.replace(old, new)), name), "x")
    found = differences(before, after)
    assert lines(found) == [line or "attribute more of `Model` is new: <function Model.more>"]


def test_a_changed_source_comes_with_its_diff(tmp_path):
    before = record_call(load(tmp_path, "diffed", SOURCE).clean, "x")
    edited = SOURCE.replace("text.strip()", "text.rstrip()")
    (found,) = differences(before, record_call(load(tmp_path, "diffed", edited).clean, "x"))
    assert found.path == "clean -> strip -> code"
    assert "-    return text.strip()\n+    return text.rstrip()" in found.diff
    assert from_dict(found.to_dict()) == found


def test_nothing_differs_between_equal_recipes(tmp_path):
    module = load(tmp_path, "equal", SOURCE)
    assert differences(record_call(module.clean, "x"), record_call(module.clean, "x")) == []


def test_comments_and_moves_are_no_differences(tmp_path):
    before = record_call(load(tmp_path, "commented", SOURCE).clean, "x")
    other = "# moved\n\n\n" + SOURCE.replace("text.strip()", "text.strip()  # why")
    assert differences(before, record_call(load(tmp_path, "commented", other).clean, "x")) == []


def test_the_environment_is_named(tmp_path, monkeypatch):
    module = load(tmp_path, "environment", SOURCE)
    before = record_call(module.clean, "x")
    monkeypatch.setenv("MY_MODE", "fast")
    (line,) = lines(differences(before, record_call(module.clean, "x")))
    assert line == "environment MY_MODE of `clean`: None -> 'fast'"


def test_without_sources_instructions_are_compared():
    made = []
    for body in ("x + 1", "x + 2"):
        names = {}
        exec(f"def f(x):\n    return {body}", names)
        made.append(record_call(names["f"], 1))
    (found,) = differences(*made)
    assert found.text == "code changed: `f` (<string>) itself"
    assert "-    LOAD_CONST 1" in found.diff or "-    LOAD_SMALL_INT 1" in found.diff


def test_a_helper_that_is_used_now_is_named(tmp_path):
    table = "TABLE = {}\ndef g(x): return x\ndef f(x): return TABLE, x\n"
    before = record_call(load(tmp_path, "coming", table).f, 1)
    after = record_call(load(tmp_path, "coming", table + "TABLE['g'] = g\n").f, 1)
    found = lines(differences(before, after))
    assert found == ["global TABLE['g'] of `f` is new: <function g>"]


def test_what_shows_in_the_code_is_not_told_twice(tmp_path):
    before = record_call(load(tmp_path, "twice", SOURCE).clean, "x")
    edited = SOURCE.replace("strip(text)[:LIMIT], C", "strip(text)[:MORE], C") + "\nMORE = 5\n"
    after = record_call(load(tmp_path, "twice", edited).clean, "x")
    assert lines(differences(before, after)) == ["code changed: `clean` (twice.py) itself"]


METHOD = """
SCALE = 2


def strip(x):
    return x * SCALE


class Model:
    rate = 0.5

    def fit(self, x):
        return strip(x) * self.rate


def copied(function):
    return type(function)(function.__code__, function.__globals__, function.__name__)


def bound(copy):
    # As after a journey by value, where the class may have a function of its own.
    function = copied(Model.fit) if copy else Model.fit
    return type(Model().fit)(function, Model())
"""


@pytest.mark.parametrize("copies", [(False, True), (True, False), (True, True)])
def test_functions_that_became_two_objects_or_one_are_no_difference(tmp_path, copies):
    before = record_call(load(tmp_path, "bound", METHOD).bound(copies[0]), 3)
    edited = METHOD.replace("SCALE = 2", "SCALE = 3")
    after = record_call(load(tmp_path, "bound", edited).bound(copies[1]), 3)
    assert lines(differences(before, after)) == ["global SCALE of `strip`: 2 -> 3"]


def test_a_helper_that_is_met_elsewhere_is_compared_all_the_same(tmp_path):
    source = "N = 1\ndef h(x): return x + N\ndef g(x): return h(x)\ndef f(x): return g(x)\n"
    before = record_call(load(tmp_path, "elsewhere", source).f, 1)
    edited = source.replace("N = 1", "N = 2").replace("return g(x)", "return h(x)")
    after = record_call(load(tmp_path, "elsewhere", edited).f, 1)
    assert lines(differences(before, after)) == [
        "code changed: `f` (elsewhere.py) itself",
        "global N of `h`: 1 -> 2",
    ]


def test_a_helper_of_the_class_of_an_argument_is_named(tmp_path):
    before = record_call(call, [load(tmp_path, "argument", METHOD).Model()])
    edited = METHOD.replace("SCALE = 2", "SCALE = 3")
    after = record_call(call, [load(tmp_path, "argument", edited).Model()])
    assert lines(differences(before, after)) == ["args[0][0]: global SCALE of `strip`: 2 -> 3"]


# Arguments ----------------------------------------------------------------------------------------


def call(*args, **kwargs):
    return args, kwargs


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (1, 2, "args[0]: 1 -> 2"),
        (1, 1.0, "args[0]: 1 -> 1.0"),
        (True, 1, "args[0]: True -> 1"),
        ("a", "b", "args[0]: 'a' -> 'b'"),
        (0.1, 0.2, "args[0]: 0.1 -> 0.2"),
        (b"a", b"b", "args[0]: b'a' -> b'b'"),
        ({"alpha": 0.1}, {"alpha": 0.2}, "args[0]['alpha']: 0.1 -> 0.2"),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "args[0]['a']['b'][1]: 2 -> 3"),
        ([1], [1, 2], "args[0][1] is new: 2"),
        ((1, 2), [1, 2], "args[0]: (1, 2) -> [1, 2]"),
        (functools.partial(call, 1), functools.partial(call, 2), None),
        (2**70, 2**71, f"args[0]: {hex(2**70)} -> {hex(2**71)}"),
    ],
)
def test_an_argument_is_named_by_its_path(old, new, line):
    found = lines(differences(record_call(call, old), record_call(call, new)))
    if line is None:
        assert found == ["args[0]: what is in `call`[0]: 1 -> 2"]
    else:
        assert found == [line]


def test_keywords_are_named_as_they_are_written():
    before, after = record_call(call, alpha=1, beta=2), record_call(call, alpha=3, gamma=2)
    assert lines(differences(before, after)) == [
        "alpha: 1 -> 3",
        "beta is gone; it was 2",
        "gamma is new: 2",
    ]


def test_the_order_of_keywords_is_named_where_it_counts():
    found = differences(record_call(call, a=1, b=2), record_call(call, b=2, a=1))
    assert lines(found) == ["order of keywords: ['a', 'b'] -> ['b', 'a']"]


def test_an_array_and_a_frame_are_named_by_what_changed():
    array, frame = np.arange(4.0), pd.DataFrame({"x": [1, 2], "y": [3, 4]})
    edited = frame.assign(y=[3, 5])
    (line,) = lines(differences(record_call(call, array), record_call(call, array + 1)))
    assert line.startswith("args[0]: array float64 (4,): 0.0, 1.0, 2.0, 3.0, content")
    (line,) = lines(differences(record_call(call, frame), record_call(call, edited)))
    assert line.startswith("args[0]['y']: int64 2: 3, 4, content")


def test_a_function_as_an_argument_is_compared_as_code():
    found = differences(
        record_call(call, key=lambda x: x + 1), record_call(call, key=lambda x: x + 2)
    )
    assert [item.kind for item in found] == ["code"]
    assert found[0].text.startswith("key: code changed: `<lambda>`")


def test_a_function_within_a_value_is_compared_as_code():
    old, new = {"f": [lambda x: x + 1]}, {"f": [lambda x: x + 2]}
    found = differences(record_call(call, old), record_call(call, new))
    assert [item.kind for item in found] == ["code"]
    assert found[0].text.startswith("args[0]['f'][0]: code changed")


def test_a_secret_argument_is_said_to_have_changed_and_not_shown():
    before, after = (record_call(call, password=text, user={"token": text}) for text in "ab")
    found = differences(before, after)
    assert [item.path for item in found] == ["password", "user['token']"]
    assert all("changed; it is <hidden" in item.text for item in found)
    (other,) = differences(record_call(call, user={"token": "a"}), record_call(call, user="x"))
    assert "hidden" in other.text and "'a'" not in other.text


def test_a_changed_file_is_named(tmp_path):
    path = tmp_path / "input.csv"
    path.write_text("a")
    before = record_call(call, str(path))
    path.write_text("more")
    assert lines(differences(before, record_call(call, str(path)))) == [f"file '{path}' changed"]
    path.unlink()
    gone = differences(before, record_call(call, str(path)))
    assert lines(gone) == [f"file '{path}' is no input any more"]


def test_what_dask_reads_is_named(tmp_path):
    path = tmp_path / "input.csv"
    path.write_text("x\n1\n")
    before = Record(dd.read_csv(path))
    path.write_text("x\n1\n2\n")
    found = differences(before, Record(dd.read_csv(path)))
    assert any(item.kind in ("producer", "files") for item in found)


# Upstream -----------------------------------------------------------------------------------------


def load_part(x):
    return x


def combine(a, b):
    return a, b


def test_a_change_upstream_is_named_with_the_tasks_on_the_way():
    def graph(number):
        first = dask.delayed(load_part)(number)
        return Record(dask.delayed(combine)(dask.delayed(combine)(first, 0), 1))

    (found,) = differences(graph(1), graph(2))
    assert found.tasks == ("combine", "load_part")
    assert found.line == "its input 'combine' <- 'load_part' changed: args[0]: 1 -> 2"


def test_one_change_is_named_once_however_many_tasks_it_reaches(tmp_path):
    def graph(source):
        clean = dask.delayed(load(tmp_path, "wide", source).clean)
        return Record(dask.delayed(combine)([clean(str(i)) for i in range(50)], 0))

    found = differences(graph(SOURCE), graph(SOURCE.replace("LIMIT = 3", "LIMIT = 4")))
    assert lines(found) == ["its input 'clean' changed: global LIMIT of `clean`: 3 -> 4"]


def test_collections_are_followed_through_fused_tasks():
    before, after = (Record((da.arange(20, chunks=5) + n).sum()) for n in (1, 2))
    (found,) = differences(before, after)
    assert found.text == "args[1]: 1 -> 2"
    assert found.tasks[-1] == "_operator.add"


def test_an_input_that_is_not_on_record_is_said_to_be():
    before, after = (Record(dask.delayed(combine)(dask.delayed(load_part)(n), 0)) for n in (1, 2))
    (found,) = compare(before.recipe, after.recipe, {}.get, {}.get)
    assert found.kind == "input"
    assert "is not on record" in found.text


def test_a_graph_in_which_everything_differs_ends():
    def recipe(level, side):
        return {
            "function": "f",
            "code": "0" * 64,
            "args": [{"transformation": f"{side}{level + 1}-{n}"} for n in range(50)],
        }

    asked = []

    def fetch(name):
        asked.append(name)
        return recipe(int(name[1:].partition("-")[0]), name)

    assert compare(recipe(0, "a"), recipe(0, "b"), fetch, {}.get)
    assert len(asked) == 2 * MAX_PAIRS


def test_a_pair_of_tasks_is_compared_once_however_many_ways_lead_to_it():
    def recipe(level, side):
        upstream = {"transformation": f"{side}{level + 1}"}
        args = [upstream, upstream] if level < 20 else [side]
        return {"function": "f", "code": "0" * 64, "args": args}

    asked = []

    def fetch(name):
        asked.append(name)
        return recipe(int(name[1:]), name[0])

    (found,) = compare(recipe(0, "a"), recipe(0, "b"), fetch, {}.get)
    assert found.text == "args[0]: 'a' -> 'b'"
    assert len(asked) == 40


# Versions -----------------------------------------------------------------------------------------


def test_without_notes_the_change_of_code_is_told_all_the_same(tmp_path):
    before = record_call(load(tmp_path, "noteless", SOURCE).clean, "x")
    edited = SOURCE.replace("LIMIT = 3", "LIMIT = 4")
    after = record_call(load(tmp_path, "noteless", edited).clean, "x")
    (found,) = compare(before.recipe, after.recipe, {}.get, {}.get)
    assert found.text == "code changed; what changed is not on record"


def test_an_upgraded_distribution_is_named_once():
    def uses(x):
        return np.mean(x) + np.std(x)

    note = next(n for n in record_call(uses, 1).notes.values() if n["kind"] == "code")
    older = _with(note, lambda text: text.replace(f"numpy {np.__version__}", "numpy 1.0"))
    (found,) = code_differences("a", "b", older, note)
    expected = f"numpy 1.0 -> numpy {np.__version__} (numpy.mean and 1 more)"
    assert found.text == f"version of what it uses: {expected}"


def test_another_python_is_the_difference_and_not_its_bytecode(tmp_path):
    record = record_call(load(tmp_path, "python", SOURCE).clean, "x")
    note = next(n for n in record.notes.values() if n["kind"] == "code")
    parts = {path: {**labels, "code": "another"} for path, labels in note["parts"].items()}
    older = {**note, "parts": parts, "python": "3.9.0"}
    (found,) = code_differences("a", "b", older, note)
    assert found.text == f"Python: 3.9.0 -> {note['python']}"


def _with(note, change):
    """The note as another installation would have made it: other texts, other digests."""
    values = {
        path: {
            label: {step: change(text) for step, text in leaves.items()}
            for label, leaves in labels.items()
        }
        for path, labels in note["values"].items()
    }
    parts = {path: dict(labels) for path, labels in note["parts"].items()}
    for path, labels in values.items():
        for label, leaves in labels.items():
            if leaves != note["values"][path][label]:
                parts[path][label] = "another digest"
    return {**note, "parts": parts, "values": values}
