r"""mixed: plain, binary, or plain with arrays inside.

The first two are the JSON and .npy buffers. The third starts with its own magic string (source:
seamless-core 0.1.4, mixed/io; all numbers little-endian)::

    b"\x94SEAMLESS-MIXED"
    uint8 n, n bytes             the word "mixed-plain"
    uint32 n, n bytes            JSON: the form, see `mixed_form`
    b"\x93SEAMLESS"
    uint64 n, uint64 m
    n bytes                      JSON: [offsets, value]
    m bytes                      the arrays in C order, without gaps

In ``value`` each array stands as 0; ``offsets`` are where the arrays start and where the last one
ends. Arrays are numbered in the order of a walk that visits lists by index and dicts by sorted key.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from seamless_dask_cache.celltypes import MIXED_MAGIC as MAGIC
from seamless_dask_cache.celltypes import NPY_MAGIC, binary, plain
from seamless_dask_cache.celltypes._errors import wrong_buffer, wrong_value
from seamless_dask_cache.celltypes.mixed_form import Form, array_layout, form_of
from seamless_dask_cache.checksum import BytesLike, Checksum

_STREAM_MAGIC = b"\x93SEAMLESS"
_STORAGE = b"mixed-plain"

Array = np.ndarray[Any, Any]

_WRONG = (
    *(TypeError, ValueError, LookupError, AttributeError, StopIteration, SyntaxError),
    *(struct.error, OverflowError, MemoryError, RecursionError),
)
"""What reading a stream may raise that somebody made up."""


def serialize(value: Any, celltype: str = "mixed") -> bytes:
    """Write nested lists and dicts with numpy arrays and scalars anywhere inside.

    Tuples are written as lists, bytes as 0-d byte strings, numpy numbers outside arrays as JSON
    numbers; keys must be str.

    Raises
    ------
    CellTypeError
        For anything else.
    """
    try:
        normal = _normalized(value)
        if isinstance(normal, np.ndarray | np.generic):
            return binary.serialize(np.asarray(normal), celltype)
        storage, form = form_of(normal)
        return _plain(normal) if storage == "pure-plain" else _stream(normal, form)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise wrong_value(value, celltype, exc) from None


def deserialize(buffer: BytesLike, celltype: str = "mixed") -> Any:
    """Read a mixed, plain or binary buffer; arrays are new and writable.

    Raises
    ------
    CellTypeError
        When the buffer is neither.
    """
    view = memoryview(buffer).cast("B")
    if view[: len(NPY_MAGIC)] == NPY_MAGIC:
        return binary.deserialize(view, celltype)
    try:
        if view[: len(MAGIC)] == MAGIC:
            return _read_stream(view[len(MAGIC) :])
        return _read_json(view, celltype)
    except _WRONG as exc:
        raise wrong_buffer(buffer, celltype, exc) from None


def _read_json(view: memoryview, celltype: str) -> Any:
    try:
        return json.loads(str(view, "utf-8"))
    except RecursionError:  # orjson reads deeper nests, but neither NaN nor infinity
        return plain.deserialize(view, celltype)


def _normalized(value: Any) -> Any:
    """Return a value of None, bool, int, float, str, list, dict and ndarray only."""
    if isinstance(value, Checksum):
        return value.hex()
    if isinstance(value, dict):
        return {_key(key): _normalized(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_normalized(item) for item in value]
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError("masked arrays have no buffer")
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    return _normalized_scalar(value)


def _normalized_scalar(value: Any) -> Any:
    if isinstance(value, np.floating):
        return float(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return np.array(value)
    if isinstance(value, np.bool_ | np.integer) and not isinstance(value, np.timedelta64):
        return value.item()
    if isinstance(value, np.generic):
        return value  # complex, datetime, void: stays a scalar, in binary
    raise TypeError(f"type {type(value).__qualname__} is neither plain nor binary")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the key {key!r} is not a str")
    return str(key)


def _plain(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=2) + "\n").encode()


def _stream(value: Any, form: Form) -> bytes:
    arrays: list[Array] = []
    skeleton = _take_arrays(value, arrays)
    offsets = [0]
    for array in arrays:
        offsets.append(offsets[-1] + array.nbytes)
    form_json = json.dumps(form).encode()
    value_json = json.dumps([offsets, skeleton]).encode()
    head = [
        MAGIC + bytes([len(_STORAGE)]) + _STORAGE,
        struct.pack("<I", len(form_json)) + form_json,
        _STREAM_MAGIC + struct.pack("<QQ", len(value_json), offsets[-1]) + value_json,
    ]
    return b"".join(head + [array.tobytes() for array in arrays])


def _take_arrays(value: Any, arrays: list[Array]) -> Any:
    """Return the value with a 0 for each array, which goes to `arrays` in the order of the walk."""
    if isinstance(value, np.ndarray | np.generic):
        arrays.append(np.asarray(value))
        return 0
    if isinstance(value, list):
        return [_take_arrays(item, arrays) for item in value]
    if isinstance(value, dict):
        taken = {key: _take_arrays(value[key], arrays) for key in sorted(value)}
        return {key: taken[key] for key in value}
    return value


def _read_stream(view: memoryview) -> Any:
    storage_end = 1 + view[0]
    if view[1:storage_end] != _STORAGE:
        raise ValueError(f"unknown storage {bytes(view[1:storage_end])!r}")
    (form_length,) = struct.unpack_from("<I", view, storage_end)
    form_end = storage_end + 4 + form_length
    form = json.loads(bytes(view[storage_end + 4 : form_end]))
    return _read_content(view[form_end:], form)


def _read_content(view: memoryview, form: Form) -> Any:
    start = len(_STREAM_MAGIC)
    if view[:start] != _STREAM_MAGIC:
        raise ValueError("no stream after the form")
    json_length, data_length = struct.unpack_from("<QQ", view, start)
    json_end = start + 16 + json_length
    offsets, skeleton = json.loads(bytes(view[start + 16 : json_end]))
    data = view[json_end:]
    if len(data) != data_length or offsets[-1] != data_length:
        raise ValueError(f"{data_length} bytes of arrays expected")
    pieces = (data[first:last] for first, last in pairwise(offsets))
    return _put_arrays(skeleton, form, pieces)


def _put_arrays(skeleton: Any, form: Form, pieces: Iterator[memoryview]) -> Any:
    if isinstance(form, str):
        return skeleton
    if form.get("storage") == "pure-binary":
        return _array(form, next(pieces))
    if isinstance(skeleton, list):
        forms = [form["items"]] * len(skeleton) if form["identical"] else form["items"]
        pairs = zip(skeleton, forms, strict=True)
        return [_put_arrays(item, item_form, pieces) for item, item_form in pairs]
    if isinstance(skeleton, dict) and skeleton:
        forms = form["properties"]
        filled = {key: _put_arrays(skeleton[key], forms[key], pieces) for key in sorted(skeleton)}
        return {key: filled[key] for key in skeleton}
    return skeleton


def _array(form: dict[str, Any], piece: memoryview) -> Any:
    shape, dtype = array_layout(form)
    nbytes = math.prod(shape or ()) * dtype.itemsize
    if nbytes != len(piece) or min(shape or (), default=0) < 0:
        raise ValueError(f"an array of {nbytes} bytes in {len(piece)} bytes")
    array: Array = np.empty(shape or (), dtype)
    if array.nbytes:
        array.reshape(-1).view(np.uint8)[:] = np.frombuffer(piece, np.uint8)
    if shape is None:
        return array[()]
    return array
