"""Texts for values: short, harmless, and of builtin types only."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import functools
import json
import pathlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seamless_dask_cache.explaining.leaves import MAX_LEAF_BYTES, MAX_LEAVES, value_note
from seamless_dask_cache.explaining.texts import HIDDEN, LONGEST_TEXT, hidden_text, short_text

called = []


@pytest.fixture(autouse=True)
def no_code_of_the_user_runs():
    called.clear()
    yield
    assert called == []


class Mine:
    """A class whose code must not run."""

    def __init__(self):
        self.depth = 3

    def __repr__(self):
        called.append(type(self))
        return "a text of the user's own"

    __str__ = __repr__

    def __getattr__(self, name):
        called.append(name)
        raise AttributeError(name)


class Text(str):
    def __repr__(self):
        called.append(type(self))
        return "a text of the user's own"


class Zone(datetime.tzinfo):
    def __repr__(self):
        called.append(type(self))
        return "a text of the user's own"


class Color(enum.Enum):
    RED = "r"


@dataclasses.dataclass
class Settings:
    alpha: float
    password: str


class Slotted:
    __slots__ = ("data",)

    def __init__(self):
        self.data = 7


Point = collections.namedtuple("Point", ["x", "y"])

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.dates()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.dictionaries(st.text(), inner),
        st.frozensets(SCALARS),
    ),
    max_leaves=50,
)


@given(VALUES)
def test_every_text_is_short_and_fit_for_json(value):
    text = short_text(value)
    assert len(text) <= LONGEST_TEXT
    json.dumps(text).encode()
    assert text == short_text(value)


@given(VALUES)
def test_every_note_is_bounded_and_fit_for_json(value):
    note = value_note(value)
    assert len(note["leaves"]) <= MAX_LEAVES
    assert len(json.dumps(note, ensure_ascii=False).encode()) < 3 * MAX_LEAF_BYTES


@given(st.lists(SCALARS, max_size=20))
def test_a_short_list_is_written_as_python_writes_it(value):
    if len(repr(value)) < 100:
        assert short_text(value) == repr(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Mine(), "<test_texts.Mine>"),
        ([Mine()], "[<test_texts.Mine>]"),
        (Text("x"), "<test_texts.Text>"),
        (datetime.datetime(2020, 1, 1, tzinfo=Zone()), "<datetime.datetime>"),
        (Color.RED, "test_texts.Color.RED"),
        (10**1000, "<int of 3322 bits>"),
        ({3, 1, 2}, "{1, 2, 3}"),
        ((1,), "(1,)"),
        (slice(1, None), "slice(1, None, None)"),
        (functools.partial(len, 3, x=1), "partial(<function len>, 3, x=1)"),
        (np.float32(1.5), "numpy.float32(1.5)"),
        (np.zeros(3), "<array float64 (3,)>"),
        (pathlib.PurePosixPath("a/b"), "PurePosixPath('a/b')"),
        (Mine, "<class test_texts.Mine>"),
        ({"api_key": "s", "n": 1}, f"{{'api_key': {HIDDEN}, 'n': 1}}"),
        ("\ud800", "'\\ud800'"),
    ],
    ids=lambda item: type(item).__name__,
)
def test_what_a_value_is_called(value, text):
    assert short_text(value) == text


def test_values_that_hold_themselves_end():
    value = []
    value.append(value)
    assert short_text(value).startswith("[[[")
    assert list(value_note(value)["leaves"]) == ["[0]"]


def test_a_secret_is_never_written_down():
    assert hidden_text("global API_TOKEN", "s3cret") == HIDDEN
    assert "s3cret" not in json.dumps(
        value_note({"db_password": "s3cret", "of": Settings(1, "s3cret")})
    )


def test_a_note_gives_the_path_of_every_part():
    value = {"a": [1, Settings(0.1, "x")], "p": Point(1, 2), "m": Mine(), "o": Color.RED}
    note = value_note({**value, "s": Slotted()})
    assert note["type"] == "dict"
    assert note["leaves"] == {
        "['a'][0]": "1",
        "['a'][1].alpha": "0.1",
        "['a'][1].password": HIDDEN,
        "['p'].x": "1",
        "['p'].y": "2",
        "['m'].depth": "3",
        "['o']": "test_texts.Color.RED",
        "['s'].data": "7",
    }


def test_arrays_and_frames_are_told_apart_by_their_content():
    array, frame = np.arange(6.0), pd.DataFrame({"x": [1, 2], "y": ["a", "b"]})
    other, edited = array.copy(), frame.copy()
    other[5], edited.loc[1, "x"] = 7, 9
    for one, two in ((array, other), (frame, edited), (frame.x, edited.x), (frame, frame.T)):
        assert value_note(one)["leaves"] != value_note(two)["leaves"]
    assert value_note(array)["leaves"][""].startswith("array float64 (6,): 0.0, 1.0, 2.0")
    assert value_note(frame)["leaves"]["['x']"].startswith("int64 2: 1, 2")


def test_a_large_array_is_not_hashed():
    leaves = value_note(np.zeros(2_000_000, "u1"))["leaves"]
    assert "content" not in leaves[""]


def test_more_than_fits_is_said_to_be_more():
    note = value_note(list(range(1000)))
    assert note["truncated"] and len(note["leaves"]) == MAX_LEAVES
    assert "truncated" not in value_note(list(range(10)))


def test_names_that_are_no_text_are_written_all_the_same():
    value = Slotted()
    holder = functools.partial(len, **{"\ud800": value})
    assert value_note(holder)["leaves"] == {"['\\ud800'].data": "7"}
