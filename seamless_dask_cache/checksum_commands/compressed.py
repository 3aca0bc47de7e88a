"""The content of compressed files, in pieces of bounded size.

A gzip file is a series of members (RFC 1952), a zst file a series of frames (RFC 8878); all of them
count. The decompressors of zlib, `zstandard` and Python 3.14 have the same three attributes, which
is all that is needed to read the series and to notice that its last part is cut off.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from io import FileIO
from types import ModuleType
from typing import NamedTuple, Protocol

from seamless_dask_cache.checksum_commands.digests import CHUNK
from seamless_dask_cache.checksum_commands.failures import FileFailure


class _Part(Protocol):
    """A decompressor of one member or frame."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Form(NamedTuple):
    name: str
    begin: Callable[[], _Part]
    error: type[Exception]
    step: int
    """Compressed bytes that are decompressed at once, so that what comes of them fits in memory."""
    padding: bytes
    """Bytes that may stand between and behind parts."""


def decompressed(file: FileIO, suffix: str, note: Callable[[int], object]) -> Iterator[bytes]:
    """Yield the decompressed content of a file, piece by piece.

    A file without any part, one of zero bytes, has an empty content.

    Parameters
    ----------
    file : FileIO
    suffix : str
        ``.gz`` or ``.zst``.
    note : callable
        Told how many compressed bytes were read.

    Raises
    ------
    FileFailure
        When it is damaged or ends too early, or when there is nothing to decompress it with.
    """
    form = _gzip() if suffix == ".gz" else _zst()
    part, padding = None, b""
    for data in _pieces(file, form.step, note):
        while data := data if part else data.lstrip(padding):
            part = part or form.begin()
            yield _decompress(part, data, form)
            data = part.unused_data
            if part.eof:
                part, padding = None, form.padding
    if part:
        raise FileFailure(f"truncated {form.name} data")


def _pieces(file: FileIO, step: int, note: Callable[[int], object]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        note(len(chunk))
        for start in range(0, len(chunk), step):
            yield chunk[start : start + step]


def _decompress(part: _Part, data: bytes, form: _Form) -> bytes:
    try:
        return part.decompress(data)
    except form.error as error:
        raise FileFailure(f"damaged {form.name} data ({error})") from error


def _gzip() -> _Form:
    # Deflate makes up to 1,032 bytes of one: 16 MiB of a piece.
    return _Form("gzip", lambda: zlib.decompressobj(wbits=31), zlib.error, 1 << 14, b"\0")


def _zst() -> _Form:
    # A block of 4 bytes may become one of 128 KiB: 32 MiB of a piece.
    try:
        module = import_module("compression.zstd")
        begin = module.ZstdDecompressor
    except ImportError:
        module = _zstandard()
        begin = module.ZstdDecompressor().decompressobj
    return _Form("zst", begin, module.ZstdError, 1 << 10, b"")


def _zstandard() -> ModuleType:
    try:
        return import_module("zstandard")
    except ImportError as error:
        raise FileFailure(
            "needs the package zstandard (pip install zstandard) to be decompressed; "
            "--raw takes the file as it is"
        ) from error
