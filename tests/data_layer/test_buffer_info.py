"""Facts on buffers, and of which cell types they say that a buffer can be."""

from __future__ import annotations

import mmap
import tempfile
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seamless_dask_cache import CELLTYPES, Buffer, BufferInfo, CellTypeError, Checksum, serialize
from seamless_dask_cache.buffer_info import NO, UNKNOWN, YES, Possibility

CHECKSUM = Checksum.of(b"x")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=8,
)  # fmt: skip
arrays = hnp.arrays(
    st.sampled_from(["<f8", ">i2", "S3", "U2", "c16", "M8[s]", "?"]),
    hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3),
)
buffers = st.one_of(
    st.binary(max_size=30),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
    json_values.map(lambda value: serialize(value, "plain")),
    arrays.map(lambda array: serialize(array, "binary")),
    arrays.map(lambda array: serialize({"a": array, "b": [1]}, "mixed")),
    st.sampled_from(["-1", "1e5", "1" * 400, "1" * 1200, '"12"', '" 1 "', "NaN", "a: 1", "x = 1"])
    .map(str.encode),
)  # fmt: skip


def is_readable(content, celltype):
    try:
        Buffer(content).get_value(celltype)
    except CellTypeError:
        return False
    return True


@given(buffers)
@example(b"")
@example(b"\x93NUMPY\x01\x00")
@example(b"\x94SEAMLESS-MIXED")
@example(b"[NaN]")
@example(b'"\\ud800"')
@example(b"null\n")
@example(serialize(np.zeros(3), "binary")[:-1])
def test_what_is_said_of_a_buffer_is_true(content):
    """No cell type is said to be possible that cannot be read, nor the other way round."""
    info = BufferInfo.from_buffer(content)
    assert info.length == len(content) and info.checksum == Checksum.of(content)
    for celltype in CELLTYPES:
        said = info.can_be(celltype)
        if said is not UNKNOWN:
            assert is_readable(content, celltype) == (said is YES), celltype


@given(buffers, st.data())
def test_fewer_facts_say_less_and_nothing_else(content, data):
    """What is said without some facts is said with them, too."""
    info = BufferInfo.from_buffer(content)
    facts = info.as_dict()
    kept = data.draw(st.sets(st.sampled_from(sorted(facts))))
    fewer = BufferInfo.from_dict(info.checksum, {name: facts[name] for name in kept})
    for celltype in CELLTYPES:
        said = fewer.can_be(celltype)
        if said is not UNKNOWN:
            assert is_readable(content, celltype) == (said is YES), (kept, celltype)


@pytest.mark.parametrize(
    ("value", "celltype", "facts"),
    [
        ({"a": 1}, "plain", {"json_type": "dict", "is_json_numeric_scalar": False}),
        ([1, 2], "plain", {"json_type": "list", "is_json_numeric_array": True}),
        ([[1.5], [2.5]], "plain", {"is_json_numeric_array": True}),
        ([[1], [2, 3]], "plain", {"is_json_numeric_array": False}),
        ([1, 2.5], "plain", {"is_json_numeric_array": False}),
        ([True], "plain", {"is_json_numeric_array": False}),
        ([], "plain", {"is_json_numeric_array": False}),
        ([10**30], "plain", {"is_json_numeric_array": False}),
        (5, "int", {"json_type": "int", "is_json_numeric_scalar": True}),
        (5.5, "float", {"json_type": "float", "is_json_numeric_scalar": True}),
        (True, "bool", {"json_type": "bool", "is_json_numeric_scalar": True}),
        ("12", "str", {"json_type": "str", "is_json_numeric_scalar": True}),
        ("x", "str", {"json_type": "str", "is_json_numeric_scalar": False}),
        (None, "plain", {"json_type": "null", "is_json_numeric_scalar": False}),
        ("not json", "text", {"is_utf8": True, "is_json": False, "json_type": None}),
        (b"\xff", "bytes", {"is_utf8": False, "is_json": False, "is_numpy": False}),
        (np.zeros((2, 3)), "binary", {"is_numpy": True, "dtype": "float64", "shape": (2, 3)}),
        (np.float32(1), "binary", {"dtype": "float32", "shape": ()}),
        ([np.zeros(1)], "mixed", {"is_seamless_mixed": True, "is_numpy": False}),
    ],
)
def test_what_is_found_out(value, celltype, facts):
    info = BufferInfo.from_buffer(Buffer(value, celltype))
    assert {name: getattr(info, name) for name in facts} == facts
    assert info.can_be(celltype) is YES


