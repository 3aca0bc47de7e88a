"""Where every request comes in, and every answer goes out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import cast

from aiohttp import web

from .access import Access
from .answers import Response, ShortAnswer, answer
from .connections import Connection
from .failures import MalformedError, RequestError, UnauthorizedError, storage_status
from .metrics import Metrics

logger = logging.getLogger(__name__)


class Request(web.BaseRequest):
    """A request."""

    kind = "other"
    """What it asks for, a type or a route; for metrics and log."""


class Malformed(Request):
    """A request whose URL makes no sense."""

    kind = "malformed"


Responder = Callable[[Request], Awaitable[Response]]

Router = Callable[[str, str], Responder]
"""Finds what answers a method and a path; raises `aiohttp.web.HTTPException` for others."""

HEALTHCHECK = "/healthcheck"

METHODS = frozenset(("GET", "HEAD", "PUT"))


class Activity:
    """Whether the server is busy, or since when it is not; ``--timeout`` counts from there."""

    def __init__(self) -> None:
        self.is_stopping = False
        """Once true, connections are closed after their current request."""
        self.requests = 0
        """Requests that are being answered."""
        self._idle = asyncio.Event()
        self._last = time.monotonic()

    def __enter__(self) -> None:
        self.requests += 1

    def __exit__(self, *_: object) -> None:
        self.requests -= 1
        self._last = time.monotonic()
        if self.is_stopping and not self.requests:
            self._idle.set()

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last request ended; 0 while one is answered."""
        return 0.0 if self.requests else time.monotonic() - self._last

    async def finish(self, seconds: float) -> None:
        """Wait until no request is being answered, but not longer than this."""
        self.is_stopping = True
        if self.requests:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._idle.wait(), seconds)


class Front:
    """Where every request comes in.

    Requests are counted, strangers are turned away, and whatever handlers raise becomes a response:
    this is the one place where it does.

    Parameters
    ----------
    find : callable
        Finds what answers a request.
    activity : Activity
    access : Access
    metrics : Metrics
    log_requests : bool
        Whether each request gets a line of the log.
    """

    def __init__(
        self,
        find: Router,
        activity: Activity,
        access: Access,
        metrics: Metrics,
        *,
        log_requests: bool = False,
    ):
        self._find = find
        self._activity = activity
        self._access = None if access.is_open else access
        self._metrics = metrics
        self._log_requests = log_requests

    async def answer(self, request: Request) -> Response:
        """Answer a request."""
        started = time.perf_counter()
        connection = cast(Connection, request.protocol)
        connection.begin()
        with self._activity:
            try:
                response = await self._responder(request)(request)
            except Exception as error:
                response = _failed(request, error)
            if self._activity.is_stopping:
                response.force_close()
            if not isinstance(response, ShortAnswer):
                # Here, and not by aiohttp afterwards: a server that stops waits for it.
                with contextlib.suppress(ConnectionError):  # the client went away
                    await response.prepare(request)
                    await response.write_eof()
        if not request.content.is_eof():  # refused by its head alone, as are buffers too large
            connection.comes_in_parts()
        connection.end()
        self._note(request, response.status, time.perf_counter() - started)
        return response

    def _responder(self, request: Request) -> Responder:
        if isinstance(request, Malformed):
            raise MalformedError("Malformed request: its URL makes no sense")
        method = request.method
        # Nearly all go to the root, and there is nothing to decode in that.
        path = "/" if request.raw_path == "/" else request.path
        if self._access is not None and path != HEALTHCHECK:
            given = request.headers.get("Authorization")
            self._access.check(given, writes=method not in ("GET", "HEAD"))
        return self._find(method, path)

    def _note(self, request: Request, status: int, seconds: float) -> None:
        kind = request.kind
        method = request.method if request.method in METHODS else "other"
        self._metrics.request(method, kind, status, seconds)
        if status >= 500 or self._log_requests:
            logger.log(
                logging.WARNING if status >= 500 else logging.INFO,
                "%s %s: %d in %.1f ms",
                *(method, kind, status, 1000 * seconds),
                extra={
                    **{"method": method, "kind": kind, "status": status, "seconds": seconds},
                    "client": request.remote,
                },
            )


async def stream(
    request: Request, response: web.StreamResponse, parts: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    """Send a body in parts; what fails before the first one becomes a response of its own."""
    async with contextlib.aclosing(parts):  # also when the client leaves in the middle
        async for part in parts:
            if not response.prepared:
                await response.prepare(request)
            await response.write(part)
    return response


def failure(request: Request, status: int, text: str) -> Response:
    """Make the response of a request that failed."""
    return answer(request, status, f"ERROR: {text}".encode(errors="replace"))


def _failed(request: Request, error: Exception) -> Response:
    """Turn what a handler raised into a response, or break off the one that has begun."""
    if request.writer.output_size == 0:
        return _as_response(request, error)
    if not isinstance(error, ConnectionError):
        logger.error("an answer was broken off: %s", error)
    # The client must not take what it has for a whole answer.
    if request.transport is not None:
        request.transport.abort()
    return _as_response(request, error)


def _as_response(request: Request, error: Exception) -> Response:
    """Turn what a handler raised into a response; what is no failure of a request goes on."""
    if isinstance(error, RequestError):
        if isinstance(error, UnauthorizedError):  # lets a browser ask for the token
            headers = {"WWW-Authenticate": 'Basic realm="seamless-database"'}
            return web.Response(status=error.status, text=f"ERROR: {error}", headers=headers)
        return failure(request, error.status, str(error))
    if isinstance(error, web.HTTPException):
        if isinstance(error, web.HTTPMethodNotAllowed):
            headers = {"Allow": ", ".join(sorted(error.allowed_methods))}
            text = f"ERROR: {error.reason}"
            return web.Response(status=error.status, text=text, headers=headers)
        return failure(request, error.status, error.reason)
    if isinstance(error, sqlite3.Error):
        logger.error("the database file failed: %s", error)
        text = f"The database file failed: {error}"
        return failure(request, storage_status(error), text)
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
        logger.error("the system failed: %s", error)  # such as: too many open files
        return failure(request, 503, f"The system failed: {error}")
    if isinstance(error, ConnectionError):  # nobody will read it
        return failure(request, 400, "The connection was lost")
    raise error
