"""Results of tasks as self-describing buffers: what comes back is what went in.

A buffer tells its format by how it starts:

=========== ============================== =====================================================
format      starts with                    used for
=========== ============================== =====================================================
plain       anything else (JSON)           small values that JSON gives back with exact types
binary      ``b"\\x93NUMPY"``               arrays that a .npy file gives back exactly
pickle      ``b"\\x95SDCPKL"``              everything else, see `seamless_dask_cache.pickling`
mixed       ``b"\\x94SEAMLESS-MIXED"``      only read: results that Seamless itself stored
=========== ============================== =====================================================

Plain is chosen only if the value consists of None, bool, int (64 bits), finite float, str, list and
dict (str keys in sorted order, as plain sorts them), by exact type, with no list or dict in it
twice. Larger values than `PLAIN_ITEMS` are pickled: that is faster than looking at them.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import orjson

from seamless_dask_cache.celltypes import MIXED_MAGIC, NPY_MAGIC, deserialize
from seamless_dask_cache.errors import CellTypeError

if TYPE_CHECKING:
    from seamless_dask_cache.checksum import BytesLike
    from seamless_dask_cache.storage import BufferStore

__all__ = ["PLAIN_ITEMS", "ResultBuffer", "ResultFormat", "dump_result", "load_result"]

PLAIN_ITEMS = 1000
"""The most values, nested ones included, that a plain result may hold."""

# orjson stops at a depth of 254; Python's own stack is finite, too.
_PLAIN_DEPTH = 50

ResultFormat = Literal["plain", "binary", "pickle"]

_PICKLE_MAGIC = b"\x95SDCPKL"
_PLAIN_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


class ResultBuffer:
    """A result as a buffer in several parts, so that large arrays need no copy.

    The frames may be views of the value's own memory: write them before the value changes.

    Parameters
    ----------
    frames : list of bytes-like
        What the buffer is the concatenation of.
    format : {"plain", "binary", "pickle"}
    """

    __slots__ = ("_checksum", "format", "frames", "nbytes")

    def __init__(self, frames: Sequence[bytes | memoryview], format: ResultFormat):
        self.frames = list(frames)
        self.format = format
        self.nbytes = sum(map(len, frames))
        self._checksum: str | None = None

    @property
    def checksum(self) -> str:
        """SHA-256 of the buffer in 64 hex digits, computed at the first access."""
        if self._checksum is None:
            digest = hashlib.sha256()
            for frame in self.frames:
                digest.update(frame)
            self._checksum = digest.hexdigest()
        return self._checksum

    def store_in(self, store: BufferStore) -> str:
        """Store the buffer; return its checksum.

        A checksum that is not known yet is computed while the buffer is written: a large result is
        read once instead of twice.

        Raises
        ------
        StoreError
            When the buffer can't be written.
        """
        if self._checksum is None:
            self._checksum = store.add(self.frames)
        else:
            store.put(self._checksum, self.frames)
        return self._checksum

    def tobytes(self) -> bytes:
        """Return the whole buffer (a copy, unless it has a single frame)."""
        return b"".join(self.frames)

    def __repr__(self) -> str:
        return f"<ResultBuffer {self.format}, {self.nbytes} bytes>"


def dump_result(value: Any, *, allow_pickle: bool = True) -> ResultBuffer:
    """Turn any value into a buffer from which `load_result` makes an indistinguishable value.

    Parameters
    ----------
    value : object
    allow_pickle : bool
        False refuses values that only a pickle can hold.

    Raises
    ------
    CellTypeError
        When the value can't be pickled, or would have to be and must not.
    """
    plain = _plain_buffer(value)
    if plain is not None:
        return ResultBuffer([plain], "plain")
    npy = _npy_frames(value)
    if npy is not None:
        return ResultBuffer(npy, "binary")
    if not allow_pickle:
        kind = type(value).__qualname__
        raise CellTypeError(f"only a pickle can hold this {kind}, and pickles are not allowed")
    from seamless_dask_cache.pickling import dump_pickle

    return ResultBuffer(dump_pickle(value), "pickle")


def load_result(buffer: BytesLike | mmap.mmap, *, allow_pickle: bool = True) -> Any:
    """Read the value of a result buffer.

    Parameters
    ----------
    buffer : bytes-like or mmap
        A writable mmap, or a memoryview of one, is taken over without a copy: the arrays of the
        value live in it, so it must be private (``mmap.ACCESS_COPY``) and be loaded only once.
        From anything else arrays are copied.
    allow_pickle : bool
        False refuses pickles.

    Raises
    ------
    CellTypeError
        When the buffer can't be read, or is a pickle and must not be. The code in a pickle may
        raise anything; it is the ``__cause__`` then.
    """
    view = memoryview(buffer).cast("B")
    if view[: len(_PICKLE_MAGIC)] == _PICKLE_MAGIC:
        return _load_pickle(view, allow_pickle)
    if view[: len(NPY_MAGIC)] == NPY_MAGIC:
        return _load_npy(view)
    if view[: len(MIXED_MAGIC)] == MIXED_MAGIC:
        return deserialize(view, "mixed")
    return deserialize(view, "plain")


def is_private_memory(view: memoryview) -> bool:
    """Tell whether arrays may live in this memory: a writable, hence private, memory map."""
    return not view.readonly and isinstance(view.obj, mmap.mmap)


def _load_pickle(view: memoryview, allow_pickle: bool) -> Any:
    if not allow_pickle:
        raise CellTypeError("the result is a pickle, and pickles are not allowed")
    from seamless_dask_cache.pickling import load_pickle

    return load_pickle(view, copy=not is_private_memory(view))


def _load_npy(view: memoryview) -> Any:
    from seamless_dask_cache.celltypes.npy import read_npy
    from seamless_dask_cache.pickling import aligned_copy

    try:
        # The bytes are copied, not the array: padding inside structures comes back, too.
        return read_npy(view if is_private_memory(view) else aligned_copy(view))
    except (TypeError, ValueError) as exc:
        raise CellTypeError(f"not a whole .npy buffer: {exc}") from exc


def _plain_buffer(value: Any) -> bytes | None:
    """Return the plain buffer, or None if plain can't give this value back exactly."""
    if not _is_plain(value, [PLAIN_ITEMS], set(), _PLAIN_DEPTH):
        return None
    try:
        return orjson.dumps(value, option=_PLAIN_OPTIONS)
    except TypeError:  # a lone surrogate, or nested too deeply
        return None


