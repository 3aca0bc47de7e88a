"""Looking at a buffer to see what it can be read as."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from seamless_dask_cache.celltypes import MIXED_MAGIC, MOST_OF_A_NUMBER, NPY_MAGIC, deserialize
from seamless_dask_cache.checksum import BytesLike
from seamless_dask_cache.errors import CellTypeError

Facts = dict[str, Any]

_JSON_TYPES: dict[type, str] = {
    type(None): "null",
    **{kind: kind.__name__ for kind in (bool, int, float, str, list, dict)},
}


def facts_of(content: BytesLike) -> Facts:
    """Tell what a buffer is: the facts of `BufferInfo`, without its checksum.

    What can be read is what `deserialize` reads.
    """
    view = memoryview(content).cast("B")
    facts: Facts = {"length": len(view), "is_numpy": False, "is_seamless_mixed": False}
    if view[: len(NPY_MAGIC)] == NPY_MAGIC:
        return facts | {"is_utf8": False, "is_json": False} | _numpy_facts(view)
    if view[: len(MIXED_MAGIC)] == MIXED_MAGIC:
        readable = _readable(view, "mixed")
        return facts | {"is_utf8": False, "is_json": False, "is_seamless_mixed": readable}
    return facts | _text_facts(view)


def _numpy_facts(view: memoryview) -> Facts:
    from seamless_dask_cache.celltypes.npy import read_npy

    try:
        array = read_npy(view)  # no copy of the data
    except (TypeError, ValueError):
        return {}
    return {"is_numpy": True, "dtype": str(array.dtype), "shape": array.shape}


def _text_facts(view: memoryview) -> Facts:
    try:
        str(view, "utf-8")
    except UnicodeDecodeError:
        return {"is_utf8": False, "is_json": False}
    try:
        value = deserialize(view, "plain")
    except CellTypeError:
        return {"is_utf8": True, "is_json": False}
    return {
        "is_utf8": True,
        "is_json": True,
        "json_type": _JSON_TYPES[type(value)],
        "is_json_numeric_array": _is_numeric_array(value),
        "is_json_numeric_scalar": len(view) <= MOST_OF_A_NUMBER and _is_numeric_scalar(value),
    }


def _readable(view: memoryview, celltype: str) -> bool:
    try:
        deserialize(view, celltype)
    except CellTypeError:
        return False
    return True


def _is_numeric_scalar(value: Any) -> bool:
    if value is None or isinstance(value, list | dict):
        return False
    try:
        int(value), float(value)
    except (ValueError, OverflowError):
        return False
    return True


def _is_numeric_array(value: Any) -> bool:
    """Tell whether numpy makes an array of numbers of a list without choosing their type."""
    if not isinstance(value, list) or not value:
        return False
    numbers = list(_flat(value))
    kinds = {type(number) for number in numbers}
    if len(kinds) != 1 or not kinds <= {int, float}:
        return False
    import numpy as np

    try:
        return bool(np.array(value).dtype.kind in "iuf")
    except (ValueError, OverflowError, RecursionError):  # lists of different lengths
        return False


def _flat(value: list[Any]) -> Iterator[Any]:
    waiting = [iter(value)]  # nests may be deeper than Python's stack
    while waiting:
        for item in waiting[-1]:
            if isinstance(item, list):
                waiting.append(iter(item))
                break
            yield item
        else:
            waiting.pop()
