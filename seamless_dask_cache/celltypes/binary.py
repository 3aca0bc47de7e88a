"""binary: a numpy array as a .npy buffer.

A 0-d array is read as a numpy scalar, except for byte strings, which stay 0-d arrays (source:
seamless-core 0.1.4, mixed/io/from_stream.py). Bytes that already are a .npy buffer are taken as
they are; other bytes become a 0-d byte string.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seamless_dask_cache.celltypes import NPY_MAGIC
from seamless_dask_cache.celltypes._errors import wrong_buffer, wrong_value
from seamless_dask_cache.celltypes.npy import copy_of, npy_frames, read_npy
from seamless_dask_cache.checksum import BytesLike


def serialize(value: Any, celltype: str = "binary") -> bytes:
    """Write an array, or anything that `numpy.array` makes an array of, as .npy.

    Raises
    ------
    CellTypeError
        For objects, masked arrays, ragged lists, and types that .npy can't tell.
    """
    if isinstance(value, bytes) and value.startswith(NPY_MAGIC):
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise wrong_value(value, celltype, "a .npy buffer has no mask")
    try:
        return b"".join(npy_frames(np.asarray(value)))
    except (TypeError, ValueError, OverflowError) as exc:
        raise wrong_value(value, celltype, exc) from None


def deserialize(buffer: BytesLike, celltype: str = "binary") -> Any:
    """Read a .npy buffer into a new, writable array (or a numpy scalar if it is 0-d).

    Raises
    ------
    CellTypeError
        When the buffer is not a whole .npy buffer without objects.
    """
    # A copy of the bytes, not of the array: that would leave the padding of structures open, and
    # the array would serialize to another checksum.
    return scalar_if_0d(view_binary(copy_of(buffer), celltype))


def view_binary(buffer: BytesLike, celltype: str = "binary") -> np.ndarray[Any, Any]:
    """Read a .npy buffer as a view of it, which is writable if the buffer is.

    Raises
    ------
    CellTypeError
        As `deserialize` does.
    """
    try:
        return read_npy(buffer)
    except (TypeError, ValueError) as exc:
        raise wrong_buffer(buffer, celltype, exc) from None


def scalar_if_0d(array: np.ndarray[Any, Any]) -> Any:
    """Return what the published reader gives for an array: a numpy scalar for most 0-d arrays."""
    if array.ndim or array.dtype.kind == "S":
        return array
    scalar = array[()]
    # A scalar is always native, and has no trailing NUL characters: these stay arrays.
    return scalar if scalar.dtype == array.dtype else array
