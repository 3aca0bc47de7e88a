"""Buffers over HTTP, as the hashserver of Seamless has them.

=====================  ===========================================================================
``GET /<hex>``         200 or 206 with the content, as a whole or a range of it; 404. Waits for what
                       was promised. ``HEAD`` answers with the length alone, and does not wait.
``PUT /<hex>``         200 when the body has this checksum and is on the disk; 201 when it was here
                       before; 400 when it has another checksum
``GET /has``           for a JSON list of checksums in the body, a list of their lengths in bytes: 0
                       for what is not here, true for what is promised or empty
``GET /has-now``       true or false for each: without what is promised
``GET /buffer-length``  as ``/has``, but 0 for what is empty, too
``PUT /promise/<hex>``  202: the buffer will come; who asks for it meanwhile waits
=====================  ===========================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Iterable

import orjson
from aiohttp import web
from aiohttp.helpers import ETAG_ANY

from . import bodies
from .bodies import Limits
from .buffers import Buffers, Content
from .failures import BusyError, MalformedError, UnknownKeyError
from .front import Request, Responder, stream
from .promises import Promises
from .protocol import checksums

LOOK_SECONDS = 1.0
"""How long a wait for a promise lasts before it is seen whether the client is still there."""

PIECE = 256 * 1024
"""Bytes that are read and sent at a time."""

_is_nothing = re.compile("bytes=-0+", re.IGNORECASE).fullmatch  # the last 0 bytes

_is_path = re.compile("/(promise/)?([0-9a-fA-F]{64})").fullmatch


class BufferRoutes:
    """Answers what is asked about buffers.

    Parameters
    ----------
    buffers : Buffers
    promises : Promises
    body, upload : Limits
        Of questions, and of buffers.
    """

    def __init__(self, buffers: Buffers, promises: Promises, body: Limits, upload: Limits):
        self._buffers = buffers
        self._promises = promises
        self._body = body
        self._upload = upload
        self._of_buffer: dict[str, Responder] = {
            "GET": self.get,
            "HEAD": self.head,
            "PUT": self.put,
        }

    def methods(self, path: str) -> dict[str, Responder] | None:
        """Give what answers a path with a checksum, by method; None for other paths."""
        found = _is_path(path)
        if found is None:
            return None
        return {"PUT": self.promise} if found[1] else self._of_buffer

    async def get(self, request: Request) -> web.StreamResponse:
        """Send a buffer, once it is here."""
        checksum = _checksum(request)
        found = await self._buffers.find(checksum)
        while found is None and request.transport is not None:  # None: the client has gone
            if not await self._promises.wait(checksum, LOOK_SECONDS):
                break
            found = await self._buffers.find(checksum)
        return await _send(request, checksum, found)

    async def head(self, request: Request) -> web.StreamResponse:
        """Tell whether a buffer is here, and how long it is."""
        checksum = _checksum(request)
        return await _send(request, checksum, await self._buffers.find(checksum))

    async def put(self, request: Request) -> web.StreamResponse:
        """Keep a buffer."""
        checksum = _checksum(request)
        found = await self._buffers.find(checksum)
        if found is not None:
            found.close()
            response = await _already_here(request, self._upload)
        else:
            parts = bodies.arriving(request, self._upload)
            await self._buffers.keep(checksum, parts, bodies.length(request))
            response = web.Response(text="OK")
        self._promises.end(checksum)
        return response

    async def promise(self, request: Request) -> web.StreamResponse:
        """Expect a buffer."""
        checksum = _checksum(request, "promise")
        self._promises.promise(checksum)
        answer = {"checksum": checksum, "expires_in": self._promises.seconds}
        return web.Response(status=202, body=orjson.dumps(answer), content_type="application/json")

    async def has(self, request: Request) -> web.StreamResponse:
        """Tell how long some buffers are, and which are promised; what is empty is here, too."""
        return _as_list(
            promised if length is None else length or True
            for length, promised in await self._asked(request, "has")
        )

    async def has_now(self, request: Request) -> web.StreamResponse:
        """Tell which of some buffers are here."""
        return _as_list(length is not None for length, _ in await self._asked(request, "has-now"))

    async def length(self, request: Request) -> web.StreamResponse:
        """Tell how long some buffers are, and which are promised."""
        return _as_list(
            promised if length is None else length
            for length, promised in await self._asked(request, "buffer-length")
        )

    async def _asked(self, request: Request, kind: str) -> Iterable[tuple[int | None, int]]:
        """Give the length of each buffer, and true or 0 for whether it is promised."""
        request.kind = kind
        body = await bodies.read(request, self._body)
        wanted = await asyncio.to_thread(_list_of_checksums, body)
        promised = self._promises.among(wanted)
        lengths = await self._buffers.lengths(wanted)
        # Published clients take numbers and true, neither null nor false.
        return zip(lengths, ((name in promised) or 0 for name in wanted), strict=True)


def _as_list(answers: Iterable[object]) -> web.Response:
    return web.Response(body=orjson.dumps(list(answers)), content_type="application/json")


def _checksum(request: Request, kind: str = "buffer") -> str:
    request.kind = kind
    return request.path[-64:].lower()


def _list_of_checksums(body: bytes) -> list[str]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"Malformed has request: not JSON ({error})") from None
    return checksums(value, "Malformed has request: the body")


async def _already_here(request: Request, limits: Limits) -> web.StreamResponse:
    response = web.Response(status=201, text="OK")
    if "Expect" in request.headers:
        response.force_close()  # the client need not send it
        return response
    async with contextlib.aclosing(bodies.arriving(request, limits)) as parts:
        async for _ in parts:
            pass
    return response


async def _send(request: Request, checksum: str, content: Content | None) -> web.StreamResponse:
    if content is None:
        raise UnknownKeyError("No such buffer")
    with contextlib.closing(content):
        tag = f'"{checksum}"'
        if any(known.value in (checksum, ETAG_ANY) for known in request.if_none_match or ()):
            return web.Response(status=304, headers={"ETag": tag})
        return await _send_range(request, content, tag)


async def _send_range(request: Request, content: Content, tag: str) -> web.StreamResponse:
    headers = {"ETag": tag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    status, span = 200, range(content.nbytes)
    wanted = _range(request, tag)
    if wanted is not None:
        status, span = 206, span[wanted]
        if not span:
            headers["Content-Range"] = f"bytes */{content.nbytes}"
            return web.Response(status=416, headers=headers, body=b"")
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{content.nbytes}"
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = len(span)
    if request.method == "HEAD":
        return response
    return await stream(request, response, _pieces(content, span))


async def _pieces(content: Content, span: range) -> AsyncGenerator[bytes, None]:
    for start in range(span.start, span.stop, PIECE):
        stop = min(start + PIECE, span.stop)
        piece = await content.read(start, stop)
        if len(piece) != stop - start:
            raise BusyError("The buffer was cut off while it was read")
        yield piece


def _range(request: Request, tag: str) -> slice | None:
    """Give the part that is asked for; None for all of it.

    A range that is not understood, or one of something else, does not count (RFC 9110, 14.2).
    """
    wanted = request.headers.get("Range")
    if wanted is None or request.method != "GET" or request.headers.get("If-Range", tag) != tag:
        return None
    if _is_nothing(wanted):
        return slice(0, 0)
    try:
        return request.http_range
    except ValueError:
        return None
