"""Values that differ in type or content differ in checksum; equal ones agree in every process."""

from __future__ import annotations

# ruff: noqa: E501 - tables of programs and values
import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import os
import pathlib
import pickle
import re
import struct
import subprocess
import sys
import threading
import uuid
import zoneinfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity import Identifier, register_identity, value_checksum


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Bits(enum.Flag):
    A = 1
    B = 2
    C = 4


@dataclasses.dataclass
class Point:
    x: int
    y: object = None


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a = a
        self.b = b


Pair = collections.namedtuple("Pair", "a b")


def _nan(payload: int) -> float:
    return struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000000 | payload))[0]


def _frame(**kwargs):
    return pd.DataFrame({"a": [1, 2], "b": [3, 4]}, **kwargs)


def _with_attrs():
    frame = _frame()
    frame.attrs["unit"] = "m"
    return frame


_STRUCTURED = np.dtype([("a", "i4"), ("b", "f8")])
_ZONE = zoneinfo.ZoneInfo("Europe/Berlin")

DISTINCT = [
    None, True, False, 0, 1, -1, 2**63, 2**64, -(2**63) - 1, 1.0, 0.0, -0.0, float("inf"),
    _nan(0), _nan(1), 1j, complex(0.0, -0.0), complex(0.0, 0.0), "", "1", "a", "\udc80", b"", b"a", bytearray(b"a"),
    memoryview(b"a"), (), [], {}, set(), frozenset(), (1,), [1], {1}, frozenset({1}), [1.0], [True],
    [[1], 2], [[1, 2]], [1, [2]], {"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": {"b": 1}},
    collections.OrderedDict(a=1, b=2), collections.Counter("ab"), collections.defaultdict(int),
    collections.defaultdict(list), collections.deque([1]), collections.deque([1], 3),
    list(range(20)), tuple(range(20)), list(map(float, range(20))), [bool(i % 2) for i in range(20)],
    list(map(str, range(20))), [*map(str, range(19)), 19], [2**70, *range(19)], ["ab", "c"] * 10,
    ["a", "bc"] * 10, set(range(20)), frozenset(range(20)), range(3), range(0, 4, 2), slice(1, 2), slice(1, 2, 3),
    ..., NotImplemented, int, float, len, np.sum, np.add,
    datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 1, fold=1),
    datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc), datetime.datetime(2020, 1, 1, tzinfo=_ZONE),
    datetime.time(1), datetime.timedelta(1), datetime.timezone(datetime.timedelta(hours=1)), _ZONE,
    decimal.Decimal("1"), decimal.Decimal("1.0"), fractions.Fraction(1), uuid.UUID(int=1),
    re.compile("a"), re.compile("a", re.I), pathlib.PurePosixPath("a"), pathlib.PosixPath("a"),
    Colour.RED, Colour.BLUE, Bits.A, Bits.A | Bits.B, Bits.A | Bits.C, Point(1), Point(1.0), Point(1, 2), Slotted(1, 2), Slotted(2, 1), Pair(1, 2), (1, 2),
    ValueError("a"), KeyError("a"), Point,
    np.int8(1), np.int16(1), np.int64(1), np.float32(1), np.float64(1), np.bool_(True), np.str_("a"),
    np.datetime64(1, "s"), np.datetime64(1, "ms"), np.timedelta64(1, "s"), np.dtype("i4"), np.dtype(">i4"),
    np.array(1), np.array([1]), np.array([[1]]), np.array([1], "i4"), np.array([1], ">i8"), np.array([1], "u8"),
    np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.arange(6).reshape(3, 2),
    np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2), np.zeros(3), np.zeros(0), np.zeros((0, 2)),
    np.array([1], object), np.array(["1"], object), np.array(["1"]), np.array([b"1"]), np.array([(1, 2.0)], _STRUCTURED),
    np.array([(1, 2.0)], np.dtype([("a", "i4"), ("b", "f8")], align=True)), np.array([(1, 2.0)], _STRUCTURED).view(np.recarray),
    np.array([1], np.dtype("i8", metadata={"a": 1})), np.array(["a"], np.dtypes.StringDType()),
    np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0]), np.ma.array([1, 2]), np.random.default_rng(1), np.random.default_rng(2),
    np.random.RandomState(1), np.random.SeedSequence(1), np.random.PCG64(1),
    pd.Timestamp("2020"), pd.Timestamp("2020", tz="UTC"), pd.Timestamp("2020").as_unit("ns"), pd.Timedelta(1), pd.NaT, pd.NA, pd.Period("2020"), pd.Period("2020", "M"),
    pd.Interval(1, 2), pd.Interval(1, 2, "left"), pd.offsets.Day(1), pd.offsets.Day(2), pd.offsets.BDay(1),
    _frame(), _frame(index=[1, 0]), _frame(index=pd.Index([0, 1])), _frame()[["b", "a"]], _frame().rename(columns={"a": "c"}),
    _frame().astype("i4"), _frame().astype("Int64"), _frame().astype("category"), _with_attrs(), _frame().set_flags(allows_duplicate_labels=False),
    pd.Series([1, 2]), pd.Series([1, 2], name="a"), pd.Series([1.0, 2.0]), pd.Series(["a", None]), pd.Series(["a", None], dtype=object),
    pd.Series(["a"], dtype="string[python]"), pd.Series(["a"], dtype="string[pyarrow]"), pd.Series(["a"], dtype="category"),
    pd.Series(["a"], dtype=pd.CategoricalDtype(["a", "b"])), pd.Series(["a"], dtype=pd.CategoricalDtype(["a"], ordered=True)),
    pd.Series([1, None], dtype="Int64"), pd.Series([1, 2], dtype="Int64"), pd.Series([True, None], dtype="boolean"), pd.Series([1], dtype=pd.ArrowDtype(pa.int64())),
    pd.Series(pd.to_datetime(["2020"])), pd.Series(pd.to_datetime(["2020"], utc=True)), pd.Series(pd.to_timedelta([1])),
    pd.Index([1, 2]), pd.Index([1, 2], name="a"), pd.RangeIndex(3), pd.MultiIndex.from_tuples([(1, 2), (3, 4)]),
    pd.MultiIndex.from_tuples([(1, 2), (3, 4)], names=["a", "b"]), pd.interval_range(0, 2), pd.period_range("2020", periods=2, freq="M"),
    pd.date_range("2020", periods=2), pd.DatetimeIndex(["2020-01-01", "2020-01-02"]), pd.arrays.SparseArray([0, 1]),
    pd.CategoricalDtype(["a"]), pd.StringDtype("python"), pd.Int64Dtype(),
    pa.table({"a": [1, 2]}), pa.table({"a": [1, None]}), pa.table({"a": [1, 0]}), pa.table({"b": [1, 2]}), pa.table({"a": ["x", "yz"]}), pa.table({"a": ["xy", "z"]}),
    pa.array([1]), pa.chunked_array([[1]]), pa.array([[1], [2, 3]]), pa.array([[1, 2], [3]]), pa.array([[1, 2], None]), pa.array([[1, 2], []]),
    pa.array([{"a": 1}]), pa.array([{"a": None}]), pa.array([None], pa.struct([("a", pa.int64())])), pa.array(["a"]).dictionary_encode(), pa.array([True, None]), pa.array([True, False]),
    pa.int64(), pa.int32(), pa.schema([("a", pa.int64())]), pa.schema([("a", pa.int64())], {"k": "v"}), pa.scalar(1), pa.scalar(1.0), pa.array([decimal.Decimal("1.5")]),
]  # fmt: skip


