"""The HTTP side: routes, and what is around them."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from . import cache_handlers, handlers, lease_handlers
from .failures import (
    MalformedError,
    ReadOnlyError,
    RequestError,
    TooLargeError,
    UnauthorizedError,
    storage_status,
)
from .protocol import Fields
from .registry import Answer, Context, Handlers

logger = logging.getLogger(__name__)

Responder = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Routes = dict[str, dict[str, Responder]]

HANDLERS: Handlers = {
    **handlers.HANDLERS,
    **cache_handlers.HANDLERS,
    **lease_handlers.HANDLERS,
}

LARGE_BODY = 256 * 1024
"""Bodies above this size are parsed beside the event loop."""

HEALTHCHECK = "/healthcheck"


class Activity:
    """Whether the server is busy, or since when it is not; ``--timeout`` counts from there."""

    def __init__(self) -> None:
        self.is_stopping = False
        """Once true, connections are closed after their current request."""
        self._requests = 0
        self._idle = asyncio.Event()
        self._last = time.monotonic()

    def __enter__(self) -> None:
        self._requests += 1

    def __exit__(self, *_: object) -> None:
        self._requests -= 1
        self._last = time.monotonic()
        if self.is_stopping and not self._requests:
            self._idle.set()

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last request ended; 0 while one is answered."""
        return 0.0 if self._requests else time.monotonic() - self._last

    async def finish(self, seconds: float) -> None:
        """Wait until no request is being answered, but not longer than this."""
        self.is_stopping = True
        if self._requests:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._idle.wait(), seconds)


def build_server(
    context: Context,
    *,
    writable: bool,
    token: str | None = None,
    max_body: int,
    activity: Activity | None = None,
) -> web.Server:
    """Build what answers requests.

    Parameters
    ----------
    context : Context
        What handlers work on.
    writable : bool
        Whether PUT requests are taken.
    token : str, optional
        What every request but ``/healthcheck`` must present as ``Authorization: Bearer``.
    max_body : int
        Largest body in bytes.
    activity : Activity, optional
        Told about every request.

    Notes
    -----
    A server of aiohttp's lower level: its applications, with a router and middlewares, take a third
    of the time of a lookup.
    """
    endpoint = _Endpoint(context, writable, max_body)
    routes: Routes = {
        "/": {"GET": endpoint.answer, "PUT": endpoint.answer},
        HEALTHCHECK: {"GET": _healthcheck, "HEAD": _healthcheck},
    }
    front = _Front(routes, activity or Activity(), token)

    def request(message: Any, body: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        return web.BaseRequest(
            message, body, protocol, writer, task, loop, client_max_size=max_body
        )

    return web.Server(front.answer, request_factory=request, access_log=None)


async def _healthcheck(_: web.BaseRequest) -> web.Response:
    return web.Response(text="OK")


class _Front:
    """Where every request comes in.

    Requests are counted, strangers are turned away, and whatever handlers raise becomes a response:
    this is the one place where it does.
    """

    def __init__(self, routes: Routes, activity: Activity, token: str | None):
        self._routes = routes
        self._activity = activity
        self._token = None if token is None else f"Bearer {token}".encode()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        with self._activity:
            try:
                response = await self._routed(request)
            except Exception as error:
                response = _as_response(error)
            if self._activity.is_stopping:
                response.force_close()
            return response

    async def _routed(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if self._token is not None and path != HEALTHCHECK:
            self._check(request, self._token)
        methods = self._routes.get(path)
        if methods is None:
            raise web.HTTPNotFound
        handler = methods.get(request.method)
        if handler is None:
            raise web.HTTPMethodNotAllowed(request.method, methods)
        if "Expect" in request.headers:
            await _encourage(request)
        return await handler(request)

    def _check(self, request: web.BaseRequest, token: bytes) -> None:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, token):
            raise UnauthorizedError("A valid token is required (Authorization: Bearer)")


async def _encourage(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send the body."""
    if request.headers["Expect"].lower() != "100-continue":
        raise web.HTTPExpectationFailed
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")


class _Endpoint:
    """Answers ``GET /`` and ``PUT /``."""

    def __init__(self, context: Context, writable: bool, max_body: int):
        self._context = context
        self._writable = writable
        self._max_body = max_body

    async def answer(self, request: web.BaseRequest) -> web.Response:
        if request.method == "PUT" and not self._writable:
            raise ReadOnlyError("Database server is read-only")
        body = await self._read(request)
        parsed = await asyncio.to_thread(_parse, body) if len(body) > LARGE_BODY else _parse(body)
        if not isinstance(parsed, dict):
            raise MalformedError("Malformed request: the body must be a JSON object")
        type_, method = parsed.get("type"), request.method
        handler = HANDLERS.get((method, type_)) if isinstance(type_, str) else None
        if handler is None:
            raise MalformedError("Malformed request: unknown type")
        return _respond(await handler(self._context, Fields(parsed, f"{method} {type_} request")))

    async def _read(self, request: web.BaseRequest) -> bytes:
        """Read the body; one that announces itself as too large is refused unread."""
        if (request.content_length or 0) > self._max_body:
            raise TooLargeError(f"The request is larger than {self._max_body} bytes")
        try:
            return await request.read()
        # Bytes that are not encoded as their header says, or a client that went away.
        except (web.RequestPayloadError, HttpProcessingError, ConnectionResetError) as error:
            raise MalformedError(f"Malformed request: unreadable body ({error})") from None


def _parse(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"Malformed request: the body is not JSON ({error})") from None


def _respond(answer: Answer) -> web.Response:
    if answer is None:
        return _failure(404, "Unknown key")
    if isinstance(answer, str):
        return web.Response(text=answer)
    return web.Response(body=answer, content_type="application/json")


def _failure(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"ERROR: {text}")


def _as_response(error: Exception) -> web.Response:
    """Turn what a handler raised into a response; what is no failure of a request goes on."""
    if isinstance(error, RequestError):
        return _failure(error.status, str(error))
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return _failure(TooLargeError.status, f"The request is too large: {error.text}")
    if isinstance(error, web.HTTPException):
        return _failure(error.status, error.reason)
    if isinstance(error, sqlite3.Error):
        logger.error("the database file failed: %s", error)
        return _failure(storage_status(error), f"The database file failed: {error}")
    raise error
