"""Wholeness: whether the buffer of a result is all that the result is.

A pickle names classes and functions instead of containing them. An object of an edited class has
the buffer that it had before, and yet does something else: its checksum does not say what a task
makes of it. What installed distributions define is known by their versions, which enter the
skeletons of calls. Calls with inputs that name code of the user are not written down for early
cutoff, and so never found by it.
"""

from __future__ import annotations

import io
import itertools
import pickle
import struct
from typing import Any

from seamless_dask_cache import array_reducers
from seamless_dask_cache.identity.distributions import owner_of
from seamless_dask_cache.pickling import MAGIC
from seamless_dask_cache.results import ResultBuffer

LARGEST_STREAM = 16 << 20
"""Bytes of a pickle, apart from its large arrays, that are looked through."""

_FIRST_FRAME = struct.Struct("<QQ")
_AFTER_PREFIX = 16


def is_whole(buffer: Any) -> bool:
    """Tell whether a result buffer holds or names nothing of the user's code.

    Parameters
    ----------
    buffer : bytes-like
        As `dump_result` makes it.

    Returns
    -------
    bool
        False also for what is too large to be looked through, or cannot be.
    """
    view = memoryview(buffer).cast("B")
    if view[: len(MAGIC)] != MAGIC:
        return True
    try:
        offset, length = _FIRST_FRAME.unpack_from(view, _AFTER_PREFIX)
    except struct.error:
        return False
    return _is_whole_stream(view[offset : offset + length])


def is_whole_result(buffer: ResultBuffer) -> bool:
    """Tell the same of a result that has just been dumped."""
    if buffer.format != "pickle":
        return True
    return _is_whole_stream(memoryview(buffer.frames[1]))


def _is_whole_stream(stream: memoryview) -> bool:
    if len(stream) > LARGEST_STREAM:
        return False
    names = _Names(io.BytesIO(stream), buffers=itertools.repeat(b""))
    try:
        names.load()
    except Exception:
        return False
    return all(map(_is_installed, names.modules))


def _is_installed(module: str) -> bool:
    if module == array_reducers.__name__:
        return True
    # What travels by value may refer to anything in turn.
    return module.partition(".")[0] != "cloudpickle" and owner_of(module) is not None


class _Names(pickle.Unpickler):
    """Goes through a pickle without importing anything, and notes which modules it names."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.modules: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.modules.add(module)
        return _Anything


class _Anything:
    """Stands for whatever a pickle makes, and takes whatever it is given."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Anything:
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> _Anything:
        return self

    def _take(self, *args: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = update = _take
