"""Results: what comes back is indistinguishable from what went in."""

import dataclasses
import datetime
import decimal
import enum
import fractions
import math
import mmap
import pickle
import subprocess
import sys
import textwrap
import threading
import uuid
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seamless_dask_cache.celltypes import serialize
from seamless_dask_cache.checksum import Checksum
from seamless_dask_cache.errors import CellTypeError
from seamless_dask_cache.pickling import MAGIC
from seamless_dask_cache.results import dump_result, load_result

Point = namedtuple("Point", "x y")


class Color(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


class Memory:
    """Comes back as a view of the memory that it was made with."""

    def __init__(self, memory):
        self.memory = memory

    def __reduce_ex__(self, protocol):
        return memoryview, (pickle.PickleBuffer(self.memory),)


@dataclasses.dataclass
class Record:
    name: str
    data: np.ndarray


def roundtrip(value, **options):
    return load_result(dump_result(value).tobytes(), **options)


def mapped(buffer):
    private = mmap.mmap(-1, len(buffer))
    private[:] = buffer
    return private


def assert_same(left, right):
    """Compare by exact type, recursively, with everything that code could observe."""
    assert type(left) is type(right)
    if isinstance(left, np.ma.MaskedArray):
        assert_same(np.asarray(left.data), np.asarray(right.data))
        assert (left.mask is np.ma.nomask) == (right.mask is np.ma.nomask)
        assert np.array_equal(left.mask, right.mask) and left.hardmask == right.hardmask
        assert_same(left._fill_value, right._fill_value)
    elif isinstance(left, np.ndarray):
        _assert_same_array(left, right)
    elif isinstance(left, dict):
        assert list(left) == list(right)
        for (k, v), (l, w) in zip(left.items(), right.items(), strict=True):  # noqa: E741
            assert_same(k, l)
            assert_same(v, w)
    elif isinstance(left, list | tuple | deque):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    elif isinstance(left, float):
        assert math.copysign(1, left) == math.copysign(1, right)
        assert left == right or (left != left and right != right)
    elif isinstance(left, complex) and not isinstance(left, np.generic):
        assert_same((left.real, left.imag), (right.real, right.imag))
    elif isinstance(left, np.generic):
        assert left.dtype == right.dtype and left.tobytes() == right.tobytes()
    else:
        assert left == right


def _assert_same_array(left, right):
    assert left.dtype == right.dtype and repr(left.dtype) == repr(right.dtype)
    assert left.dtype.metadata == right.dtype.metadata
    assert left.shape == right.shape
    if left.dtype.hasobject:
        assert_same(left.tolist(), right.tolist())
    else:
        assert left.tobytes() == right.tobytes()
    assert left.flags.writeable == right.flags.writeable
    if right.flags.forc:
        assert left.flags.c_contiguous == right.flags.c_contiguous
        assert left.flags.f_contiguous == right.flags.f_contiguous
    elif left.size:  # the gaps of a slice are not kept
        assert _order(left) == _order(right)


def _order(array):
    """Which axes are broadcast or reversed, and the order of the others in memory."""
    axes = [a for a in range(array.ndim) if array.shape[a] > 1]
    signs = [int(np.sign(array.strides[a])) for a in axes]
    nonzero = [a for a in axes if array.strides[a]]
    return signs, sorted(nonzero, key=lambda a: -abs(array.strides[a]))


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**64), 2**65),
    st.floats(),
    st.text(),
    st.text(st.characters(categories=["Cs", "L"])),
    st.binary(),
    st.complex_numbers(),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.dates(),
    st.datetimes(),
    st.timedeltas(),
    st.uuids(),
    st.sampled_from([Color.RED, Text("x"), ..., int, Point]),
)
dtypes = st.one_of(hnp.scalar_dtypes(), hnp.array_dtypes(), hnp.nested_dtypes())


