"""The bodies of requests: within their limits of size and time, or an error that says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import NamedTuple

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from .failures import MalformedError, SlowError, TooLargeError

SLOWEST = 16 * 1024
"""Bytes per second; who is slower for long does not finish."""

# Bytes that are not encoded as their header says, or a client that went away.
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


async def read(request: web.BaseRequest, limits: Limits) -> bytes:
    """Read a body as a whole.

    Raises
    ------
    TooLargeError, SlowError, MalformedError
        The last one when it cannot be read.
    """
    content = request.content
    if content.is_eof() and (request.content_length or 0) <= limits.nbytes:
        # It came with its head, as nearly all do.
        try:
            body = content.read_nowait()
        except _UNREADABLE as error:
            raise _unreadable(error) from None
        if content.at_eof():
            return body
        parts = [body]
    else:
        parts = []
    parts.extend([part async for part in arriving(request, limits)])
    return b"".join(parts)


async def arriving(request: web.BaseRequest, limits: Limits) -> AsyncGenerator[bytes, None]:
    """Give a body in parts, as it arrives.

    Raises
    ------
    TooLargeError, SlowError, MalformedError
        As for `read`.
    """
    if (request.content_length or 0) > limits.nbytes:
        raise _too_large(limits)
    if "Expect" in request.headers:
        await _encourage(request)
    received, started = 0, time.monotonic()
    while True:
        rest = started + limits.patience + received / SLOWEST - time.monotonic()
        try:
            part = await asyncio.wait_for(request.content.readany(), max(rest, 0.001))
        except asyncio.TimeoutError:
            raise SlowError(f"The body did not arrive within {limits.patience:g} seconds") from None
        except _UNREADABLE as error:
            raise _unreadable(error) from None
        if not part:
            return
        received += len(part)
        if received > limits.nbytes:
            raise _too_large(limits)
        yield part


async def _encourage(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send the body."""
    if request.headers["Expect"].lower() != "100-continue":
        raise web.HTTPExpectationFailed
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # none of it belongs to the answer


def _too_large(limits: Limits) -> TooLargeError:
    return TooLargeError(f"The request is larger than {limits.nbytes} bytes")


def _unreadable(error: Exception) -> MalformedError:
    return MalformedError(f"Malformed request: unreadable body ({error})")