def _checksums() -> list[str]:
    return [value_checksum(value) for value in DISTINCT]


def test_no_two_different_values_share_a_checksum():
    seen: dict[str, object] = {}
    for value, checksum in zip(DISTINCT, _checksums(), strict=True):
        assert checksum not in seen, f"{value!r} and {seen[checksum]!r}"
        seen[checksum] = value


def test_checksums_agree_between_interpreters_with_different_hash_seeds():
    program = "import json, test_value_encoding as t; print(json.dumps(t._checksums()))"
    folder = str(pathlib.Path(__file__).parent)
    reports = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", program],
                env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": folder},
                capture_output=True,
                check=True,
            ).stdout
        )
        for seed in ("1", "271828")
    ]
    assert reports[0] == reports[1]


def _pickles_exactly(value: object) -> bool:
    # Transposed arrays come back in C order; views and modules do not pickle.
    transposed = isinstance(value, np.ndarray) and not value.flags.forc
    # Whether a mask was given is lost too.
    unmasked = isinstance(value, np.ma.MaskedArray) and value.mask is np.ma.nomask
    return not (transposed or unmasked or isinstance(value, memoryview))


@pytest.mark.parametrize(
    "value", [*filter(_pickles_exactly, DISTINCT)], ids=lambda v: type(v).__name__
)
def test_a_pickled_copy_has_the_same_checksum(value):
    assert value_checksum(pickle.loads(pickle.dumps(value, protocol=5))) == value_checksum(value)