@pytest.mark.parametrize(
    ("facts", "answers"),
    [
        ({}, {"bytes": YES, "text": UNKNOWN, "plain": UNKNOWN, "binary": UNKNOWN, "int": UNKNOWN}),
        ({"is_utf8": False}, {"text": NO, "yaml": NO, "python": NO, "plain": NO, "str": NO}),
        ({"is_utf8": True}, {"text": YES, "python": UNKNOWN, "binary": NO, "mixed": UNKNOWN}),
        ({"json_type": "dict"}, {"plain": YES, "mixed": YES, "yaml": YES, "str": NO, "int": NO}),
        ({"json_type": "str"}, {"str": YES, "bool": YES, "int": UNKNOWN, "binary": NO}),
        ({"is_json": True}, {"text": YES, "plain": YES, "str": UNKNOWN, "binary": NO}),
        ({"dtype": "int8"}, {"binary": YES, "mixed": YES, "text": NO, "plain": NO, "checksum": NO}),
        ({"is_numpy": False}, {"binary": NO, "mixed": UNKNOWN}),
        ({"is_seamless_mixed": True}, {"mixed": YES, "binary": NO, "bytes": YES}),
    ],
)
def test_what_some_facts_say(facts, answers):
    info = BufferInfo(CHECKSUM, **facts)
    assert {celltype: info.can_be(celltype) for celltype in answers} == answers


@pytest.mark.parametrize(
    ("facts", "error", "named"),
    [
        ({"length": -1}, ValueError, "-1"),
        ({"length": "3"}, TypeError, "'3'"),
        ({"length": True}, TypeError, "True"),
        ({"is_utf8": 1}, TypeError, "is_utf8"),
        ({"json_type": "set"}, ValueError, "'set'"),
        ({"shape": [1, -2]}, ValueError, "-2"),
        ({"shape": 3}, TypeError, "3"),
        ({"shape": [None]}, TypeError, "None"),
        ({"dtype": 5}, TypeError, "5"),
        ({"is_json": True, "is_utf8": False}, ValueError, "is_json contradicts is_utf8"),
        ({"is_numpy": True, "is_json": True}, ValueError, "contradicts"),
        ({"json_type": "list", "is_json": False}, ValueError, "json_type contradicts is_json"),
        ({"shape": (2,), "is_numpy": False}, ValueError, "shape contradicts is_numpy"),
        ({"is_json_numeric_array": True, "json_type": "dict"}, ValueError, "'dict'"),
        ({"is_json_numeric_scalar": True, "json_type": "null"}, ValueError, "'null'"),
        ({"str2text": "abc"}, ValueError, "'abc'"),
    ],
)
def test_facts_that_cannot_be_are_refused(facts, error, named):
    with pytest.raises(error, match=named):
        BufferInfo(CHECKSUM, **facts)


def test_facts_go_to_a_database_and_back():
    info = BufferInfo.from_buffer(serialize(np.zeros((2, 3)), "binary"))
    again = BufferInfo.from_dict(info.checksum, info.as_dict())
    assert again == info and info.as_dict()["shape"] == [2, 3]
    with pytest.raises(ValueError, match="'colour'"):
        BufferInfo.from_dict(CHECKSUM, {"colour": "red"})


def test_facts_are_added_up():
    first = BufferInfo(CHECKSUM, length=3)
    both = first.updated(BufferInfo(CHECKSUM, is_utf8=True, str2text=CHECKSUM.hex()))
    assert (both.length, both.is_utf8, both.str2text) == (3, True, CHECKSUM)
    with pytest.raises(ValueError, match="none on"):
        first.updated(BufferInfo(Checksum.of(b"y"), length=3))
    with pytest.raises(ValueError, match="contradicts"):
        both.updated(BufferInfo(CHECKSUM, is_numpy=True))


def test_only_yes_is_true():
    assert [bool(answer) for answer in (YES, NO, UNKNOWN)] == [True, False, False]
    assert [str(answer) for answer in Possibility] == ["yes", "no", "unknown"] == list(Possibility)


def test_an_unknown_cell_type_is_refused():
    with pytest.raises(CellTypeError, match="'json'"):
        BufferInfo(CHECKSUM).can_be("json")


def test_an_array_is_not_copied_to_look_at_it():
    """A buffer whose data is not there: only its header may be read."""
    header = serialize(np.zeros(0, "u1"), "binary").replace(b"(0,)", b"(3000000000,)")
    header = header.replace(b"         \n", b"\n", 1)
    assert len(header) == 128
    with tempfile.TemporaryFile() as file:
        file.write(header)
        file.truncate(len(header) + 3_000_000_000)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            view = memoryview(mapped)
            buffer = Buffer.verified(view, CHECKSUM)
            tracemalloc.start()
            info = BufferInfo.from_buffer(buffer)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 1_000_000
            assert info.shape == (3_000_000_000,)
            assert info.can_be("binary") is YES
            view.release()
            del buffer
