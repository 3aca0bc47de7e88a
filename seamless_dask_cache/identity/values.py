"""Containers and the types of the standard library as canonical bytes.

Order is kept where a program can see it (lists, dicts) and dropped where it can't matter (sets,
attributes of an object). Types differ even where values compare equal.
"""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import fractions
import pathlib
import re
import types
import typing
import uuid
import zoneinfo
from typing import Any

from ..errors import RefusedError
from .encoder import Encoder, Handler
from .literals import bulk, framed, size, text
from .naming import Sieve, text_of
from .nodes import Piece
from .reduction import encode_attributes


def _sequence(tag: bytes, bulk_tag: bytes) -> Handler:
    def fill(encoder: Encoder, values: Any, out: list[Piece]) -> None:
        packed = bulk(bulk_tag, values)
        if packed is not None:
            out.append(packed)
            if type(values[0]) is str:
                _note_files(encoder, values)
            return
        out.append(tag + size(len(values)))
        encoder.items(values, out)

    def handler(encoder: Encoder, values: Any, out: list[Piece]) -> None:
        encoder.container(values, out, fill)

    return handler


def _note_files(encoder: Encoder, values: Any) -> None:
    encoder.site.files.extend(filter(Sieve().passes, values))


def _mapping(tag: bytes) -> Handler:
    def fill(encoder: Encoder, values: Any, out: list[Piece]) -> None:
        out.append(tag + size(len(values)))
        encoder.mapping(values.items(), out)

    def handler(encoder: Encoder, values: Any, out: list[Piece]) -> None:
        encoder.container(values, out, fill)

    return handler


def _set(tag: bytes, bulk_tag: bytes) -> Handler:
    def fill(encoder: Encoder, values: Any, out: list[Piece]) -> None:
        kinds = set(map(type, values))
        if kinds == {str} or kinds == {int}:
            ordered = sorted(values)
            packed = bulk(bulk_tag, ordered)
            if packed is not None:
                out.append(packed)
                if kinds == {str}:
                    _note_files(encoder, ordered)
                return
        encoder.members(values, tag, out)

    def handler(encoder: Encoder, values: Any, out: list[Piece]) -> None:
        encoder.container(values, out, fill)

    return handler


def _fields(name: str, read: Any) -> Handler:
    tag = b"t" + text(name)

    def handler(encoder: Encoder, value: Any, out: list[Piece]) -> None:
        out.append(tag)
        encoder.items(read(value), out)

    return handler


def _described(tag: bytes) -> Handler:
    """Handle a mapping that can have attributes beside its items."""
    items = _mapping(tag)

    def handler(encoder: Encoder, value: Any, out: list[Piece]) -> None:
        items(encoder, value, out)
        encode_attributes(encoder, value, (), out)

    return handler


def _default_dict(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("defaultdict"))
    encoder.encode(value.default_factory, out)
    _mapping(b"{")(encoder, value, out)


def _deque(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    encoder.container(value, out, _fill_deque)


def _fill_deque(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("deque") + size(len(value)))
    encoder.encode(value.maxlen, out)
    encoder.items(value, out)


def _memory_view(encoder: Encoder, value: memoryview, out: list[Piece]) -> None:
    out.append(b"t" + text("memoryview"))
    encoder.items((value.format, value.shape, value.readonly), out)
    out.append(framed(b"b", value.tobytes()))


def _path(encoder: Encoder, value: pathlib.PurePath, out: list[Piece]) -> None:
    out.append(b"t" + text(type(value).__name__) + text(str(value)))
    encoder.site.files.append(text_of(value))


def _zone(encoder: Encoder, value: zoneinfo.ZoneInfo, out: list[Piece]) -> None:
    if value.key is None:
        raise RefusedError("a time zone that was read from a file and has no key")
    out.append(b"t" + text("ZoneInfo") + text(value.key))


def _mapping_proxy(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("mappingproxy"))
    encoder.encode(dict(value), out)


def _generic_alias(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("GenericAlias"))
    encoder.items((value.__origin__, value.__args__), out)


def _union(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("UnionType"))
    encoder.items(value.__args__, out)


def _cell(encoder: Encoder, value: types.CellType, out: list[Piece]) -> None:
    try:
        content = value.cell_contents
    except ValueError:
        out.append(b"t" + text("empty cell"))
        return
    out.append(b"t" + text("cell"))
    encoder.encode(content, out)


def _clock_fields(value: Any) -> tuple[Any, ...]:
    return (value.hour, value.minute, value.second, value.microsecond, value.fold, value.tzinfo)


HANDLERS: dict[type, Handler] = {
    list: _sequence(b"[", b"L"),
    tuple: _sequence(b"(", b"U"),
    dict: _mapping(b"{"),
    set: _set(b"<", b"S"),
    frozenset: _set(b">", b"Z"),
    collections.OrderedDict: _described(b"O"),
    collections.Counter: _described(b"Q"),
    collections.defaultdict: _default_dict,
    collections.deque: _deque,
    slice: _fields("slice", lambda value: (value.start, value.stop, value.step)),
    memoryview: _memory_view,
    types.MappingProxyType: _mapping_proxy,
    types.GenericAlias: _generic_alias,
    types.UnionType: _union,
    types.CellType: _cell,
    # As the text that it stands for: it was a text in the source.
    typing.ForwardRef: _fields("ForwardRef", lambda value: (value.__forward_arg__,)),
    array.array: _fields("array", lambda value: (value.typecode, value.tobytes())),
    decimal.Decimal: _fields("Decimal", lambda value: (str(value),)),
    fractions.Fraction: _fields("Fraction", lambda value: (value.numerator, value.denominator)),
    uuid.UUID: _fields("UUID", lambda value: (value.bytes, value.is_safe.name)),
    re.Pattern: _fields("Pattern", lambda value: (value.pattern, value.flags)),
    datetime.date: _fields("date", lambda value: (value.toordinal(),)),
    datetime.time: _fields("time", _clock_fields),
    datetime.datetime: _fields(
        "datetime", lambda value: (value.toordinal(), *_clock_fields(value))
    ),
    datetime.timedelta: _fields(
        "timedelta", lambda value: (value.days, value.seconds, value.microseconds)
    ),
    datetime.timezone: _fields("timezone", lambda value: value.__getinitargs__()),
    zoneinfo.ZoneInfo: _zone,
    **dict.fromkeys(
        (
            pathlib.PurePosixPath,
            pathlib.PureWindowsPath,
            pathlib.PosixPath,
            pathlib.WindowsPath,
        ),
        _path,
    ),
}
"""Handlers by exact type."""
