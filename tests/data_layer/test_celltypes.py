"""The 13 codecs: recorded vectors of the published library, and what it loses."""

import base64
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seamless_dask_cache.celltypes import CELLTYPES, deserialize, serialize
from seamless_dask_cache.checksum import Checksum
from seamless_dask_cache.errors import CellTypeError

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "celltypes.json").read_text())
HEX = "ab" * 32


def _value(case):
    return eval(case["expr"], {"np": np})


def _name(case):
    return f"{case['celltype']}-{case['expr'][:40]}"


def assert_same(left, right):
    assert type(left) is type(right)
    if isinstance(left, np.ndarray):
        assert left.dtype == right.dtype and left.shape == right.shape
        assert left.dtype.isalignedstruct == right.dtype.isalignedstruct
        # The padding of a structure is nobody's value.
        same = repr(left.tolist()) == repr(right.tolist())
        assert same if left.dtype.names else left.tobytes() == right.tobytes()
    elif isinstance(left, dict):
        assert list(left) == list(right)
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, list):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    else:
        assert left == right or (left != left and right != right)


@pytest.mark.parametrize("case", VECTORS["exact"], ids=_name)
def test_buffers_are_byte_for_byte_those_of_the_published_library(case):
    expected = base64.b64decode(case["buffer_base64"])
    buffer = serialize(_value(case), case["celltype"])
    assert buffer == expected and type(buffer) is bytes
    assert Checksum.of(buffer) == case["checksum"]


@pytest.mark.parametrize("case", [c for c in VECTORS["exact"] if "read_back" in c], ids=_name)
@pytest.mark.parametrize("view", [bytes, bytearray, memoryview])
def test_values_read_back_are_those_of_the_published_library(case, view):
    value = deserialize(view(base64.b64decode(case["buffer_base64"])), case["celltype"])
    expected = case["read_back"]
    if not isinstance(value, np.ndarray | np.generic):
        assert type(value).__name__ == expected["type"] and repr(value) == expected["value"]
        return
    assert type(value).__name__ == expected["type"] and value.dtype == np.dtype(expected["dtype"])
    assert list(value.shape) == expected["shape"] and repr(value.tolist()) == expected["value"]


@pytest.mark.parametrize("case", VECTORS["must_round_trip"], ids=_name)
def test_values_that_the_published_library_loses_survive(case):
    value = _value(case)
    buffer = serialize(value, case["celltype"])
    if "buffer_base64" in case:
        assert buffer == base64.b64decode(case["buffer_base64"])
    assert_same(deserialize(buffer, case["celltype"]), value)


text = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | text | st.integers(-(2**80), 2**80),
    lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    max_leaves=20,
)  # fmt: skip


def _sorted(value):
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


@given(json_values)
def test_any_json_value_survives_as_plain_and_as_mixed(value):
    for celltype in ("plain", "mixed"):
        assert_same(deserialize(serialize(value, celltype), celltype), _sorted(value))


@given(text)
def test_any_text_survives_without_its_trailing_newlines(value):
    assert deserialize(serialize(value, "text"), "text") == value.rstrip("\n")
    assert deserialize(serialize(value, "str"), "str") == value


dtypes = st.one_of(
    hnp.scalar_dtypes(),
    hnp.array_dtypes(),
    hnp.nested_dtypes(),
).filter(lambda dtype: dtype.itemsize and not dtype.hasobject)


@st.composite
def arrays(draw):
    array = draw(hnp.arrays(draw(dtypes), hnp.array_shapes(min_dims=0, min_side=0, max_side=3)))
    return np.asfortranarray(array) if array.ndim and draw(st.booleans()) else array


def _as_read(array):
    is_scalar = array.ndim == 0 and array.dtype.kind != "S" and array[()].dtype == array.dtype
    return array[()] if is_scalar else array


