"""Turning the buffer of one cell type into that of another, without making more of it than needed.

Which conversions there are stands in `conversion_rules`. What each of them does is what
seamless-core 0.1.4 says of it (checksum/conversion.py):

- A buffer whose checksum cannot change is returned as it is, read or not.
- What is text becomes JSON as it is where it is JSON, and a JSON string where it is not; but the
  cell types str and mixed take any text as a string. A JSON string becomes the text that it holds.
- Bytes that are a .npy buffer, or one of mixed, are binary, or mixed, as they are; others become a
  0-d byte string, or, as mixed, a string where they are text. Byte strings become their bytes.
- Numbers convert as Python's `int`, `float` and `bool` do it, from buffers of up to
  `MOST_OF_A_NUMBER` bytes; lists, dicts and null are neither numbers nor text.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from seamless_dask_cache.celltypes import (
    MIXED_MAGIC,
    MOST_OF_A_NUMBER,
    NPY_MAGIC,
    deserialize,
    serialize,
)
from seamless_dask_cache.celltypes.conversion_rules import (
    NUMBERS,
    TRIVIAL,
    Pair,
    Step,
    steps,
    why_forbidden,
)
from seamless_dask_cache.checksum import BytesLike
from seamless_dask_cache.errors import CellTypeError, ConversionError

_SHOWN = 60


def check_allowed(source: str, target: str) -> tuple[Step, ...]:
    """Give the steps of a conversion.

    Raises
    ------
    ConversionError
        It is forbidden.
    CellTypeError
        One of the cell types is unknown.
    """
    found = steps(source, target)
    if found is None:
        why = why_forbidden(source, target)
        raise ConversionError(f"no conversion from {source!r} to {target!r}: {why}")
    return found


def convert_content(content: BytesLike, source: str, target: str) -> BytesLike:
    """Convert the content of a buffer; see `seamless_dask_cache.convert`."""
    current = content
    for step in check_allowed(source, target):
        try:
            current = _perform(current, step)
        except (CellTypeError, ValueError, TypeError, OverflowError, RecursionError) as error:
            start = bytes(memoryview(content)[:_SHOWN])
            raise ConversionError(
                f"cannot convert from {source!r} to {target!r}: {error}; the buffer of"
                f" {len(content)} bytes starts with {start!r}"
            ) from None
    return current


def _perform(content: BytesLike, step: Step) -> BytesLike:
    if step.flags == TRIVIAL:
        return content
    if not step.flags.changes:
        deserialize(content, step.target)
        return content
    return _CONVERTERS[step.source, step.target](content)


def _by_value(source: str, target: str, content: BytesLike) -> bytes:
    return serialize(deserialize(content, source), target)


def _plain_to_text(content: BytesLike) -> BytesLike:
    value = deserialize(content, "plain")
    return serialize(value, "text") if isinstance(value, str) else content


def _text_to_plain(content: BytesLike) -> BytesLike:
    try:
        deserialize(content, "plain")
    except CellTypeError:
        return _by_value("text", "str", content)
    return content


def _yaml_to_plain(content: BytesLike) -> bytes:
    from seamless_dask_cache.celltypes.yaml_values import load_yaml

    return serialize(load_yaml(str(content, "utf-8")), "plain")


def _ipython_to_python(content: BytesLike) -> BytesLike:
    from seamless_dask_cache.celltypes.ipython import is_python, to_python

    code = deserialize(content, "ipython")
    return content if is_python(code) else serialize(to_python(code), "python")


def _is(content: BytesLike, celltype: str, magic: bytes) -> bool:
    """Tell whether a buffer says that it is of a cell type, and is."""
    if memoryview(content)[: len(magic)] != magic:
        return False
    try:
        deserialize(content, celltype)
    except CellTypeError:
        return False
    return True


def _is_npy(content: BytesLike) -> bool:
    return _is(content, "binary", NPY_MAGIC)


def _is_stream(content: BytesLike) -> bool:
    return _is(content, "mixed", MIXED_MAGIC)


def _bytes_to_binary(content: BytesLike) -> BytesLike:
    import numpy as np

    return content if _is_npy(content) else serialize(np.array(bytes(content)), "binary")


def _bytes_to_mixed(content: BytesLike) -> BytesLike:
    if _is_npy(content) or _is_stream(content):
        return content
    try:
        return _by_value("text", "str", content)
    except CellTypeError:
        return _bytes_to_binary(content)


def _binary_to_bytes(content: BytesLike) -> BytesLike:
    import numpy as np

    value = deserialize(content, "binary")
    is_byte_string = isinstance(value, np.ndarray) and value.dtype.kind == "S"
    return value.tobytes() if is_byte_string else content


def _mixed_to_bytes(content: BytesLike) -> BytesLike:
    return _binary_to_bytes(content) if _is_npy(content) else content


def _scalar_of_plain(content: BytesLike) -> Any:
    value = deserialize(content, "plain")
    if value is None or isinstance(value, list | dict):
        raise ValueError("null, lists and dicts are neither numbers nor text")
    return value


def _scalar_of_binary(content: BytesLike) -> Any:
    import numpy as np

    array = np.asarray(deserialize(content, "binary"))
    if array.size != 1 or array.dtype.kind not in "biufcSU":
        raise ValueError(f"an array of {array.dtype} and shape {array.shape} is not one number")
    return array.reshape(-1)[0].item()


def _scalar(source: str, content: BytesLike) -> Any:
    if source == "binary" or (source == "mixed" and _is_npy(content)):
        return _scalar_of_binary(content)
    return _scalar_of_plain(content) if source != "str" else deserialize(content, "str")


def _to_number(source: str, target: str, content: BytesLike) -> bytes:
    if len(content) > MOST_OF_A_NUMBER:
        raise ValueError(f"a number has up to {MOST_OF_A_NUMBER} bytes")
    return serialize(_scalar(source, content), target)


def _mixed_to_str(content: BytesLike) -> BytesLike:
    if _is_npy(content):
        return convert_content(content, "binary", "str")
    return _plain_to_str(content)


def _plain_to_str(content: BytesLike) -> bytes:
    return serialize(_scalar_of_plain(content), "str")


_CONVERTERS: dict[Pair, Callable[[BytesLike], BytesLike]] = {
    ("plain", "text"): _plain_to_text,
    ("str", "text"): partial(_by_value, "str", "text"),
    ("text", "plain"): _text_to_plain,
    ("text", "str"): partial(_by_value, "text", "str"),
    ("yaml", "plain"): _yaml_to_plain,
    ("ipython", "python"): _ipython_to_python,
    ("bytes", "binary"): _bytes_to_binary,
    ("bytes", "mixed"): _bytes_to_mixed,
    ("binary", "bytes"): _binary_to_bytes,
    ("mixed", "bytes"): _mixed_to_bytes,
    ("plain", "str"): _plain_to_str,
    ("mixed", "str"): _mixed_to_str,
    **{(number, "str"): partial(_by_value, number, "str") for number in NUMBERS},
    **{
        (source, number): partial(_to_number, source, number)
        for number in NUMBERS
        for source in ("binary", "mixed", "plain", "str", *NUMBERS)
        if source != number
    },
}
