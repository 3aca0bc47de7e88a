"""Properties of arrays, frames and moments: equal checksums mean equal type and content."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from hypothesis.extra import pandas as pdst

from seamless_dask_cache.identity import value_checksum

_DTYPES = st.one_of(
    npst.integer_dtypes(endianness="?"),
    npst.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    npst.complex_number_dtypes(sizes=(64,)),
    npst.boolean_dtypes(),
    npst.datetime64_dtypes(endianness="?"),
    npst.timedelta64_dtypes(endianness="?"),
    npst.unicode_string_dtypes(max_len=2),
    npst.byte_string_dtypes(max_len=2),
)
_ARRAYS = npst.arrays(
    _DTYPES | npst.array_dtypes(_DTYPES, max_size=2), npst.array_shapes(max_dims=3, max_side=3)
)


def _content(array):
    return array.dtype.descr, array.dtype.str, array.shape, array.tobytes()


@settings(max_examples=100, deadline=None)
@given(_ARRAYS, _ARRAYS)
def test_arrays_are_dtype_shape_and_bytes(one, other):
    same = value_checksum(one) == value_checksum(other)
    assert same == (_content(one) == _content(other))
    assert value_checksum(one.copy()) == value_checksum(one)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_view_is_its_copy(data):
    array = data.draw(_ARRAYS)
    view = array[data.draw(npst.basic_indices(array.shape, allow_newaxis=True))]
    if isinstance(view, np.ndarray):
        assert value_checksum(view) == value_checksum(view.copy(order="K"))
    else:
        assert value_checksum(view) == value_checksum(pickle.loads(pickle.dumps(view)))


@settings(max_examples=100, deadline=None)
@given(
    _ARRAYS.filter(lambda array: "U" not in array.dtype.str + repr(array.dtype.descr)),
    st.randoms(use_true_random=False),
)
def test_a_change_of_one_element_is_seen(array, random):
    # Not every number is a character.
    before = value_checksum(array)
    changed = array.copy()
    raw = changed.reshape(-1).view("u1")
    if raw.size:
        raw[random.randrange(raw.size)] ^= 1
        assert value_checksum(changed) != before


_FRAMES = pdst.data_frames(
    [
        pdst.column("a", dtype="int64"),
        pdst.column("b", dtype="float64"),
        pdst.column("c", elements=st.text(max_size=3) | st.none(), dtype=object),
        pdst.column("d", dtype="datetime64[ns]"),
    ],
    index=pdst.range_indexes(max_size=5),
)


@settings(max_examples=50, deadline=None)
@given(_FRAMES)
def test_frames_are_their_content(frame):
    before = value_checksum(frame)
    frame.a.sum(), frame.T, frame.index.is_unique, frame.describe
    assert value_checksum(frame) == before
    assert value_checksum(frame.copy()) == before
    assert value_checksum(pickle.loads(pickle.dumps(frame))) == before
    assert value_checksum(pd.concat([frame[["a"]], frame[["b", "c", "d"]]], axis=1)) == before
    assert value_checksum(frame[["b", "a", "c", "d"]]) != before
    assert value_checksum(frame.rename(columns={"a": "e"})) != before
    assert value_checksum(frame.astype({"a": "int32"})) != before
    if len(frame):
        assert value_checksum(frame.assign(a=frame.a ^ 1)) != before
        assert value_checksum(frame.iloc[:-1]) != before


@settings(max_examples=100, deadline=None)
@given(st.lists(st.none() | st.sampled_from("abc"), max_size=12), st.integers(0, 12))
def test_dictionaries_of_chunks_do_not_depend_on_chunks(values, cut):
    whole = pa.array(values, pa.string()).dictionary_encode()
    parts = pa.chunked_array([whole.slice(0, cut), whole.slice(cut)], type=whole.type)
    assert value_checksum(parts) == value_checksum(pa.chunked_array([whole]))


@settings(max_examples=50, deadline=None)
@given(npst.arrays("i4", (3, 4), elements=st.integers(0, 2)))
def test_sparse_matrices_are_their_parts(dense):
    for form in ("csr", "csc", "coo", "dia", "dok", "lil", "bsr"):
        matrix = sp.csr_array(dense).asformat(form)
        before = value_checksum(matrix)
        matrix.sum(), matrix.toarray(), matrix.tocsr().has_canonical_format
        assert value_checksum(matrix) == before
        assert value_checksum(matrix.copy()) == before
        assert value_checksum(pickle.loads(pickle.dumps(matrix))) == before
        assert value_checksum(matrix.astype("i8")) != before


@settings(max_examples=100, deadline=None)
@given(*[st.datetimes(timezones=st.none() | st.timezones(no_cache=True), allow_imaginary=True)] * 2)
def test_moments_are_clock_fold_and_zone(one, other):
    def exact(moment):
        zone = moment.tzinfo
        return moment.replace(tzinfo=None), moment.fold, None if zone is None else zone.key

    assert (value_checksum(one) == value_checksum(other)) == (exact(one) == exact(other))
    assert value_checksum(one.replace(fold=1 - one.fold)) != value_checksum(one)
    if one.tzinfo is not None:
        assert value_checksum(one.astimezone().replace(tzinfo=None)) != value_checksum(one)