@given(arrays())
def test_any_array_without_objects_survives_as_binary_and_as_mixed(array):
    for celltype in ("binary", "mixed"):
        back = deserialize(serialize(array, celltype), celltype)
        assert back.dtype == array.dtype and back.shape == array.shape
        assert back.tobytes() == array.tobytes()
        assert type(back) is type(_as_read(array))


@given(st.lists(arrays(), max_size=3), arrays(), json_values)
def test_arrays_anywhere_in_a_mixed_value_survive(several, array, plain):
    value = {"z": several, "plain": _sorted(plain), "a": {"deep": [array, [1, {"x": array}]]}}
    assert_same(deserialize(serialize(value, "mixed"), "mixed"), value)


@pytest.mark.parametrize("align", [True, False])
def test_structured_types_keep_their_layout(align):
    dtype = np.dtype([("x", "i1"), ("y", "f8"), ("n", [("a", "i2")]), ("s", "S3")], align=align)
    array = np.zeros(3, dtype)
    array["y"] = [1, 2, 3]
    for celltype in ("binary", "mixed"):
        assert_same(deserialize(serialize(array, celltype), celltype), array)
        assert_same(deserialize(serialize(array[::2], celltype), celltype), array[::2].copy())
    assert_same(deserialize(serialize([array], "mixed"), "mixed"), [array])


def test_arrays_read_are_writable_and_independent():
    buffer = serialize({"a": np.arange(3)}, "mixed")
    first = deserialize(buffer, "mixed")["a"]
    first[0] = 7
    assert deserialize(buffer, "mixed")["a"][0] == 0
    binary = deserialize(serialize(np.arange(3), "binary"), "binary")
    binary[0] = 7


def test_numpy_scalars_inside_a_mixed_value_become_numbers_or_survive():
    value = {"i": np.int8(1), "f": np.float64(2.5), "b": np.bool_(True), "c": np.complex64(1j)}
    value["d"] = np.datetime64("2020-01-01")
    back = deserialize(serialize(value, "mixed"), "mixed")
    assert_same(back, {**value, "i": 1, "f": 2.5, "b": True})
    assert serialize(np.float64(2.5), "mixed") == b"2.5\n"


def test_checksums_become_their_hex_digits():
    checksum = Checksum(HEX)
    for celltype in ("plain", "mixed", "checksum"):
        assert deserialize(serialize([checksum], celltype), celltype) == [HEX]
    assert serialize(checksum, "text") == HEX.encode() + b"\n"
    assert deserialize(HEX.encode(), "checksum") == HEX


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": -math.inf}, (math.nan, None)])
def test_plain_refuses_numbers_that_json_does_not_have(value):
    with pytest.raises(CellTypeError, match="NaN"):
        serialize(value, "plain")


def test_mixed_keeps_numbers_that_json_does_not_have():
    value = [math.nan, math.inf, np.arange(2)]
    assert_same(deserialize(serialize(value, "mixed"), "mixed"), value)


