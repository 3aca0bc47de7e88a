"""The .npy format of numpy arrays, read and written without copying the data.

Source: ``numpy.lib.format`` and NEP 1. A magic string, a version, the length of the header, and a
header that is a Python dict literal, padded with spaces so that the data starts at a multiple of 64
bytes; then the data in C or Fortran order. The header is written here, not by numpy, so that its
bytes depend neither on numpy's version nor on whether numpy wants to warn about a newer format.
"""

from __future__ import annotations

import ast
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from seamless_dask_cache.celltypes import NPY_MAGIC as MAGIC
from seamless_dask_cache.checksum import BytesLike

Array = np.ndarray[Any, Any]

_ALIGNMENT = 64
# numpy leaves room to rewrite the length of the growing axis in place: 21 digits hold any int64.
_GROWTH_DIGITS = 21


def npy_frames(array: Array) -> list[bytes | memoryview]:
    """Return the .npy buffer of an array in two parts: header and data.

    Parameters
    ----------
    array : ndarray, any shape
        Contiguous data (C or Fortran) is not copied: the second part is a view of its memory.

    Raises
    ------
    ValueError
        When the type has objects in it, or can't be told by a .npy header.
    """
    header = _header(array)
    if array.nbytes == 0:
        return [header]
    flat = contiguous(array).reshape(-1, order="F" if _is_fortran(array) else "C")
    return [header, flat.view(np.uint8).data]


def read_npy(buffer: BytesLike) -> Array:
    """Return the array of a .npy buffer as a view of that buffer.

    The array is writable if the buffer is. 0-d arrays stay arrays.

    Raises
    ------
    ValueError
        When the buffer is not a whole .npy file, or holds objects.
    """
    shape, fortran, dtype, offset = _parse_header(buffer)
    if dtype.hasobject:
        raise ValueError("arrays of objects are not read")
    array: Array = np.ndarray(shape, dtype, buffer, offset, order="F" if fortran else "C")
    if offset + array.nbytes != memoryview(buffer).nbytes:
        raise ValueError(f"{array.nbytes} bytes of data expected after the header")
    return array


def copy_of(buffer: BytesLike) -> memoryview:
    """Copy bytes into writable memory of their own that starts at a multiple of 64."""
    view = memoryview(buffer).cast("B")
    # numpy's allocation is neither cleared first nor, for large arrays, in small pages.
    room = np.empty(len(view) + _ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    aligned = room[start : start + len(view)]
    aligned[:] = np.frombuffer(view, np.uint8)
    return aligned.data


def dtype_survives(dtype: np.dtype[Any]) -> bool:
    """Tell whether a .npy header gives back exactly this type, alignment and metadata included."""
    if dtype.isbuiltin == 1 and dtype.isnative and dtype.metadata is None:
        return not dtype.hasobject
    if _has_metadata(dtype):
        return False
    try:
        back = _dtype_of(_descr(dtype))
    except (ValueError, TypeError):
        return False
    # repr shows what == forgets: the aligned flag, record types, nested layouts.
    return back == dtype and repr(back) == repr(dtype)


def _is_fortran(array: Array) -> bool:
    return bool(array.flags.f_contiguous and not array.flags.c_contiguous)


def contiguous(array: Array) -> Array:
    """Return an array that is contiguous in C or Fortran order: `array` itself, or a C copy."""
    if array.flags.forc:
        return array
    # Zeros first: a plain copy of a structure would leave whatever is in memory in its padding.
    copy: Array = np.zeros(array.shape, array.dtype)
    copy[...] = array
    return copy


def _descr(dtype: np.dtype[Any]) -> Any:
    if dtype.hasobject:
        raise ValueError("arrays of objects have no buffer")
    descr = npy_format.dtype_to_descr(dtype)
    if npy_format.descr_to_dtype(descr) != dtype:
        raise ValueError(f"a .npy header can't tell the type {dtype!r}")
    return descr


def _has_metadata(dtype: np.dtype[Any]) -> bool:
    if dtype.metadata is not None:
        return True
    if dtype.subdtype is not None:
        return _has_metadata(dtype.base)
    return any(_has_metadata(field[0]) for field in (dtype.fields or {}).values())


def _header(array: Array) -> bytes:
    fortran = _is_fortran(array)
    text = (
        f"{{'descr': {_descr(array.dtype)!r}, 'fortran_order': {fortran}, "
        f"'shape': {array.shape!r}, }}"
    )
    if array.shape:
        text += " " * (_GROWTH_DIGITS - len(repr(array.shape[-1 if fortran else 0])))
    return _with_preamble(text)


def _with_preamble(text: str) -> bytes:
    """Choose the oldest version that can hold the header: 1 (64 kB), 2 (4 GB), 3 (UTF-8)."""
    try:
        header, version = text.encode("latin1"), 1
    except UnicodeEncodeError:
        header, version = text.encode("utf-8"), 3
    if version == 1 and len(header) + _ALIGNMENT + 11 > 0xFFFF:
        version = 2
    length_format = "<H" if version == 1 else "<I"
    prefix = len(MAGIC) + 2 + struct.calcsize(length_format)
    padding = _ALIGNMENT - (prefix + len(header) + 1) % _ALIGNMENT
    header += b" " * padding + b"\n"
    return MAGIC + bytes([version, 0]) + struct.pack(length_format, len(header)) + header


def _parse_header(buffer: BytesLike) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    view = memoryview(buffer).cast("B")
    if view[:6] != MAGIC or len(view) < 12:
        raise ValueError("no .npy header")
    version = view[6]
    if version not in (1, 2, 3):
        raise ValueError(f"unknown .npy version {version}")
    length_format, start = ("<H", 10) if version == 1 else ("<I", 12)
    (length,) = struct.unpack_from(length_format, view, 8)
    text = str(view[start : start + length], "utf-8" if version == 3 else "latin1")
    header = _literal(text)
    return header["shape"], header["fortran_order"], _dtype_of(header["descr"]), start + length


def _literal(text: str) -> dict[str, Any]:
    try:
        header = ast.literal_eval(text.strip())
    except (SyntaxError, RecursionError, MemoryError) as exc:
        raise ValueError(f"unreadable .npy header: {exc}") from None
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError("incomplete .npy header")
    return header


def _dtype_of(descr: Any) -> np.dtype[Any]:
    try:
        dtype = npy_format.descr_to_dtype(descr)
    except (TypeError, LookupError, SyntaxError, RecursionError) as exc:
        raise ValueError(f"no numpy type: {descr!r}") from exc
    return aligned_again(dtype)


def aligned_again(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return a structured type with its aligned flag, which a .npy header does not keep.

    A type whose padding is exactly what ``align=True`` makes gets the flag, as seamless-core 0.1.4
    does; any other type is returned as it is.
    """
    if dtype.names is None or dtype.isalignedstruct or not has_padding(dtype):
        return dtype
    fields = [_named_field(dtype, name) for name in dtype.names]
    aligned = np.dtype(fields, align=True)
    return aligned if aligned == dtype else dtype


def has_padding(dtype: np.dtype[Any]) -> bool:
    """Tell whether a structured type has bytes that belong to no field."""
    return dtype.itemsize != sum(dtype[name].itemsize for name in dtype.names or ())


def _named_field(dtype: np.dtype[Any], name: str) -> tuple[Any, np.dtype[Any]]:
    fields: Mapping[str, Any] = dtype.fields or {}
    field = fields[name]
    title = field[2] if len(field) > 2 else None
    return ((title, name) if title is not None else name), aligned_again(field[0])
