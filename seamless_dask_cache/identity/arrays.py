"""numpy and scipy values as canonical bytes.

An array enters by class, dtype (byte order, fields and metadata included), shape, memory order
where it differs from C, and content. Content is hashed where it lies; only arrays that are
contiguous in no order are copied, block by block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

import numpy as np

from .effects import RANDOM
from .encoder import Encoder, Handler, located, names_a_file
from .literals import size, text
from .nodes import Piece
from .reduction import dotted, encode_attributes

_BLOCK = 1 << 19
_NOTED = 1000  # strings of an array that are looked at as paths
_SPARSE_PARTS = (
    "format",
    "shape",
    "dtype",
    "data",
    "indices",
    "indptr",
    "coords",
    "offsets",
    "rows",
)
_SPARSE_STATE = {
    *("_shape", "maxprint", "data", "indices", "indptr", "coords", "row", "col", "offsets", "rows"),
    *("_dict", "dtype", "_has_sorted_indices", "_has_canonical_format", "has_canonical_format"),
    *("has_sorted_indices",),
}
_OWN_ATTRIBUTES = {
    # Of masked arrays, said above; of memory maps, where the content came from.
    *("_fill_value", "_hardmask", "_sharedmask", "_isfield", "_baseclass", "_basedict", "_optinfo"),
    *("_mask", "_getitem", "_mmap", "filename", "offset", "mode", "_finalizer"),
}
_EXTENDED = np.dtype(np.longdouble).itemsize
_EXTENDED_USED = 10 if np.finfo(np.longdouble).nmant == 63 else _EXTENDED


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
    if any(base.__module__.startswith("scipy.sparse") for base in kind.__mro__):
        return _sparse if hasattr(kind, "tocsr") else None
    return None


def _array(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    if value is np.ma.masked:
        out.append(b"t" + text("numpy.ma.masked"))
        return
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
    encoder.encode(type(value), out)
    if isinstance(value, np.ma.MaskedArray):
        mask = (value.mask is np.ma.nomask, np.ma.getmaskarray(value), value.hardmask)
        encoder.items((*mask, np.asarray(value.fill_value), value.baseclass), out)
    encode_attributes(encoder, value, _OWN_ATTRIBUTES, out)


def _memory_order(value: Any) -> tuple[int, ...] | None:
    """Give the axes in the order of memory, ``None`` for C order."""
    if value.ndim < 2 or value.flags.c_contiguous or 0 in value.strides:
        return None
    axes = tuple(sorted(range(value.ndim), key=lambda axis: -abs(value.strides[axis])))
    return None if axes == tuple(range(value.ndim)) else axes


def _encode_content(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    dtype = value.dtype
    if dtype.kind in "OT" or (dtype.hasobject and dtype.fields is None):
        encoder.encode(value.ravel().tolist(), out)
    elif dtype.fields is not None and (dtype.hasobject or _has_padding(dtype)):
        for name in dtype.names:
            _encode_content(encoder, value[name], out)
    elif _is_extended(dtype):
        _encode_content(encoder, _without_padding(value), out)
    else:
        if dtype.kind == "U":
            note_names(encoder, value.ravel()[:_NOTED].tolist())
        out.append(_digest(value))


def _digest(value: Any) -> bytes:
    if value.flags.c_contiguous:
        return sha256(_raw(value)).digest()
    digest = sha256()
    for block in _blocks(value):
        digest.update(block)
    return digest.digest()


def _has_padding(dtype: Any) -> bool:
    used = bytearray(dtype.itemsize)
    for field in dtype.fields.values():
        base = field[0].base
        if _is_extended(base) or (base.fields is not None and _has_padding(base)):
            return True
        used[field[1] : field[1] + field[0].itemsize] = b"x" * field[0].itemsize
    return 0 in used


def _is_extended(dtype: Any) -> bool:
    """Tell whether numbers of 80 bits lie in wider places, with bytes between that nobody sets."""
    return dtype.char in "gG" and _EXTENDED_USED < _EXTENDED


def _without_padding(value: Any) -> Any:
    raw = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    return raw.reshape(-1, _EXTENDED)[:, :_EXTENDED_USED]


def note_names(encoder: Encoder, names: Iterable[Any]) -> None:
    """Note the strings of a column that look like paths; plain words are not looked at.

    Parameters
    ----------
    encoder : Encoder
        Where they are noted.
    names : iterable
        Strings, and perhaps other things.
    """
    encoder.site.files.extend(
        name for name in names if type(name) is str and _has_path_mark(name) and names_a_file(name)
    )


def _has_path_mark(name: str) -> bool:
    return "/" in name or "." in name or "\\" in name


def _raw(value: Any) -> Any:
    return value.reshape(-1).view(np.uint8).data if value.nbytes else b""


def _blocks(value: Any) -> Iterator[Any]:
    if value.flags.c_contiguous:
        yield _raw(value)
    elif value.ndim == 0 or value.nbytes <= _BLOCK:
        yield _raw(np.ascontiguousarray(value))
    else:
        rows = max(1, _BLOCK * len(value) // value.nbytes)
        for start in range(0, len(value), rows):
            yield from _blocks(value[start : start + rows])


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
        header = f"{dtype.itemsize} {dtype.alignment} {dtype.isalignedstruct} {dotted(dtype.type)}"
        out.append(b"d" + text("fields") + text(header) + size(len(dtype.names)))
        for name in dtype.names:
            field = dtype.fields[name]
            out.append(text(name) + size(field[1]) + text(repr(field[2:])))
            encode_dtype(encoder, field[0], out)
    elif dtype.kind == "T":
        out.append(b"d" + text(repr(dtype)))
    else:
        out.append(b"d" + text(dtype.str))
        if dtype.type.__module__ != "numpy":
            # Types of others, such as the small floats of ml_dtypes, share the code V.
            encoder.encode(dtype.type, out)
    if dtype.metadata:
        encoder.encode(dict(dtype.metadata), out)


def _dtype(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("dtype"))
    encode_dtype(encoder, value, out)


def _scalar(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("numpy scalar"))
    _encode_class(encoder, value, out)
    if isinstance(value, np.str_) and names_a_file(str(value)):
        encoder.site.files.append(str(value))
    encode_array(encoder, np.asarray(value), out)


def _encode_class(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    if not type(value).__module__.startswith("numpy"):
        encoder.encode(type(value), out)
        encode_attributes(encoder, value, (), out)


def _generator(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    _note_shared(encoder)
    out.append(b"t" + text("Generator"))
    _encode_class(encoder, value, out)
    encoder.encode(value.bit_generator, out)


def _bit_generator(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    _note_shared(encoder)
    out.append(b"t" + text("BitGenerator"))
    _encode_class(encoder, value, out)
    with value.lock:
        state = value.state
    encoder.encode(state, out)
    seeds = getattr(value, "seed_seq", None)
    encoder.encode(seeds if isinstance(seeds, np.random.SeedSequence) else None, out)


def _random_state(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    _note_shared(encoder)
    out.append(b"t" + text("RandomState"))
    _encode_class(encoder, value, out)
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
    encoder.container(value, out, _fill_sparse)


def _fill_sparse(encoder: Encoder, matrix: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("sparse"))
    encoder.encode(type(matrix), out)
    # Not all of __dict__: it holds flags that are computed on demand.
    encode_attributes(encoder, matrix, _SPARSE_STATE, out)
    if matrix.format == "dok":
        encoder.items((matrix.dtype, matrix.shape, dict(matrix.items())), out)
        return
    parts = ((name, getattr(matrix, name)) for name in _SPARSE_PARTS if hasattr(matrix, name))
    with located("sparse"):
        encoder.attributes(parts, out)


_HANDLERS: tuple[tuple[type, Handler], ...] = (
    (np.ndarray, _array),
    (np.generic, _scalar),
    (np.dtype, _dtype),
    (np.random.Generator, _generator),
    (np.random.BitGenerator, _bit_generator),
    (np.random.RandomState, _random_state),
    (np.random.SeedSequence, _seed_sequence),
)
