"""The bodies of requests: within their limits of size and time, or an error that says so."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncGenerator, Collection, Iterator
from typing import TYPE_CHECKING, NamedTuple, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from .failures import MalformedError, SlowError, TooLargeError, UnsupportedError

if TYPE_CHECKING:
    from .connections import Connection
    from .front import Request

SLOWEST = 16 * 1024
"""Bytes per second; who is slower for long does not finish."""

PIECE = 256 * 1024
"""Bytes that are decoded at a time."""

# Chunks that are none, or a client that went away.
_UNREADABLE = (web.RequestPayloadError, HttpProcessingError, ConnectionResetError)


class Limits(NamedTuple):
    """What a body may take.

    Parameters
    ----------
    nbytes : int
        How long it may be, decoded.
    patience : float
        Seconds for which a client may send less than `SLOWEST` bytes per second.
    """

    nbytes: int
    patience: float


def at_hand(request: Request, limits: Limits) -> bytes | None:
    """Give a body that came with its head, as nearly all do; None for others.

    Raises
    ------
    TooLargeError, MalformedError, UnsupportedError
        As for `read`.
    """
    content = request.content
    if not content.is_eof():
        return None
    _refuse_encoded(request)
    try:
        body = content.read_nowait()
    except _UNREADABLE as error:
        raise _unreadable(error) from None
    return _within(body, len(body), limits)


async def read(request: Request, limits: Limits) -> bytes:
    """Read a body as a whole.

    Raises
    ------
    TooLargeError, SlowError, MalformedError
        The last one when it cannot be read.
    UnsupportedError
        It is encoded: a megabyte might become a thousand in memory.
    """
    _refuse_encoded(request)
    return b"".join([part async for part in arriving(request, limits)])


def _refuse_encoded(request: Request) -> None:
    if "Content-Encoding" in request.headers:
        _decoder_of(request, ())


async def arriving(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """Give a body in parts, as it arrives, decoded.

    Raises
    ------
    TooLargeError, SlowError, MalformedError
        As for `read`.
    UnsupportedError
        It is encoded in another way than gzip or deflate.
    """
    cast("Connection", request.protocol).comes_in_parts()
    decoder = _decoder_of(request, ("gzip", "deflate"))
    if (request.content_length or 0) > limits.nbytes:
        raise _too_large(limits)
    if "Expect" in request.headers:
        await _encourage(request)
    received, decoded, started = 0, 0, time.monotonic()
    while True:
        rest = started + limits.patience + received / SLOWEST - time.monotonic()
        rest = min(rest, limits.patience)  # who was fast may not be silent for long, either
        try:
            part = await asyncio.wait_for(request.content.readany(), max(rest, 0.001))
        except asyncio.TimeoutError:
            raise SlowError(f"The body did not arrive within {limits.patience:g} seconds") from None
        except _UNREADABLE as error:
            raise _unreadable(error) from None
        received += len(part)
        for piece in [part] if decoder is None else decoder.pieces(part):
            decoded += len(piece)
            if piece:
                yield _within(piece, decoded, limits)
        if not part:
            return


def length(request: Request) -> int | None:
    """Give the number of bytes in a body; None where its head does not tell."""
    return None if "Content-Encoding" in request.headers else request.content_length


class _Decoder:
    """Undoes gzip or deflate, in pieces whose size does not depend on the client."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=47)  # either format, by its first bytes

    def pieces(self, part: bytes) -> Iterator[bytes]:
        """Decode the next part; the last one is empty."""
        try:
            yield self._inflate.decompress(part, PIECE)
            while self._inflate.unconsumed_tail:
                yield self._inflate.decompress(self._inflate.unconsumed_tail, PIECE)
        except zlib.error as error:
            raise _unreadable(error) from None
        if self._inflate.unused_data or not (part or self._inflate.eof):
            raise _unreadable("not encoded as its head says")


def _decoder_of(request: Request, understood: Collection[str]) -> _Decoder | None:
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding == "identity":
        return None
    if encoding not in understood:
        raise UnsupportedError(f"A body with Content-Encoding {encoding[:20]!r} is not taken here")
    return _Decoder()


def _within(body: bytes, nbytes: int, limits: Limits) -> bytes:
    if nbytes > limits.nbytes:
        raise _too_large(limits)
    return body


async def _encourage(request: Request) -> None:
    """Tell a client that waits for it to send the body."""
    if request.headers["Expect"].lower() != "100-continue":
        raise web.HTTPExpectationFailed
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # none of it belongs to the answer


def _too_large(limits: Limits) -> TooLargeError:
    return TooLargeError(f"The request is larger than {limits.nbytes} bytes")


def _unreadable(error: object) -> MalformedError:
    return MalformedError(f"Malformed request: unreadable body ({error})")
