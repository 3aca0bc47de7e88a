"""bytes: the buffer is the value.

Source: seamless-core 0.1.4, checksum/serialize.py: what has ``tobytes`` gives its memory, anything
else the UTF-8 of its text without trailing newlines.
"""

from __future__ import annotations

from typing import Any

from seamless_dask_cache.celltypes._errors import wrong_value
from seamless_dask_cache.checksum import BytesLike


def serialize(value: Any, celltype: str = "bytes") -> bytes:
    """Return the bytes of a value.

    Raises
    ------
    CellTypeError
        For text that UTF-8 can't hold.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if callable(getattr(value, "tobytes", None)):
        return bytes(value.tobytes())
    try:
        return str(value).rstrip("\n").encode()
    except UnicodeError as exc:
        raise wrong_value(value, celltype, exc) from None


def deserialize(buffer: BytesLike, celltype: str = "bytes") -> bytes:
    """Return the buffer as bytes."""
    return bytes(buffer)