@st.composite
def arrays(draw):
    """Arrays of every type and layout: 0-d, empty, strided, reversed, transposed, broadcast."""
    dtype = draw(dtypes)
    if draw(st.integers(0, 9)) == 0:
        dtype = np.dtype(dtype, metadata={"unit": "m"})
    array = draw(
        hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    )
    array = array.transpose(draw(st.permutations(range(array.ndim))))
    if array.ndim:
        steps = st.sampled_from([1, 1, 1, 2, -1])
        array = array[tuple(slice(None, None, draw(steps)) for _ in range(array.ndim))]
    if draw(st.booleans()):
        array = np.broadcast_to(array, (draw(st.integers(1, 3)), *array.shape))
    if draw(st.booleans()):
        array = array.view()
        array.flags.writeable = False
    return array


values = st.recursive(
    scalars | arrays(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text() | st.integers() | st.tuples(st.text()), inner, max_size=4),
        st.dictionaries(st.text(), inner, max_size=4).map(OrderedDict),
        st.lists(inner, max_size=3).map(deque),
    ),
    max_leaves=8,
)
hashables = st.none() | st.booleans() | st.integers() | st.text() | st.binary()


@given(values)
def test_any_nested_value_comes_back_the_same(value):
    assert_same(roundtrip(value), value)


@given(values)
def test_any_nested_value_comes_back_the_same_from_a_memory_map(value):
    assert_same(load_result(memoryview(mapped(dump_result(value).tobytes()))), value)


@given(arrays())
def test_any_array_comes_back_the_same(array):
    assert_same(roundtrip(array), array)
    assert_same(roundtrip([array])[0], array)


@given(st.sets(hashables) | st.frozensets(hashables))
def test_sets_come_back_the_same(value):
    assert_same(sorted(map(repr, roundtrip(value))), sorted(map(repr, value)))
    assert type(roundtrip(value)) is type(value)


