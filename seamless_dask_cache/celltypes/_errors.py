"""How a value or a buffer that does not fit its cell type is reported."""

from __future__ import annotations

from seamless_dask_cache.checksum import BytesLike
from seamless_dask_cache.errors import CellTypeError

_SHOWN = 60


def wrong_buffer(buffer: BytesLike, celltype: str, why: object = "") -> CellTypeError:
    """Return the error for a buffer that is not of `celltype`; it shows how the buffer starts."""
    start = bytes(memoryview(buffer)[:_SHOWN])
    dots = "..." if len(buffer) > _SHOWN else ""
    reason = f" ({why})" if str(why) else ""
    return CellTypeError(
        f"not a buffer of cell type {celltype!r}{reason}: {start!r}{dots}, {len(buffer)} bytes"
    )


def wrong_value(value: object, celltype: str, why: object = "") -> CellTypeError:
    """Return the error for a value that can't become a buffer of `celltype`."""
    reason = f": {why}" if str(why) else ""
    kind = type(value).__qualname__
    return CellTypeError(f"a value of type {kind} does not fit cell type {celltype!r}{reason}")
