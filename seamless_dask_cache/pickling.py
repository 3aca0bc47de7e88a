"""Pickles with their large buffers outside, laid out so that a memory map can serve them.

The format (numbers are little-endian)::

    offset  0   8 bytes   b"\\x95SDCPKL" and the version, b"\\x01"
    offset  8   uint32    length of the header in bytes (16 + 16 for each frame)
    offset 12   uint32    number of frames, at least 1
    offset 16   16 bytes for each frame: uint64 offset from the start of the buffer (a multiple of
                64), uint64 length in bytes

then the frames, with zeros between them. Frame 0 is a pickle of protocol 5, the others are its
out-of-band buffers (PEP 574) in order; which of them are read-only, the pickle says. Neither JSON
nor .npy nor a mixed buffer starts with 0x95.

Arrays are pickled by their content rather than by numpy, so that what numpy's pickle forgets comes
back too: the order of the axes in memory, axes that were broadcast, a write protection; and whether
a masked array has a mask. Gaps between the elements of a slice are not kept.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import struct
import sys
from collections import ChainMap
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import cloudpickle

from seamless_dask_cache.errors import CellTypeError

MAGIC = b"\x95SDCPKL"
VERSION = 1

_ALIGNMENT = 64
# Smaller buffers stay in the pickle: a frame costs 16 bytes of header and up to 63 of padding.
_OUT_OF_BAND_FROM = 1024
_PREFIX = struct.Struct("<7sBII")
_ENTRY = struct.Struct("<QQ")


def _refuse_sentinel(value: object) -> Any:
    # A bare object() is there to be compared with `is`, and a copy never is the one.
    raise CellTypeError("a bare object() is not the same one after a round trip")


# The table that both picklers ask first; arrays are added as soon as there can be any.
_reducers: dict[type, Callable[[Any], Any]] = {object: _refuse_sentinel}
_copyreg_table: Any = copyreg.dispatch_table


# A pickler looks for its table while it is initialized: it must be an attribute of the class.
class _Pickler(pickle.Pickler):
    dispatch_table: Any = ChainMap(_reducers, _copyreg_table)  # noqa: RUF012  (typeshed: no ClassVar)


class _CloudPickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table: ClassVar[Any] = ChainMap(_reducers, cloudpickle.Pickler.dispatch_table)

    def reducer_override(self, obj: Any) -> Any:
        reduced = super().reducer_override(obj)
        by_value = isinstance(reduced, tuple) and reduced[0].__name__.startswith("_make_skeleton")
        if isinstance(obj, type) and by_value:
            # Another process would make a twin of the class: instances that are none of the
            # program's own, enum members that are not its members.
            raise CellTypeError(f"the class {obj.__qualname__} cannot be imported")
        return reduced


def dump_pickle(value: Any) -> list[bytes | memoryview]:
    """Pickle a value into frames, of which the large ones are views of its own memory.

    Raises
    ------
    CellTypeError
        When neither pickle nor cloudpickle can pickle it.
    """
    stream, buffers = _pickle_anyhow(value)
    return _laid_out([stream, *(buffer.raw() for buffer in buffers)])


def load_pickle(view: memoryview, *, copy: bool) -> Any:
    """Read what `dump_pickle` wrote.

    Parameters
    ----------
    view : memoryview of bytes
    copy : bool
        False leaves the out-of-band buffers where they are, in the memory of `view`.

    Raises
    ------
    CellTypeError
        When the buffer is damaged, or the pickle can't be loaded.
    """
    try:
        stream, *buffers = _frames_of(view)
        return pickle.loads(stream, buffers=map(aligned_copy, buffers) if copy else buffers)
    except Exception as exc:
        raise CellTypeError(f"the pickled result can't be loaded: {exc!r}") from exc


def _pickle_anyhow(value: Any) -> tuple[bytes, list[pickle.PickleBuffer]]:
    try:
        stream, buffers = _pickle_with(_Pickler, value)
    except CellTypeError:
        raise
    except Exception:
        # Lambdas, nested functions and classes: cloudpickle's task.
        return _cloudpickle(value)
    # What __main__ defines is another thing in another process: it must travel by value.
    if b"__main__" in stream:
        return _cloudpickle(value)
    return stream, buffers


def _cloudpickle(value: Any) -> tuple[bytes, list[pickle.PickleBuffer]]:
    try:
        return _pickle_with(_CloudPickler, value)
    except CellTypeError:
        raise
    except Exception as exc:
        kind = type(value).__qualname__
        raise CellTypeError(f"a result of type {kind} can't be pickled: {exc!r}") from exc


def _pickle_with(
    pickler_class: type[pickle.Pickler], value: Any
) -> tuple[bytes, list[pickle.PickleBuffer]]:
    _know_arrays()
    file = io.BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    pickler = pickler_class(file, protocol=5, buffer_callback=_keep_large(buffers))
    pickler.dump(value)
    return file.getvalue(), buffers


def _keep_large(buffers: list[pickle.PickleBuffer]) -> Callable[[pickle.PickleBuffer], bool]:
    def keep(buffer: pickle.PickleBuffer) -> bool:
        if buffer.raw().nbytes < _OUT_OF_BAND_FROM:
            return True
        buffers.append(buffer)
        return False

    return keep


def _know_arrays() -> None:
    # Without numpy loaded there is no array in the value, and no reason to load it.
    if "numpy" in sys.modules and len(_reducers) == 1:
        from seamless_dask_cache.array_reducers import REDUCERS

        _reducers.update(REDUCERS)


def _laid_out(frames: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
    header_length = _PREFIX.size + _ENTRY.size * len(frames)
    parts: list[bytes | memoryview] = [b""]
    entries, position = [], header_length
    for frame in frames:
        padding = -position % _ALIGNMENT
        entries.append(_ENTRY.pack(position + padding, len(frame)))
        parts += [bytes(padding), frame]
        position += padding + len(frame)
    prefix = _PREFIX.pack(MAGIC, VERSION, header_length, len(frames))
    parts[:2] = [b"".join([prefix, *entries, parts[1]])]
    return parts


def _frames_of(view: memoryview) -> list[memoryview]:
    magic, version, header_length, count = _PREFIX.unpack_from(view)
    if magic != MAGIC or version != VERSION:
        raise ValueError(f"pickle format {version} is unknown")
    if header_length != _PREFIX.size + _ENTRY.size * count or header_length > len(view):
        raise ValueError("damaged header")
    return [_frame(view, *entry) for entry in _ENTRY.iter_unpack(view[16:header_length])]


def _frame(view: memoryview, offset: int, length: int) -> memoryview:
    if offset + length > len(view):
        raise ValueError(f"the buffer ends within a frame, at {len(view)} bytes")
    return view[offset : offset + length]


def aligned_copy(frame: memoryview) -> memoryview:
    """Copy bytes into writable memory of their own that starts at a multiple of 64."""
    if "numpy" not in sys.modules:
        return memoryview(bytearray(frame))
    from seamless_dask_cache.celltypes.npy import copy_of

    return copy_of(frame)