_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.complex_numbers()
    | st.decimals()
    | st.dates()
    | st.timedeltas()
)
_HASHABLE = st.none() | st.booleans() | st.integers() | st.text()
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.tuples(inner, inner)
        | st.dictionaries(_HASHABLE, inner)
        | st.sets(_HASHABLE)
    ),
    max_leaves=25,
)


def _exact(value):
    """Describe type and content in a form whose equality is what checksums promise."""
    if isinstance(value, (list, tuple)):
        return type(value).__name__, tuple(map(_exact, value))
    if isinstance(value, dict):
        return "dict", tuple((_exact(k), _exact(v)) for k, v in value.items())
    if isinstance(value, set):
        return "set", frozenset(map(_exact, value))
    if isinstance(value, float):
        return "float", struct.pack("<d", value)
    if isinstance(value, complex):
        return "complex", struct.pack("<dd", value.real, value.imag)
    return type(value).__name__, str(value) if isinstance(value, decimal.Decimal) else value


@given(_VALUES, _VALUES)
def test_equal_checksums_mean_equal_type_and_content(one, other):
    assert (value_checksum(one) == value_checksum(other)) == (_exact(one) == _exact(other))


@given(_VALUES)
def test_a_deep_copy_has_the_same_checksum(value):
    assert value_checksum(copy.deepcopy(value)) == value_checksum(value)


@settings(max_examples=50)
@given(st.lists(st.integers(-5, 5) | st.none(), max_size=30), st.integers(0, 30))
def test_arrow_chunks_and_offsets_do_not_matter(values, cut):
    for column in (
        values,
        [None if v is None else str(v) for v in values],
        [None if v is None else [v] * abs(v) for v in values],
        [None if v is None else {"a": v, "b": str(v)} for v in values],
        [None if v is None else v > 0 for v in values],
    ):
        whole = pa.chunked_array([pa.array(column)])
        kind = whole.type
        padded = pa.array([None, *column, None], type=kind).slice(1, len(column))
        parts = pa.chunked_array([padded.slice(0, cut), padded.slice(cut)], type=kind)
        assert value_checksum(parts) == value_checksum(whole)


def test_shared_and_repeated_parts_are_the_same():
    part = [1.5] * 100
    assert value_checksum([part, part]) == value_checksum([list(part), list(part)])


def test_cycles_end():
    one: list[object] = [1]
    one.append(one)
    two: dict[str, object] = {"a": one}
    two["b"] = two
    assert value_checksum(one) != value_checksum([1, [1]])
    assert value_checksum(two) == value_checksum(copy.deepcopy(two))


def test_a_lattice_of_shared_lists_is_not_exponential():
    value: list[object] = [0]
    for _ in range(100):
        value = [value, value]
    assert len(value_checksum(value)) == 64


