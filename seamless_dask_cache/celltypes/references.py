"""checksum: a checksum, or lists and dicts of checksums, as plain JSON.

A buffer that holds nothing but 64 hex digits is read too, as seamless-core 0.1.4 does.
"""

from __future__ import annotations

import re
from typing import Any

from seamless_dask_cache.celltypes import plain
from seamless_dask_cache.celltypes._errors import wrong_buffer, wrong_value
from seamless_dask_cache.checksum import BytesLike, checksum_hex

_BARE = re.compile(rb"\s*([0-9a-fA-F]{64})\s*")


def serialize(value: Any, celltype: str = "checksum") -> bytes:
    """Write a checksum, or lists and dicts of checksums; hex digits become lower case.

    Raises
    ------
    CellTypeError
        When something in the value is not a checksum.
    """
    try:
        return plain.serialize(_validated(value), celltype)
    except (TypeError, ValueError, RecursionError) as exc:
        raise wrong_value(value, celltype, exc) from None


def deserialize(buffer: BytesLike, celltype: str = "checksum") -> Any:
    """Read a checksum (str of 64 hex digits), or lists and dicts of them.

    Raises
    ------
    CellTypeError
        When the buffer holds anything else.
    """
    bare = _BARE.fullmatch(buffer)
    if bare:
        return bare[1].decode().lower()
    value = plain.deserialize(buffer, celltype)
    try:
        return _validated(value)
    except (TypeError, ValueError, RecursionError) as exc:
        raise wrong_buffer(buffer, celltype, exc) from None


def _validated(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _validated(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_validated(item) for item in value]
    return checksum_hex(value)
