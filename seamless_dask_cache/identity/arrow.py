"""pyarrow values as canonical bytes, regardless of chunks, offsets and what lies under nulls.

A column is hashed as a few streams (positions of nulls, values, lengths, children), each fed chunk
by chunk, so that no chunks are joined and their borders leave no trace.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import RefusedError
from .arrays import note_names
from .encoder import Encoder, Handler
from .literals import size, text
from .nodes import Piece

_NOTED = 1000  # strings of a chunk that are looked at as paths


def find_handler(kind: type) -> Handler | None:
    """Give the handler of a pyarrow type.

    Parameters
    ----------
    kind : type
        A class whose module begins with ``pyarrow``.

    Returns
    -------
    callable or None
        ``None`` for types that the general rule handles.
    """
    for base, handler in _HANDLERS:
        if issubclass(kind, base):
            return handler
    return None


def _contained(fill: Handler) -> Handler:
    def handler(encoder: Encoder, value: Any, out: list[Piece]) -> None:
        try:
            encoder.container(value, out, fill)
        except pa.ArrowException as error:
            raise RefusedError(
                f"pyarrow can't take {type(value).__name__} apart: {error}"
            ) from error

    return handler


def _table(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text(type(value).__name__) + size(value.num_rows))
    _schema(encoder, value.schema, out)
    for position in range(value.num_columns):
        column = value.column(position)
        _column(encoder, getattr(column, "chunks", [column]), column.type, out)


def _array(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    chunks = value.chunks if isinstance(value, pa.ChunkedArray) else [value]
    kind = "ChunkedArray" if isinstance(value, pa.ChunkedArray) else "Array"
    out.append(b"t" + text(kind) + size(len(value)))
    _type(encoder, value.type, out)
    _column(encoder, chunks, value.type, out)


def _schema(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("Schema") + size(len(value)))
    for field in value:
        _field(encoder, field, out)
    encoder.encode(dict(value.metadata or {}), out)


def _field(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("Field") + text(value.name))
    _type(encoder, value.type, out)
    encoder.items((value.nullable, dict(value.metadata or {})), out)


def _type(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("DataType") + text(type(value).__name__) + text(str(value)))
    if isinstance(value, pa.BaseExtensionType):
        encoder.encode(value.__reduce__(), out)
    for position in range(value.num_fields):
        _field(encoder, value.field(position), out)


def _scalar(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("Scalar"))
    if isinstance(value, (pa.ExtensionScalar, pa.DictionaryScalar, pa.RunEndEncodedScalar)):
        _type(encoder, value.type, out)
        dictionary = isinstance(value, pa.DictionaryScalar)
        encoder.items((value.index, value.dictionary) if dictionary else (value.value,), out)
    elif isinstance(value, pa.UnionScalar):
        _type(encoder, value.type, out)
        encoder.items((value.type_code, value.value), out)
    else:
        _array(encoder, pa.array([value.as_py()], type=value.type), out)


def _buffer(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("Buffer") + size(value.size) + sha256(value).digest())


def _column(encoder: Encoder, chunks: list[Any], kind: Any, out: list[Piece]) -> None:
    streams = _streams(kind)
    for chunk in chunks:
        streams.update(chunk)
    out.append(streams.digest())
    if isinstance(streams, _Texts) and not _is_binary(kind):
        for chunk in chunks:
            note_names(encoder, chunk.slice(0, _NOTED).to_pylist())


class _Streams:
    """The digests of one column: where nulls are, and values with zeros there."""

    def __init__(self) -> None:
        self.length = 0
        self.nulls = sha256()
        self.content = sha256()

    def update(self, chunk: Any) -> None:
        if chunk.null_count and not isinstance(chunk, pa.NullArray):
            positions = np.flatnonzero(pc.is_null(chunk).to_numpy(zero_copy_only=False))
            self.nulls.update((positions + self.length).astype("<i8").data)
        self.length += len(chunk)
        self.feed(chunk)

    def feed(self, chunk: Any) -> None:
        """Add the content of a chunk."""

    def digest(self) -> bytes:
        return sha256(
            size(self.length) + self.nulls.digest() + self.content.digest() + self.below()
        ).digest()

    def below(self) -> bytes:
        return b""


class _Numbers(_Streams):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def feed(self, chunk: Any) -> None:
        buffer = chunk.buffers()[1]
        if buffer is None or not len(chunk):
            return
        start, stop = chunk.offset * self.width, (chunk.offset + len(chunk)) * self.width
        content = np.frombuffer(buffer, np.uint8)[start:stop]
        if chunk.null_count:
            content = content.reshape(len(chunk), self.width).copy()
            content[pc.is_null(chunk).to_numpy(zero_copy_only=False)] = 0
        self.content.update(content.data)


class _Flags(_Streams):
    def feed(self, chunk: Any) -> None:
        filled = chunk.fill_null(False) if chunk.null_count else chunk
        self.content.update(filled.to_numpy(zero_copy_only=False).view(np.uint8).data)


class _Texts(_Streams):
    def __init__(self) -> None:
        super().__init__()
        self.lengths = sha256()

    def feed(self, chunk: Any) -> None:
        if not len(chunk):
            return
        if chunk.null_count:
            chunk = chunk.fill_null(b"" if _is_binary(chunk.type) else "")
        lengths = pc.binary_length(chunk).to_numpy(zero_copy_only=False)
        self.lengths.update(lengths.astype("<i8").data)
        width = np.int64 if pa.types.is_large_string(chunk.type) else np.int32
        if pa.types.is_large_binary(chunk.type):
            width = np.int64
        _, offsets, data = chunk.buffers()
        if data is None:
            return
        borders = np.frombuffer(offsets, width)[chunk.offset : chunk.offset + len(chunk) + 1]
        self.content.update(np.frombuffer(data, np.uint8)[borders[0] : borders[-1]].data)

    def below(self) -> bytes:
        return self.lengths.digest()


class _Converted(_Streams):
    """A type whose layout says nothing: as another type with the same values."""

    def __init__(self, child: _Streams, convert: Callable[[Any], Any]) -> None:
        super().__init__()
        self.child = child
        self.convert = convert

    def feed(self, chunk: Any) -> None:
        self.child.update(self.convert(chunk))

    def below(self) -> bytes:
        return self.child.digest()


class _Dictionaries(_Streams):
    """Positions in a dictionary, which counts too: it becomes the categories of a pandas column."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.kind = kind
        self.chunks: list[Any] = []

    def feed(self, chunk: Any) -> None:
        self.chunks.append(chunk)

    def below(self) -> bytes:
        indices = _streams(self.kind.index_type)
        if not self.chunks:
            return indices.digest()
        unified = pa.chunked_array(self.chunks, type=self.kind).unify_dictionaries()
        for chunk in unified.chunks:
            indices.update(chunk.indices)
        values = _streams(self.kind.value_type)
        if unified.num_chunks:
            values.update(unified.chunk(0).dictionary)
        return indices.digest() + values.digest()


