"""Notes on code: every part by its path, without end or secret."""

from __future__ import annotations

import functools
import json

import numpy as np
import orjson
import pytest
from recording import load, record_call

from seamless_dask_cache.explaining import code_notes
from seamless_dask_cache.explaining.code_notes import MAX_NOTE_BYTES, MAX_PARTS, code_note
from seamless_dask_cache.explaining.notes import collect_notes
from seamless_dask_cache.explaining.texts import HIDDEN
from seamless_dask_cache.identity.code import Identifier

SOURCE = """
import os
import numpy as np

LIMIT = 3
CONFIG = {"alpha": 0.1}
API_TOKEN = "s3cret"


called = []


class Loud:
    def __repr__(self):
        called.append("repr")
        return "loud"


LOUD = Loud()


def strip(x, side="left"):
    return x.strip()[:LIMIT]


def make(depth):
    def inner(x):
        return x + depth
    return inner


def clean(x, *, wild=2):
    return strip(x), CONFIG["alpha"], np.mean([1]), API_TOKEN, LOUD, os.environ["MY_MODE"]
"""


def note_of(function):
    return code_note(Identifier().code(function))


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_MODE", "fast")
    return load(tmp_path, "noted", SOURCE)


def test_every_part_has_its_value(module):
    note = note_of(module.clean)
    assert list(note["parts"])[:2] == ["clean", "clean -> strip"]
    values = note["values"]
    assert values["clean"]["global CONFIG"] == {"['alpha']": "0.1"}
    assert values["clean"]["default wild"] == {"": "2"}
    assert values["clean"]["environment MY_MODE"] == {"": "'fast'"}
    assert values["clean -> strip"]["global LIMIT"] == {"": "3"}
    assert values["clean -> strip"]["default 0"] == {"": "'left'"}
    mean = values["clean"]["global np.mean"]
    assert mean == {"distribution": f"numpy {np.__version__}", "name": "numpy.mean"}
    assert note["sources"]["clean -> strip"]["file"] == "noted.py"
    assert "truncated" not in note


def test_no_secret_is_written_down_and_no_repr_called(module):
    note = note_of(module.clean)
    assert note["values"]["clean"]["global API_TOKEN"] == {"": HIDDEN}
    assert "s3cret" not in json.dumps(note)
    assert module.called == []


def test_closures_partials_methods_and_callable_objects(module):
    assert note_of(module.make(3))["values"]["inner"]["closure depth"] == {"": "3"}
    partial = note_of(functools.partial(module.strip, side=7))
    assert partial["values"]["strip"][""] == {"['side']": "7"}
    assert "strip -> strip" in partial["sources"]
    installed = note_of(np.mean)
    assert installed["values"]["numpy.mean"][""]["name"] == "numpy.mean"


def test_two_functions_of_one_name_are_both_noted():
    first, second = (lambda x: x + 1), (lambda x: x + 2)
    table = {"a": first, "b": second}

    def choose(x):
        return table[x]

    paths = note_of(choose)["sources"]
    assert {"choose -> <lambda>", "choose -> <lambda> #2"} <= paths.keys()


def test_a_note_on_very_much_code_stays_within_its_bounds(tmp_path):
    filler = "".join(f"    x = x + {i}\n" for i in range(100))
    helpers = "".join(f"def h{i}(x):\n{filler}    return x\n\n" for i in range(600))
    calls = " + ".join(f"h{i}(x)" for i in range(600))
    module = load(tmp_path, "very_much", f"{helpers}\ndef f(x):\n    return {calls}\n")
    note = note_of(module.f)
    assert note["truncated"]
    assert sum(map(len, note["parts"].values())) <= MAX_PARTS
    assert len(orjson.dumps(note)) <= MAX_NOTE_BYTES
    assert "f" in note["sources"]
    assert "code" in note["parts"]["f -> h599"]


def test_a_note_is_the_same_in_another_pass(module):
    assert note_of(module.clean) == note_of(module.clean)


def test_what_goes_wrong_leaves_a_note_all_the_same(module, monkeypatch):
    monkeypatch.setattr(code_notes, "function_text", lambda function: 1 / 0)
    note = note_of(module.clean)
    assert note["name"] == "clean" and note["truncated"]


def test_one_note_for_each_checksum_of_a_recipe_and_none_twice(module):
    record = record_call(module.strip, "a", side=np.arange(3))
    kinds = {note["kind"] for note in record.notes.values()}
    assert kinds == {"code", "value"}
    assert len(record.notes) == 2
    arguments = (record.graph, record.identities, record.identifier)
    assert len(collect_notes(*arguments, (), limit=1)) == 1
    assert collect_notes(*arguments, known=record.notes) == {}


def test_plain_data_and_functions_within_values_are_noted(module):
    record = record_call(module.strip, b"bytes", side={"f": module.make(3), "n": float("nan")})
    leaves = [note["leaves"] for note in record.notes.values() if note["kind"] == "value"]
    assert {"": "b'bytes'"} in leaves
    holder = next(note for note in record.notes.values() if "codes" in note)
    code = record.notes[holder["codes"]["['f']"]]
    assert code["kind"] == "code" and "closure depth" in code["parts"]["inner"]
    arguments = (record.graph, record.identities, record.identifier)
    again = collect_notes(*arguments, known=list(holder["codes"].values()))
    assert not again.keys() & set(holder["codes"].values())