@pytest.mark.parametrize(
    ("value", "celltype"),
    [
        ({1: 2}, "plain"),
        ({1: 2}, "mixed"),
        (b"x", "plain"),
        (object(), "plain"),
        (object(), "mixed"),
        ("\ud800", "plain"),
        ("\ud800", "text"),
        ("\ud800", "bytes"),
        (b"\xff", "text"),
        ("x", "int"),
        (None, "int"),
        (math.inf, "int"),
        (math.nan, "float"),
        (b"\xff", "str"),
        ("abc", "checksum"),
        ([HEX, 1], "checksum"),
        ([object()], "binary"),
        ([[1], [2, 3]], "binary"),
        (np.ma.array([1], mask=[True]), "binary"),
        ([np.ma.array([1], mask=[True])], "mixed"),
        (np.array([object()]), "mixed"),
        ([np.array([object()])], "mixed"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_cell_type(value, celltype):
    with pytest.raises(CellTypeError, match=celltype):
        serialize(value, celltype)


def test_cyclic_values_are_refused():
    value = []
    value.append(value)
    for celltype in ("plain", "mixed", "checksum"):
        with pytest.raises(CellTypeError):
            serialize(value, celltype)


@pytest.mark.parametrize(
    ("buffer", "celltype"),
    [
        (b"not json", "plain"),
        (b"", "plain"),
        (b"NaN", "plain"),
        (b"[NaN, 1234567890123456789]", "plain"),
        (b"\xff\xfe", "plain"),
        (b"\xff\xfe", "text"),
        (b"def f(:\n", "python"),
        (b"a = 1\x00\n", "python"),
        (b"def f(:\n", "ipython"),
        (b"a: [1\n", "yaml"),
        (b"!!python/object:os.system {}\n", "yaml"),
        (b'"x"\n', "int"),
        (b"[]\n", "float"),
        (b"null\n", "bool"),
        (b"{}\n", "str"),
        (b"[1]\n", "int"),
        (b"1e999\n", "int"),
        (b"not npy", "binary"),
        (b"1\n", "binary"),
        (b"\x93NUMPY\x01\x00", "binary"),
        (b"\x93NUMPY\x01\x00\x04\x00(()\n", "binary"),
        (serialize(np.arange(5), "binary")[:-1], "binary"),
        (serialize(np.arange(5), "binary") + b"x", "binary"),
        (b"\xff", "mixed"),
        (serialize([np.arange(5)], "mixed")[:-1], "mixed"),
        (serialize([np.arange(5)], "mixed")[:40], "mixed"),
        (b'"abc"\n', "checksum"),
        (b"42\n", "checksum"),
    ],
)
def test_a_wrong_buffer_is_refused_by_cell_type_and_shown(buffer, celltype):
    with pytest.raises(CellTypeError, match=celltype) as caught:
        deserialize(buffer, celltype)
    assert repr(buffer[:20])[2:-1] in str(caught.value)


@pytest.mark.parametrize(
    "code",
    [
        "%time 1+1",
        "%%bash\nls (",
        "!ls",
        "x = !ls",
        "x = %who_ls",
        "for i in y:\n    %timeit i",
        "f?",
        "?f",
        "x = (5\n % 3)",
    ],
)
def test_ipython_magics_are_valid_ipython(code):
    assert deserialize(serialize(code, "ipython"), "ipython") == code


@pytest.mark.parametrize("celltype", CELLTYPES)
def test_every_cell_type_has_a_codec(celltype):
    value = {"checksum": HEX, "binary": np.arange(2), "bytes": b"1"}.get(celltype, "1")
    assert deserialize(serialize(value, celltype), celltype) is not None


def test_arrays_of_objects_are_never_unpickled():
    import io

    file = io.BytesIO()
    np.save(file, np.array([{}]), allow_pickle=True)
    with pytest.raises(CellTypeError):
        deserialize(file.getvalue(), "binary")


def test_what_was_read_serializes_to_the_same_buffer():
    array = np.frombuffer(bytes(range(32)), np.dtype([("x", "i1"), ("y", "i8")], align=True))
    for celltype in ("binary", "mixed"):
        buffer = serialize(array, celltype)
        assert serialize(deserialize(buffer, celltype), celltype) == buffer


@pytest.mark.parametrize("length", range(70))
def test_headers_of_any_length_are_those_of_numpy_itself(length):
    import io

    file = io.BytesIO()
    array = np.zeros((10, 3), [("x" * (length + 1), "i1")])
    np.save(file, array)
    assert serialize(array, "binary") == file.getvalue()


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_headers_are_those_of_numpy_itself(shape):
    import io

    for dtype in ("f8", "<U3", "S2", "M8[s]", "c16", ">i2", [("a", "i4"), ("b", "f8", (2,))]):
        file = io.BytesIO()
        np.save(file, np.zeros(shape, dtype))
        assert serialize(np.zeros(shape, dtype), "binary") == file.getvalue()