@pytest.mark.parametrize(
    ("value", "format"),
    [
        (None, "plain"),
        (0, "plain"),
        (2**64 - 1, "plain"),
        (2**64, "pickle"),
        (-(2**63) - 1, "pickle"),
        (-0.0, "plain"),
        (math.nan, "pickle"),
        ([math.inf], "pickle"),
        ("\ud800", "pickle"),
        ("é", "plain"),
        ({"a": [1, {"b": None}], "c": {}}, "plain"),
        ({"b": 1, "a": 2}, "pickle"),
        ({1: 2}, "pickle"),
        ((1, 2), "pickle"),
        ([(1,)], "pickle"),
        (Color.RED, "pickle"),
        ([Text("x")], "pickle"),
        ({Text("x"): 1}, "pickle"),
        (OrderedDict(a=1), "pickle"),
        (list(range(900)), "plain"),
        (list(range(2000)), "pickle"),
        ([[0] * 400] * 3, "pickle"),
        (b"x", "pickle"),
        (np.arange(3), "binary"),
        (np.array(1.5), "binary"),
        (np.asfortranarray(np.ones((2, 3))), "binary"),
        (np.ones((2, 3, 4)).transpose(1, 0, 2), "pickle"),
        (np.arange(9)[::2], "pickle"),
        (np.broadcast_to(1.0, 5), "pickle"),
        (np.zeros(2, np.dtype("f8", metadata={"a": 1})), "pickle"),
        (np.zeros(2, np.dtype([("x", "i1"), ("y", "f8")], align=True)), "binary"),
        (np.zeros(2, np.dtype([("x", "i1")], metadata={"a": 1})), "pickle"),
        (np.array([None]), "pickle"),
        (np.array(["x"], dtype=np.dtypes.StringDType()), "pickle"),
        (np.float64(1), "pickle"),
        (np.ma.array([1, 2]), "pickle"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_the_simplest_exact_format_is_chosen(value, format):
    result = dump_result(value)
    assert result.format == format
    assert_same(load_result(result.tobytes()), value)


def test_deep_nesting_survives():
    value = []
    for _ in range(300):
        value = [value]
    assert roundtrip(value) == value


def test_shared_and_cyclic_references_survive():
    shared, cyclic, array = [1], [1], np.arange(3)
    cyclic.append(cyclic)
    for value in ([shared, shared], {"a": shared, "b": {"c": shared}}, [[], [{}]]):
        back = roundtrip(value)
        assert back == value
    one, two = roundtrip([shared, shared])
    assert one is two
    one, two, three, four = roundtrip([shared, shared, array, array])
    assert one is two and three is four
    back = roundtrip(cyclic)
    assert back[1] is back and type(back) is list
    loop = {}
    loop["self"] = loop
    assert roundtrip(loop)["self"]["self"]["self"] is not None
    objects = np.array([1, None], dtype=object)
    objects[1] = objects
    assert roundtrip(objects)[1][1][0] == 1


@pytest.mark.parametrize(
    "array",
    [
        np.ma.array([1, 2]),
        np.ma.array([1, 2], mask=[False, False]),
        np.ma.array([[1.0, 2], [3, 4]], mask=[[True, False], [False, True]], fill_value=7).T,
        np.ma.array([1, 2], mask=[True, False], hard_mask=True),
        np.ma.array([(1, 2.0)], dtype=[("a", int), ("b", float)], mask=[(True, False)]),
        np.array([[1, "x"], [None, 2]], dtype=object, order="F"),
        np.rec.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
        np.broadcast_to(np.array(258, ">i2"), ()),
        np.zeros((0, 3)),
        np.zeros((3, 0), order="F"),
        np.zeros(3, "U0"),
        np.zeros(3, "V0"),
        np.lib.stride_tricks.sliding_window_view(np.arange(5), 2),
        np.broadcast_to(np.arange(3), (2, 3))[:, ::-1],
    ],
    ids=lambda array: f"{type(array).__name__}-{array.dtype}-{array.shape}",
)
def test_unusual_arrays_come_back_the_same(array):
    assert_same(roundtrip(array), array)
    assert_same(roundtrip({"x": (array, 1)})["x"][0], array)


def test_object_arrays_keep_their_write_protection():
    array = np.array([[1], "x"], dtype=object)
    array.flags.writeable = False
    assert_same(roundtrip(array), array)


def test_the_masked_constant_stays_the_only_one():
    assert roundtrip(np.ma.masked) is np.ma.masked
    assert roundtrip([np.ma.masked])[0] is np.ma.masked


def test_a_broadcast_array_takes_no_more_room_than_before():
    array = np.broadcast_to(np.float64(3), (10_000, 10_000))
    assert dump_result(array).nbytes < 1000
    assert roundtrip(array).strides == (0, 0)


FRAMES = {
    "numbers": pd.DataFrame({"a": [1, 2], "b": [1.5, None]}),
    "text": pd.DataFrame({"s": ["x", None, "é"]}),
    "categories": pd.DataFrame({"c": pd.Categorical(["b", "a", None], ["b", "a"], ordered=True)}),
    "times": pd.DataFrame(
        {"t": pd.date_range("2020", periods=3, tz="Europe/Paris"), "d": pd.to_timedelta([1, 2, 3])}
    ),
    "nullable": pd.DataFrame({"i": pd.array([1, None], "Int64"), "b": pd.array([True, None])}),
    "arrow": pd.DataFrame({"i": pd.array([1, None], "int64[pyarrow]")}),
    "indexed": pd.DataFrame(
        {"a": range(4)}, pd.MultiIndex.from_product([["x", "y"], [1, 2]], names=["l", None])
    ),
    "mixed": pd.DataFrame({"o": [1, "x", (2,)], "f": np.arange(3.0)}, index=list("abc")),
    "large": pd.DataFrame(np.arange(10_000.0).reshape(1000, 10)),
    "empty": pd.DataFrame(),
    "columns": pd.DataFrame({("a", 1): [1], ("b", 2): [2]}),
    "period": pd.DataFrame({"p": pd.period_range("2020", periods=2, freq="M")}),
    "intervals": pd.DataFrame({"i": pd.interval_range(0, 3)}),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_come_back_the_same_with_attrs_and_flags(name):
    frame = FRAMES[name].copy()
    frame.attrs["source"] = {"file": "x"}
    back = roundtrip(frame)
    pd.testing.assert_frame_equal(back, frame, check_exact=True, check_freq=True)
    assert back.attrs == frame.attrs and back.flags == frame.flags
    assert [type(block.values) for block in back._mgr.blocks] == [
        type(block.values) for block in frame._mgr.blocks
    ]
    for column in frame.columns:
        series = frame[column]
        pd.testing.assert_series_equal(roundtrip(series), series, check_exact=True)
    pd.testing.assert_index_equal(roundtrip(frame.index), frame.index, exact=True)


@pytest.mark.parametrize("name", FRAMES)
def test_loaded_frames_can_be_written_to(name):
    back = roundtrip(FRAMES[name])
    if back.columns.nlevels == 1:
        back["new"] = 1
        assert (back["new"] == 1).all()
    wanted = list(back.iloc[::-1, 0])
    back.iloc[:, 0] = back.iloc[::-1, 0].to_numpy()
    pd.testing.assert_series_equal(pd.Series(list(back.iloc[:, 0])), pd.Series(wanted))


def test_arrow_tables_come_back_the_same():
    table = pa.table(
        {"i": range(5000), "s": [f"x{i}" for i in range(5000)], "l": [[i] for i in range(5000)]},
        metadata={"k": "v"},
    )
    for value in (table, table.slice(10, 100), table.to_batches()[0], table["s"], pa.scalar(1.5)):
        back = roundtrip(value)
        assert type(back) is type(value) and back.equals(value)
    assert roundtrip(table).schema.equals(table.schema, check_metadata=True)


@pytest.mark.parametrize(
    "value",
    [
        decimal.Decimal("1.10"),
        fractions.Fraction(1, 3),
        datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc, fold=1),
        uuid.UUID(int=5),
        Point(1, [2]),
        Path("x"),
        Counter("hello"),
        defaultdict(list, {"a": [1]}),
        range(1, 10, 2),
        slice(1, None),
        bytearray(b"x" * 5000),
        b"x" * 5000,
        1j,
        ...,
        int,
        math.sin,
        ValueError("x", 1).args,
        datetime.timedelta(days=1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_the_standard_library_come_back_the_same(value):
    back = roundtrip(value)
    assert type(back) is type(value) and back == value and repr(back) == repr(value)


def test_data_classes_come_back_with_their_arrays():
    back = roundtrip(Record("x", np.arange(1000)))
    assert type(back) is Record and back.name == "x"
    assert_same(back.data, np.arange(1000))


def test_lambdas_come_back():
    assert roundtrip(lambda y: y + 1)(2) == 3


def test_classes_that_cannot_be_imported_are_refused():
    """Their instances would come back as instances of a twin of the class."""

    class Local:
        x = 5

    class Colour(enum.Enum):
        RED = 1

    for value in (Local, Local(), [Local()], Colour.RED, {"k": (Colour.RED,)}):
        with pytest.raises(CellTypeError, match="cannot be imported"):
            dump_result(value)


def test_a_sentinel_is_refused():
    """A bare object() is compared with `is`; no copy of it is the same."""
    for value in (object(), [1, object()]):
        with pytest.raises(CellTypeError, match="not the same one"):
            dump_result(value)


def test_what_main_defines_is_refused(tmp_path):
    code = """
        import pathlib, sys
        from seamless_dask_cache.errors import CellTypeError
        from seamless_dask_cache.results import dump_result
        class Thing:
            pass
        try:
            dump_result([Thing()])
        except CellTypeError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "Thing cannot be imported" in done.stdout


@pytest.mark.parametrize("value", [threading.Lock(), [threading.Lock()], (x for x in "a")])
def test_what_cannot_be_pickled_is_refused(value):
    with pytest.raises(CellTypeError, match="pickle"):
        dump_result(value)


def test_pickles_can_be_forbidden():
    with pytest.raises(CellTypeError, match="pickle"):
        dump_result((1,), allow_pickle=False)
    with pytest.raises(CellTypeError, match="pickle"):
        roundtrip((1,), allow_pickle=False)
    for value in (1, np.arange(3)):
        assert_same(load_result(dump_result(value).tobytes(), allow_pickle=False), value)


def test_arrays_of_objects_in_npy_files_are_not_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(CellTypeError):
        load_result((tmp_path / "x.npy").read_bytes())


VALUES = [np.arange(5000.0), [np.arange(5000.0), bytearray(5000)], Record("x", np.ones((50, 50)).T)]


def _some_array(value):
    while not isinstance(value, np.ndarray):
        value = value[0] if isinstance(value, list) else value.data
    return value


@pytest.mark.parametrize("value", VALUES)
def test_loaded_arrays_are_writable_and_independent(value):
    buffer = dump_result(value).tobytes()
    for source in (buffer, bytearray(buffer), memoryview(buffer), memoryview(bytearray(buffer))):
        first, second = _some_array(load_result(source)), _some_array(load_result(source))
        first[...] = -99
        assert not (second == -99).any()
        assert not (_some_array(load_result(source)) == -99).any()
        assert bytes(source) == buffer


@pytest.mark.parametrize("value", VALUES)
def test_a_private_memory_map_is_not_copied_and_outlives_its_view(value, tmp_path):
    path = tmp_path / "result"
    path.write_bytes(dump_result(value).tobytes())
    with path.open("rb") as file:
        private = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    array = _some_array(load_result(private))
    memory = np.frombuffer(private, np.uint8)
    assert np.shares_memory(array, memory)
    array[...] = -99
    del private, memory
    assert (array == -99).all()
    assert not (_some_array(load_result(path.read_bytes())) == -99).any()


def test_a_read_only_memory_map_is_copied(tmp_path):
    path = tmp_path / "result"
    path.write_bytes(dump_result(np.arange(5000)).tobytes())
    with path.open("rb") as file:
        array = load_result(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    array[0] = 1
    assert array[0] == 1
    assert load_result(path.read_bytes())[0] == 0


@pytest.mark.parametrize("value", [np.zeros((500, 500)), np.zeros((500, 500), order="F")])
def test_large_arrays_are_not_copied_when_dumped(value):
    for result in (dump_result(value), dump_result([value])):
        last = np.frombuffer(result.frames[-1], np.uint8)
        assert np.shares_memory(last, value)


def test_frames_of_a_pickle_are_aligned():
    result = dump_result([np.arange(1000.0), np.arange(999, dtype="i1"), np.arange(1000.0)])
    assert result.tobytes().startswith(MAGIC)
    for array in load_result(result.tobytes()) + load_result(mapped(result.tobytes())):
        if array.nbytes >= 1024:
            assert array.ctypes.data % 64 == 0


@pytest.mark.parametrize("value", [1, np.arange(10), [np.arange(1000), (1,)]])
def test_a_result_knows_its_size_and_checksum(value):
    result = dump_result(value)
    assert result.nbytes == len(result.tobytes())
    assert result.checksum == Checksum.of(result.tobytes()).hex()
    assert result.tobytes() == b"".join(result.frames)


def test_plain_and_binary_results_are_those_of_the_cell_types():
    for value in (5, "x", {"a": [1.5, None]}, True):
        assert dump_result(value).tobytes() == serialize(value, "plain")
    assert dump_result(np.arange(5)).tobytes() == serialize(np.arange(5), "binary")


def test_mixed_buffers_of_other_programs_are_read():
    value = load_result(serialize({"a": np.arange(3), "b": 1}, "mixed"))
    assert_same(value, {"a": np.arange(3), "b": 1})


def test_read_only_memory_stays_read_only():
    buffer = dump_result(Memory(b"x" * 5000)).tobytes()
    assert load_result(buffer).readonly and load_result(mapped(buffer)).readonly
    buffer = dump_result(Memory(bytearray(5000))).tobytes()
    assert not load_result(buffer).readonly and not load_result(mapped(buffer)).readonly


def test_structures_keep_even_their_padding():
    dtype = np.dtype([("x", "i1"), ("y", "i8")], align=True)
    array = np.frombuffer(bytearray(range(160)), dtype)
    for _ in range(20):
        assert roundtrip(array).tobytes() == array.tobytes()


TRUNCATED = [
    {"a": [1]},
    np.arange(500),
    [np.arange(500), np.arange(500.0)],
    pa.py_buffer(b"x" * 5000),
]


@pytest.mark.parametrize("value", TRUNCATED)
def test_truncated_results_are_refused(value):
    buffer = dump_result(value).tobytes()
    for length in range(0, len(buffer) - 1, max(1, len(buffer) // 50)):
        with pytest.raises(CellTypeError):
            load_result(buffer[:length])


@pytest.mark.parametrize("buffer", [b"", MAGIC, MAGIC + b"\x02" + bytes(20), b"\xff", b"nope"])
def test_what_is_no_result_is_refused(buffer):
    with pytest.raises(CellTypeError):
        load_result(buffer)
