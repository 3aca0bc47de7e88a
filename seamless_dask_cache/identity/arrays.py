"""numpy and scipy values as canonical bytes.

An array enters by class, dtype (byte order, fields and metadata included), shape, memory order
where it differs from C, and content. Content is hashed where it lies; only arrays that are
contiguous in no order are copied, block by block.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import numpy as np

from .effects import RANDOM
from .encoder import Encoder, Handler, located
from .literals import size, text
from .nodes import Piece

_BLOCK = 1 << 22
_SPARSE_PARTS = (
    "format",
    "shape",
    "data",
    "indices",
    "indptr",
    "coords",
    "row",
    "col",
    "offsets",
    "rows",
)


def find_handler(kind: type) -> Handler | None:
    """Give the handler of a numpy or scipy type.

    Parameters
    ----------
    kind : type
        A class whose module begins with ``numpy`` or ``scipy``.

    Returns
    -------
    callable or None
        ``None`` for types that the general rule handles.
    """
    for base, handler in _HANDLERS:
        if issubclass(kind, base):
            return handler
    if kind.__module__.startswith("scipy.sparse") and hasattr(kind, "tocsr"):
        return _sparse
    return None


def _array(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    encoder.container(value, out, encode_array)


def encode_array(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    """Append an array.

    Parameters
    ----------
    encoder : Encoder
        For object arrays, whose items are encoded one by one.
    value : numpy.ndarray
        Any shape, dtype, memory order and subclass.
    out : list
        The pieces so far.
    """
    out.append(b"A")
    if type(value) is not np.ndarray:
        _encode_subclass(encoder, value, out)
        value = value.view(np.ndarray)
    encode_dtype(encoder, value.dtype, out)
    axes = _memory_order(value)
    out.append(text(repr(value.shape)) + text(repr(axes) if axes else ""))
    _encode_content(encoder, value.transpose(axes) if axes else value, out)


def _encode_subclass(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    kind = type(value)
    encoder.encode(kind, out)
    if isinstance(value, np.ma.MaskedArray):
        parts = (np.ma.getmaskarray(value), np.asarray(value.fill_value), value.hardmask)
        encoder.items(parts, out)
    elif not isinstance(value, (np.memmap, np.recarray, np.matrix)):
        encoder.attributes(getattr(value, "__dict__", {}).items(), out)


def _memory_order(value: Any) -> tuple[int, ...] | None:
    """Give the axes in the order of memory, ``None`` for C order."""
    if value.ndim < 2 or value.flags.c_contiguous or 0 in value.strides:
        return None
    axes = tuple(sorted(range(value.ndim), key=lambda axis: -abs(value.strides[axis])))
    return None if axes == tuple(range(value.ndim)) else axes


def _encode_content(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    dtype = value.dtype
    if dtype.kind in "OT":
        encoder.encode(value.ravel().tolist(), out)
    elif dtype.fields is not None and (dtype.hasobject or _has_padding(dtype)):
        for name in dtype.names:
            _encode_content(encoder, value[name], out)
    elif dtype.subdtype is None and dtype.hasobject:
        encoder.encode(value.ravel().tolist(), out)
    else:
        digest = sha256()
        for block in _blocks(value):
            digest.update(block)
        out.append(digest.digest())


def _has_padding(dtype: Any) -> bool:
    used = 0
    for field in dtype.fields.values():
        if field[0].fields is not None and _has_padding(field[0]):
            return True
        used += field[0].itemsize
    return bool(used != dtype.itemsize)


def _blocks(value: Any) -> Iterator[memoryview]:
    if value.flags.c_contiguous:
        if value.nbytes:
            yield value.reshape(-1).view(np.uint8).data
    elif value.ndim <= 1 or value.nbytes <= _BLOCK:
        yield from _blocks(np.ascontiguousarray(value))
    else:
        rows = max(1, _BLOCK * len(value) // value.nbytes)
        for start in range(0, len(value), rows):
            yield from _blocks(np.ascontiguousarray(value[start : start + rows]))


def encode_dtype(encoder: Encoder, dtype: Any, out: list[Piece]) -> None:
    """Append a dtype.

    Parameters
    ----------
    encoder : Encoder
        For metadata.
    dtype : numpy.dtype
        Structured and with sub-arrays too.
    out : list
        The pieces so far.
    """
    if dtype.subdtype is not None:
        out.append(b"d" + text("sub") + text(repr(dtype.subdtype[1])))
        encode_dtype(encoder, dtype.subdtype[0], out)
    elif dtype.fields is not None:
        header = f"{dtype.itemsize} {dtype.alignment} {dtype.isalignedstruct} {dtype.type.__name__}"
        out.append(b"d" + text("fields") + text(header) + size(len(dtype.names)))
        for name in dtype.names:
            field = dtype.fields[name]
            out.append(text(name) + size(field[1]) + text(repr(field[2:])))
            encode_dtype(encoder, field[0], out)
    elif dtype.kind == "T":
        out.append(b"d" + text(repr(dtype)))
    else:
        out.append(b"d" + text(dtype.str))
    if dtype.metadata:
        encoder.encode(dict(dtype.metadata), out)


def _dtype(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("dtype"))
    encode_dtype(encoder, value, out)


def _scalar(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("numpy scalar"))
    encode_array(encoder, np.asarray(value), out)


def _generator(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    _note_shared(encoder)
    out.append(b"t" + text("Generator"))
    encoder.encode(value.bit_generator, out)


def _bit_generator(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    _note_shared(encoder)
    out.append(b"t" + text("BitGenerator"))
    with value.lock:
        state = value.state
    encoder.encode(state, out)
    seeds = getattr(value, "seed_seq", None)
    encoder.encode(seeds if isinstance(seeds, np.random.SeedSequence) else None, out)


def _random_state(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    _note_shared(encoder)
    out.append(b"t" + text("RandomState"))
    encoder.encode(value.get_state(legacy=False), out)


def _seed_sequence(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    if encoder.shared and value.n_children_spawned:
        _note_shared(encoder)
    out.append(b"t" + text("SeedSequence"))
    parts = (value.entropy, value.spawn_key, value.pool_size, value.n_children_spawned)
    encoder.items(parts, out)


def _note_shared(encoder: Encoder) -> None:
    if encoder.shared:
        encoder.effect(RANDOM, "state of a random generator")


def _sparse(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    def fill(encoder: Encoder, matrix: Any, inner: list[Piece]) -> None:
        inner.append(b"t" + text("sparse"))
        encoder.encode(type(matrix), inner)
        if matrix.format == "dok":
            encoder.encode(matrix.dtype, inner)
            encoder.encode(matrix.shape, inner)
            encoder.members(matrix.items(), b"<", inner)
            return
        # Not __dict__: it holds flags that are computed on demand.
        parts = ((name, getattr(matrix, name)) for name in _SPARSE_PARTS if hasattr(matrix, name))
        with located("sparse"):
            encoder.attributes(parts, inner)

    encoder.container(value, out, fill)


_HANDLERS: tuple[tuple[type, Handler], ...] = (
    (np.ndarray, _array),
    (np.generic, _scalar),
    (np.dtype, _dtype),
    (np.random.Generator, _generator),
    (np.random.BitGenerator, _bit_generator),
    (np.random.RandomState, _random_state),
    (np.random.SeedSequence, _seed_sequence),
)
