"""How numpy arrays are pickled exactly; see `seamless_dask_cache.pickling`."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from seamless_dask_cache.celltypes.npy import contiguous

Array = np.ndarray[Any, Any]
Layout = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def reduce_array(array: Array) -> Any:
    """Reduce an array to its memory, in the order of that memory, and how to look at it."""
    if array.dtype.hasobject or array.dtype.itemsize == 0:
        return _reduce_by_numpy(array)
    core, layout = _core_and_layout(array)
    memory = pickle.PickleBuffer(core.reshape(-1).view(np.uint8).data)
    return restore_array, (memory, array.dtype, core.shape, layout, array.flags.writeable)


def restore_array(
    memory: Any, dtype: np.dtype[Any], shape: tuple[int, ...], layout: Layout, writeable: bool
) -> Array:
    """Undo `reduce_array`."""
    core: Array = np.ndarray(shape, dtype, memory)
    array = _with_layout(core, layout)
    if array.flags.writeable != writeable:
        array.flags.writeable = writeable
    return array


def reduce_masked(array: Any) -> Any:
    """Reduce a masked array to its data and its state, ``nomask`` included."""
    return restore_masked, (array._data, dict(array.__dict__))


def restore_masked(data: Array, state: dict[str, Any]) -> Any:
    """Undo `reduce_masked`."""
    array = data.view(np.ma.MaskedArray)
    array.__dict__.update(state)
    return array


REDUCERS: dict[type, Callable[[Any], Any]] = {
    np.ndarray: reduce_array,
    np.ma.MaskedArray: reduce_masked,
}
"""What `pickle.Pickler.dispatch_table` needs."""


def _core_and_layout(array: Array) -> tuple[Array, Layout]:
    """Return the C-contiguous array behind `array`, and how the axes of `array` look at it.

    A broadcast axis (stride 0) has length 1 in the core; a reversed axis runs forward; the axes
    are in the order of their strides.
    """
    broadcast = tuple(
        length if stride == 0 and length > 1 else 0
        for length, stride in zip(array.shape, array.strides, strict=True)
    )
    reversed_axes = tuple(
        axis for axis in range(array.ndim) if array.strides[axis] < 0 and array.shape[axis] > 1
    )
    # The ellipsis keeps a 0-d array an array: a scalar would forget its byte order.
    core = array[(*(slice(1) if length else slice(None) for length in broadcast), ...)]
    core = np.flip(core, reversed_axes) if reversed_axes else core
    order = _memory_order(core)
    return contiguous(core.transpose(order)), (order, reversed_axes, broadcast)


def _memory_order(array: Array) -> tuple[int, ...]:
    if array.flags.c_contiguous:
        return tuple(range(array.ndim))
    if array.flags.f_contiguous:
        return tuple(reversed(range(array.ndim)))
    return tuple(sorted(range(array.ndim), key=lambda axis: -array.strides[axis]))


def _with_layout(core: Array, layout: Layout) -> Array:
    order, reversed_axes, broadcast = layout
    array = core.transpose(np.argsort(order)) if order else core
    array = np.flip(array, reversed_axes) if reversed_axes else array
    if not any(broadcast):
        return array
    shape = tuple(b or length for b, length in zip(broadcast, array.shape, strict=True))
    strides = tuple(0 if b else s for b, s in zip(broadcast, array.strides, strict=True))
    return as_strided(array, shape, strides)


def _reduce_by_numpy(array: Array) -> Any:
    reduced = array.__reduce_ex__(5)
    if array.flags.writeable or len(reduced) != 3:
        return reduced
    return (*reduced, None, None, set_state_read_only)


def set_state_read_only(array: Array, state: Any) -> None:
    """Give an array the state that numpy pickled, and protect it against writing."""
    array.__setstate__(state)
    array.flags.writeable = False