def _is_plain(value: Any, budget: list[int], containers: set[int], depth: int) -> bool:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-(2**63) <= value < 2**64)
    if kind is float:
        return bool(math.isfinite(value))
    if kind is not list and kind is not dict:
        return False
    return _is_plain_container(value, budget, containers, depth - 1)


def _is_plain_container(
    value: list[Any] | dict[Any, Any], budget: list[int], containers: set[int], depth: int
) -> bool:
    budget[0] -= len(value) + 1
    # Plain has no references: a container met twice would come back as two.
    if budget[0] < 0 or depth < 0 or id(value) in containers:
        return False
    containers.add(id(value))
    if type(value) is dict and not _has_sorted_text_keys(value):
        return False
    items = value.values() if isinstance(value, dict) else value
    return all(_is_plain(item, budget, containers, depth) for item in items)


def _has_sorted_text_keys(value: dict[Any, Any]) -> bool:
    keys = list(value)
    return all(type(key) is str for key in keys) and keys == sorted(keys)


def _npy_frames(value: Any) -> list[bytes | memoryview] | None:
    """Return the .npy buffer, or None if .npy can't give this value back exactly."""
    numpy: Any = sys.modules.get("numpy")  # without numpy loaded, no value is an array
    if numpy is None or type(value) is not numpy.ndarray:
        return None
    from seamless_dask_cache.celltypes.npy import dtype_survives, npy_frames

    flags = value.flags
    if not (flags.forc and flags.writeable and dtype_survives(value.dtype)):
        return None
    return npy_frames(value)
