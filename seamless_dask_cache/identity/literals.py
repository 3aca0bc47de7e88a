"""Plain Python values as canonical bytes.

Every encoding starts with a tag byte of its own and has a fixed or a prefixed length, so that a
concatenation of encodings can be read back in one way only: different values, or equal values of
different types (``True``, ``1``, ``1.0``), never share an encoding.

Only exact types are handled; a subclass may behave differently and is encoded with its class.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import repeat
from operator import is_
from typing import Any

_DIGEST_FROM = 4096
_BULK_FROM = 16

_size = struct.Struct("<Q").pack
_int64 = struct.Struct("<cq").pack
_float64 = struct.Struct("<cd").pack
_complex128 = struct.Struct("<cdd").pack

size = _size
"""Eight bytes that give a length; the prefix of everything of variable length."""


def framed(tag: bytes, content: bytes) -> bytes:
    """Encode bytes under a tag; long content is replaced by its SHA-256.

    Parameters
    ----------
    tag : bytes
        One byte.
    content : bytes
        Anything.

    Returns
    -------
    bytes
        ``tag``, the length, then the content itself or, from 4096 bytes, its digest.
    """
    length = len(content)
    if length >= _DIGEST_FROM:
        return tag + _size(length) + sha256(content).digest()
    return tag + _size(length) + content


def _integer(value: int) -> bytes:
    try:
        return _int64(b"i", value)
    except struct.error:
        length = value.bit_length() // 8 + 1
        return framed(b"I", value.to_bytes(length, "little", signed=True))


def text(value: str) -> bytes:
    """Encode a string.

    Parameters
    ----------
    value : str
        May hold lone surrogates.

    Returns
    -------
    bytes
        Tag, length, UTF-8.
    """
    return framed(b"s", value.encode("utf-8", "surrogatepass"))


LITERALS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: b"N",
    bool: lambda value: b"T" if value else b"F",
    int: _integer,
    float: lambda value: _float64(b"f", value),
    complex: lambda value: _complex128(b"c", value.real, value.imag),
    str: text,
    bytes: lambda value: framed(b"b", value),
    bytearray: lambda value: framed(b"B", bytes(value)),
    type(Ellipsis): lambda value: b"E",
    type(NotImplemented): lambda value: b"n",
    range: lambda value: b"r" + _integer(value.start) + _integer(value.stop) + _integer(value.step),
}
"""Encoders by exact type, for values that hold no others."""


def _numbers(code: str, values: Sequence[Any]) -> bytes:
    packed = array(code, values)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _texts(values: Sequence[str]) -> bytes:
    lengths = _numbers("q", list(map(len, values)))
    return lengths + "".join(values).encode("utf-8", "surrogatepass")


def _byte_strings(values: Sequence[bytes]) -> bytes:
    return _numbers("q", list(map(len, values))) + b"".join(values)


_BULK: dict[type, tuple[bytes, Callable[[Sequence[Any]], bytes]]] = {
    float: (b"f", lambda values: _numbers("d", values)),
    int: (b"i", lambda values: _numbers("q", values)),
    bool: (b"T", bytes),
    str: (b"s", _texts),
    bytes: (b"b", _byte_strings),
}


def bulk(tag: bytes, values: Sequence[Any]) -> bytes | None:
    """Encode a long sequence of one plain type at C speed.

    Whether it applies depends on the values alone, so that it is part of the canonical form.

    Parameters
    ----------
    tag : bytes
        One byte for the kind of sequence; never one that an item-by-item encoding uses.
    values : list or tuple
        The items.

    Returns
    -------
    bytes or None
        ``None`` for fewer than 16 items, mixed or other types, and integers beyond 64 bits.
    """
    if len(values) < _BULK_FROM:
        return None
    first = type(values[0])
    pack = _BULK.get(first)
    if pack is None or not all(map(is_, map(type, values), repeat(first))):
        return None
    try:
        content = pack[1](values)
    except OverflowError:
        return None
    return framed(tag, _size(len(values)) + pack[0] + content)