def test_attribute_and_set_order_do_not_matter():
    one, two = Point(1, 2), Point.__new__(Point)
    two.y, two.x = 2, 1
    assert value_checksum(one) == value_checksum(two)
    names = [f"name {i}" for i in range(50)]
    assert value_checksum(set(names)) == value_checksum(set(reversed(names)))


def test_a_view_equals_its_copy():
    array = np.arange(20.0)
    assert value_checksum(array[::2]) == value_checksum(array[::2].copy())
    assert value_checksum(array[::-1]) == value_checksum(array[::-1].copy())


def test_padding_bytes_do_not_count():
    dtype = np.dtype({"names": ["a"], "formats": ["i1"], "offsets": [4], "itemsize": 8})
    one, two = np.zeros(2, dtype), np.zeros(2, dtype)
    two.view("u1")[0] = 7
    assert value_checksum(one) == value_checksum(two)


def test_a_memory_map_counts_by_content(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(5))
    one = np.load(path, mmap_mode="r")
    other = np.load(path, mmap_mode="c")
    assert value_checksum(one) == value_checksum(other)


def test_locks_are_constants():
    assert value_checksum([threading.Lock()]) == value_checksum([threading.Lock()])


@pytest.mark.parametrize(
    "make",
    [lambda: iter([1]), lambda: (i for i in ()), lambda: zip([1]), lambda: threading.local()],
)
def test_uncertain_values_are_refused_with_a_path(make):
    with pytest.raises(RefusedError) as caught:
        value_checksum({"a": [1, make()]})
    assert caught.value.path.startswith("['a'][1]")


def test_a_registered_identity_is_used():
    class Handle:
        def __init__(self, name):
            self.name = name
            self.handle = iter(())

    register_identity(Handle, lambda handle: handle.name)
    assert value_checksum(Handle("a")) == value_checksum(Handle("a"))
    assert value_checksum(Handle("a")) != value_checksum(Handle("b"))


def test_a_class_can_declare_its_identity():
    class Model:
        def __init__(self, n):
            self.n, self.lock = n, iter(())

        def __seamless_identity__(self):
            return self.n

    assert value_checksum([Model(1)]) == value_checksum([Model(1)]) != value_checksum([Model(2)])


def test_graph_nodes_are_refused_without_a_hook():
    from dask._task_spec import TaskRef

    with pytest.raises(RefusedError):
        value_checksum([TaskRef("x")])
    identifier = Identifier()
    identifier.graph_node_hook = lambda node: node.key
    assert identifier.value([TaskRef("x")]) != identifier.value([TaskRef("y")])


def test_has_code_tells_whether_the_users_code_is_inside():
    identifier = Identifier()
    assert identifier.describe([lambda: 1]).has_code
    assert not identifier.describe(datetime.datetime(2020, 1, 1)).has_code


def test_importing_identity_is_light():
    program = (
        "import sys, seamless_dask_cache.identity;"
        "print([m for m in ('numpy', 'pandas', 'pyarrow', 'distributed', 'aiohttp') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert answer.stdout.strip() == b"[]"


def test_text_that_looks_like_an_encoding_does_not_collide():
    assert value_checksum(["a", "bsc"]) != value_checksum(["asb", "c"])
    assert value_checksum((b"a", b"bbc")) != value_checksum((b"abb", b"c"))


def test_the_same_bytes_in_another_memory_order_differ():
    fortran = np.asfortranarray(np.arange(6).reshape(2, 3))
    plain = fortran.ravel(order="K").reshape(2, 3)
    assert plain.tobytes() == fortran.tobytes(order="A")
    assert value_checksum(plain) != value_checksum(fortran)


def test_a_part_of_a_cycle_is_not_taken_from_the_memo_of_the_whole():
    one: list[object] = [1]
    two: list[object] = [one]
    one.append(two)
    identifier = Identifier()
    identifier.value(one)
    assert identifier.value([two]) == Identifier().value([two])


def test_densely_tied_objects_are_refused_in_time():
    knots: list[list[object]] = [[] for _ in range(30)]
    for knot in knots:
        knot.extend(knots)
    with pytest.raises(RefusedError):
        value_checksum(knots)
