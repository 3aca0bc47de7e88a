"""str, int, float, bool: one JSON scalar, made by Python's own conversion.

Source: seamless-core 0.1.4, checksum/serialize.py. A bool stays a JSON bool as "str"; reading it
gives "True". Lists, dicts and null, which Python would make a bool or a str of, are no scalars.
"""

from __future__ import annotations

from typing import Any

from seamless_dask_cache.celltypes import plain
from seamless_dask_cache.celltypes._errors import wrong_buffer, wrong_value
from seamless_dask_cache.checksum import BytesLike

_TYPES: dict[str, type[str | int | float | bool]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
}


def serialize(value: Any, celltype: str) -> bytes:
    """Convert a value to the scalar type and write it as JSON.

    Raises
    ------
    CellTypeError
        When Python's conversion fails, and for NaN and infinity.
    """
    try:
        scalar = _convert(value, celltype)
    except (TypeError, ValueError, OverflowError) as exc:
        raise wrong_value(value, celltype, exc) from None
    return plain.serialize(scalar, celltype)


def deserialize(buffer: BytesLike, celltype: str) -> Any:
    """Read a JSON scalar, converting it where its type is another one.

    Raises
    ------
    CellTypeError
        When the buffer is not JSON, holds no scalar, or the conversion fails.
    """
    value = plain.deserialize(buffer, celltype)
    if value is None or isinstance(value, list | dict):
        raise wrong_buffer(buffer, celltype, "null, lists and dicts are neither numbers nor text")
    scalar_type = _TYPES[celltype]
    try:
        return value if isinstance(value, scalar_type) else scalar_type(value)
    except (TypeError, ValueError, OverflowError) as exc:
        raise wrong_buffer(buffer, celltype, exc) from None


def _convert(value: Any, celltype: str) -> str | int | float | bool:
    if isinstance(value, bytes | bytearray):
        value = value.decode()
    if celltype == "str" and isinstance(value, bool):
        return value
    return _TYPES[celltype](value)
