"""Where every request comes in, and every answer goes out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from .access import Access
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


Responder = Callable[[Request], Awaitable[web.StreamResponse]]

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

    async def answer(self, request: Request) -> web.StreamResponse:
        """Answer a request."""
        started, connection = time.perf_counter(), request.protocol
        if isinstance(connection, Connection):
            connection.begin()
        with self._activity:
            response = await self._response(request)
            if self._activity.is_stopping:
                response.force_close()
            # Here, and not by aiohttp afterwards: a server that stops waits for it.
            with contextlib.suppress(ConnectionError):  # the client went away
                await response.prepare(request)
                await response.write_eof()
        if isinstance(connection, Connection):
            connection.end()
        self._note(request, response.status, time.perf_counter() - started)
        return response

    async def _response(self, request: Request) -> web.StreamResponse:
        try:
            return await self._routed(request)
        except Exception as error:
            if request.writer.output_size == 0:
                return _as_response(error)
            if not isinstance(error, ConnectionError):
                logger.error("an answer was broken off: %s", error)
            # The client must not take what it has for a whole answer.
            if request.transport is not None:
                request.transport.abort()
            return _as_response(error)

    async def _routed(self, request: Request) -> web.StreamResponse:
        if isinstance(request, Malformed):
            raise MalformedError("Malformed request: its URL makes no sense")
        method, path = request.method, request.path
        if self._access is not None and path != HEALTHCHECK:
            given = request.headers.get("Authorization")
            self._access.check(given, writes=method not in ("GET", "HEAD"))
        return await self._find(method, path)(request)

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
    request: Request, response: web.StreamResponse, parts: AsyncIterator[bytes]
) -> web.StreamResponse:
    """Send a body in parts; what fails before the first one becomes a response of its own."""
    async for part in parts:
        if not response.prepared:
            await response.prepare(request)
        await response.write(part)
    return response


def failure(status: int, text: str) -> web.Response:
    """Make the response of a request that failed."""
    return web.Response(status=status, text=f"ERROR: {text}")


def _as_response(error: Exception) -> web.Response:
    """Turn what a handler raised into a response; what is no failure of a request goes on."""
    if isinstance(error, RequestError):
        response = failure(error.status, str(error))
        if isinstance(error, UnauthorizedError):  # lets a browser ask for the token
            response.headers["WWW-Authenticate"] = 'Basic realm="seamless-database"'
        return response
    if isinstance(error, web.HTTPException):
        response = failure(error.status, error.reason)
        if isinstance(error, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return response
    if isinstance(error, sqlite3.Error):
        logger.error("the database file failed: %s", error)
        return failure(storage_status(error), f"The database file failed: {error}")
    if isinstance(error, ConnectionError):  # nobody will read it
        return failure(400, "The connection was lost")
    raise error
