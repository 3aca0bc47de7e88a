"""Expressions: parts of values, by path, as another cell type."""

from __future__ import annotations

import asyncio
import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seamless_dask_cache import (
    Buffer,
    CacheMissError,
    CellTypeError,
    Checksum,
    ConversionError,
    Expression,
    ExpressionError,
    convert,
    get_buffer_cache,
    serialize,
)

POINT = np.dtype([("x", "<f8"), ("name", "U3"), ("where", [("row", "i4")])])
POINTS = np.array([(1.5, "ab", (7,)), (2.5, "c", (8,))], POINT)
MIXED = {"a": [1, {"b": np.arange(6.0).reshape(2, 3)}], "points": POINTS, "": None}


@pytest.mark.parametrize(
    ("value", "celltype", "path", "target", "expected"),
    [
        ({"a": [1, {"b": "x"}]}, "plain", ["a", 1, "b"], None, "x"),
        ({"a": [1, {"b": "x"}]}, "plain", [], None, {"a": [1, {"b": "x"}]}),
        ([1, 2, 3], "plain", [-1], "float", 3.0),
        ([1, 2, 3], "plain", [slice(None, None, -1)], None, [3, 2, 1]),
        ([1, 2, 3], "plain", [slice(1, None), 0], "str", "2"),
        ({"0": "zero"}, "plain", ["0"], "text", "zero"),
        (MIXED, "mixed", ["a", 0], "int", 1),
        (MIXED, "mixed", [""], "plain", None),
        (MIXED, "mixed", ["a", 1, "b", 1, 2], "float", 5.0),
        (MIXED, "mixed", ["a", 1, "b"], "binary", MIXED["a"][1]["b"]),
        (MIXED, "mixed", ["points", 1, "x"], "float", 2.5),
        (MIXED, "mixed", ["points", "where", "row"], "binary", np.array([7, 8], "i4")),
        (np.arange(6), "binary", [2], "int", 2),
        (np.arange(6).reshape(2, 3), "binary", [1, slice(0, 2)], None, np.array([3, 4])),
        (POINTS, "binary", ["name"], None, np.array(["ab", "c"], "U3")),
        (POINTS, "binary", [0, "x"], "float", 1.5),
        (POINTS[0], "binary", ["where", "row"], "int", 7),
        ("[1, 2]", "text", [], "plain", [1, 2]),
        (5, "int", [], "str", "5"),
    ],
)
def test_a_part_of_a_value(value, celltype, path, target, expected):
    buffer = Buffer(value, celltype)
    found = Expression(buffer.checksum, path, celltype, target or "").evaluate()
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype and found.tolist() == expected.tolist()
    else:
        assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "celltype", "path", "named"),
    [
        ({"a": 1}, "plain", ["b"], r"ends before \['b'\]: the value is of type dict"),
        ({"a": [1]}, "plain", ["a", 5], r"ends before \[5\]: the value\['a'\] is of type list"),
        ({"a": 1}, "plain", ["a", "b"], r"the value\['a'\] is of type int \(it has no parts"),
        ({"a": "text"}, "plain", ["a", 0], "no parts"),
        ({"a": 1}, "plain", [0], "keys, which are str"),
        ([1], "plain", ["0"], "indices, which are int"),
        (np.zeros(2), "binary", [2], "array of float64"),
        (np.zeros(2), "binary", ["x"], "array of float64"),
        (np.float64(1), "binary", [0], "no parts"),
        ([1], "plain", [slice(None, None, 0)], "slice step"),
    ],
)
def test_a_path_that_leads_nowhere(value, celltype, path, named):
    buffer = Buffer(value, celltype)
    with pytest.raises(ExpressionError, match=named):
        Expression(buffer.checksum, path, celltype).evaluate()


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        (("abc", [], "plain"), ValueError, "'abc'"),
        (("", "a", "plain"), TypeError, "'a'"),
        (("", [1.5], "plain"), TypeError, "1.5"),
        (("", [True], "plain"), TypeError, "True"),
        (("", [slice("a")], "plain"), TypeError, "'a'"),
        (("", [], "json"), CellTypeError, "'json'"),
        (("", [], "plain", "json"), CellTypeError, "'json'"),
        (("", ["a"], "text"), ExpressionError, "'text'"),
        (("", [], "python", "int"), ConversionError, "no conversion"),
    ],
)
def test_expressions_that_make_no_sense(arguments, error, named):
    checksum = arguments[0] or Checksum.of(b"x")
    with pytest.raises(error, match=named):
        Expression(checksum, *arguments[1:])


def test_what_cannot_be_converted():
    buffer = Buffer({"a": "x"}, "plain")
    with pytest.raises(ConversionError, match="'plain' to 'int'"):
        Expression(buffer.checksum, ["a"], "plain", "int").evaluate()


def test_a_value_is_new_at_each_call():
    buffer = Buffer({"a": [1]}, "plain")
    expression = Expression(buffer.checksum, ["a"], "plain")
    expression.evaluate().append(2)
    assert expression.evaluate() == [1]
    array = Buffer(np.zeros(3), "binary")
    Expression(array.checksum, [slice(1, 2)], "binary").evaluate()[:] = 5
    assert array.get_value("binary").tolist() == [0, 0, 0]


def test_a_result_is_remembered_without_its_source():
    buffer = Buffer({"a": ["remembered"]}, "plain")
    expression = Expression(buffer.checksum, ["a", 0], "plain", "text")
    result = expression.get_checksum()
    other = Expression(buffer.checksum, ["a"], "plain")
    del buffer
    gc.collect()
    assert expression.evaluate() == "remembered"
    with pytest.raises(CacheMissError):
        other.evaluate()
    get_buffer_cache().clear()
    gc.collect()
    assert expression.get_checksum() == result == Checksum.of(b"remembered\n")
    with pytest.raises(CacheMissError):
        expression.evaluate()


def test_an_expression_in_an_event_loop():
    buffer = Buffer([1, 2], "plain")

    async def both():
        expression = Expression(buffer.checksum, [0], "plain")
        return await expression.evaluation(), expression.evaluate()

    assert asyncio.run(both()) == (1, 1)


def test_equal_expressions_are_one():
    checksum = Checksum.of(b"x")
    one = Expression(checksum, [slice(1, 2), "a"], "plain")
    assert one == Expression(checksum.hex(), (slice(1, 2), "a"), "plain", "plain")
    assert len({one, Expression(checksum, [slice(1, 2), "a"], "plain")}) == 1
    assert one != Expression(checksum, [slice(1, 3), "a"], "plain")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(json_values, st.data())
def test_a_path_is_what_python_does(value, data):
    """Any path into any value gives what the same steps give in Python."""
    here, path = value, []
    while isinstance(here, dict | list) and here and data.draw(st.booleans()):
        if isinstance(here, dict):
            step = data.draw(st.sampled_from(sorted(here)))
        else:
            step = data.draw(st.integers(-len(here), len(here) - 1) | st.slices(len(here)))
        here = here[step]
        path.append(step)
    buffer = Buffer(value, "plain")
    expression = Expression(buffer.checksum, path, "plain")
    assert expression.evaluate() == here
    assert expression.get_buffer().content == serialize(here, "plain")
    assert expression.get_buffer() == convert(serialize(here, "plain"), "plain", "plain")
