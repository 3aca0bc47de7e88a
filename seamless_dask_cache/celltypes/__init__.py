"""The 13 cell types: how a value becomes a buffer and back.

Bytes, and therefore checksums, are those of the published seamless-core 0.1.4. Values that it
rejects or loses (unicode arrays, complex numbers, big-endian and structured types, integers beyond
64 bits) survive here.

======================== ==========================================================
module                   cell types
======================== ==========================================================
`plain`                  plain: JSON, two spaces of indentation, sorted keys
`scalars`                str, int, float, bool: one JSON scalar
`text`                   text, python, ipython, yaml: UTF-8 that ends in one newline
`binary`                 binary: numpy's .npy format
`mixed`                  mixed: plain, binary, or plain with arrays inside
`raw`                    bytes: as they are
`references`             checksum: JSON of checksums
======================== ==========================================================

A codec module is imported on first use: numpy and yaml are only loaded for those who need them.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, Protocol, cast

from seamless_dask_cache.checksum import BytesLike
from seamless_dask_cache.errors import CellTypeError

__all__ = ["CELLTYPES", "check_celltype", "deserialize", "serialize"]

_MODULES = {
    "plain": "plain",
    "text": "text",
    "python": "text",
    "ipython": "text",
    "yaml": "text",
    "str": "scalars",
    "int": "scalars",
    "float": "scalars",
    "bool": "scalars",
    "binary": "binary",
    "bytes": "raw",
    "mixed": "mixed",
    "checksum": "references",
}

CELLTYPES = tuple(_MODULES)
"""The names of all cell types."""

NPY_MAGIC = b"\x93NUMPY"
MIXED_MAGIC = b"\x94SEAMLESS-MIXED"
"""How buffers with arrays in them start."""

MOST_OF_A_NUMBER = 1000
"""Bytes of a buffer that may become a number."""


class Codec(Protocol):
    """What each codec module offers."""

    def serialize(self, value: Any, celltype: str) -> bytes:
        """Turn a value into a buffer."""

    def deserialize(self, buffer: BytesLike, celltype: str) -> Any:
        """Turn a buffer into a value."""


def serialize(value: Any, celltype: str) -> bytes:
    """Turn a value into the buffer of a cell type.

    Parameters
    ----------
    value : object
        A `Checksum`, at the top or nested in plain and mixed values, becomes its hex digits.
    celltype : str
        One of `CELLTYPES`.

    Raises
    ------
    CellTypeError
        When the value does not fit the cell type, and for an unknown cell type.
    """
    return _codec(celltype).serialize(value, celltype)


def deserialize(buffer: BytesLike, celltype: str) -> Any:
    """Turn a buffer into a value that shares no memory with the buffer.

    Parameters
    ----------
    buffer : bytes, bytearray or memoryview
    celltype : str
        One of `CELLTYPES`.

    Raises
    ------
    CellTypeError
        When the buffer is not of this cell type (the message shows how the buffer starts), and for
        an unknown cell type.
    """
    return _codec(celltype).deserialize(buffer, celltype)


def check_celltype(*celltypes: str) -> None:
    """Check that there are such cell types.

    Raises
    ------
    CellTypeError
        For the first that is unknown.
    """
    for celltype in celltypes:
        if celltype not in CELLTYPES:
            raise CellTypeError(f"unknown cell type {celltype!r}; there are {', '.join(CELLTYPES)}")


@cache
def _codec(celltype: str) -> Codec:
    check_celltype(celltype)
    return cast(Codec, import_module(f"{__name__}.{_MODULES[celltype]}"))