class _Lists(_Streams):
    def __init__(self, child: _Streams) -> None:
        super().__init__()
        self.child = child

    def feed(self, chunk: Any) -> None:
        lengths = pc.list_value_length(chunk).fill_null(0).to_numpy(zero_copy_only=False)
        self.content.update(lengths.astype("<i8").data)
        self.child.update(chunk.flatten())

    def below(self) -> bytes:
        return self.child.digest()


class _Records(_Streams):
    def __init__(self, children: list[_Streams]) -> None:
        super().__init__()
        self.children = children

    def feed(self, chunk: Any) -> None:
        for child, column in zip(self.children, chunk.flatten(), strict=True):
            child.update(column)

    def below(self) -> bytes:
        return b"".join(child.digest() for child in self.children)


def _is_binary(kind: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _streams(kind: Any) -> _Streams:
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _Converted(_streams(kind.storage_type), lambda chunk: chunk.storage)
    if types.is_null(kind):
        return _Streams()
    if types.is_boolean(kind):
        return _Flags()
    if types.is_string(kind) or types.is_large_string(kind) or _is_binary(kind):
        return _Texts()
    if types.is_primitive(kind) or types.is_decimal(kind) or types.is_fixed_size_binary(kind):
        return _Numbers(kind.bit_width // 8)
    if types.is_dictionary(kind):
        return _Dictionaries(kind)
    return _nested(kind)


def _nested(kind: Any) -> _Streams:
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _Lists(_streams(kind.value_type))
    if types.is_struct(kind):
        return _Records([_streams(kind.field(index).type) for index in range(kind.num_fields)])
    if types.is_map(kind):
        return _cast(pa.list_(pa.struct([kind.key_field, kind.item_field])))
    return _newer(kind)


def _newer(kind: Any) -> _Streams:
    # Older releases of pyarrow have no name for these types, and no values of them.
    name = type(kind).__name__
    if name in ("ListViewType", "LargeListViewType"):
        return _Lists(_streams(kind.value_type))
    if str(kind) in ("string_view", "binary_view"):
        return _cast(pa.large_string() if str(kind) == "string_view" else pa.large_binary())
    if name == "RunEndEncodedType":
        return _Converted(_streams(kind.value_type), pc.run_end_decode)
    raise RefusedError(f"values of the Arrow type {kind} have no canonical form")


def _cast(other: Any) -> _Streams:
    return _Converted(_streams(other), lambda chunk: chunk.cast(other))


_HANDLERS: tuple[tuple[Any, Handler], ...] = (
    (pa.Table, _contained(_table)),
    (pa.RecordBatch, _contained(_table)),
    (pa.Schema, _schema),
    (pa.Field, _field),
    (pa.DataType, _type),
    (pa.ChunkedArray, _contained(_array)),
    (pa.Array, _contained(_array)),
    (pa.Scalar, _scalar),
    (pa.Buffer, _buffer),
)
