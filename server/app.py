"""The HTTP side: which path takes what."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from yarl import URL

from seamless_dask_cache.json_text import read_json

from . import bodies, cache_handlers, handlers, lease_handlers
from .access import Access
from .answers import JSON, Response, answer
from .bodies import Limits
from .buffer_routes import BufferRoutes
from .connections import Connection, Server
from .failures import MalformedError, ReadOnlyError
from .front import HEALTHCHECK, Activity, Front, Malformed, Request, Responder, failure, stream
from .logs import HTTP_LOGGER
from .protocol import Fields
from .registry import Context, Handlers
from .settings import MAX_UPLOAD, PATIENCE
from .watching import Watching

HANDLERS: Handlers = {
    **handlers.HANDLERS,
    **cache_handlers.HANDLERS,
    **lease_handlers.HANDLERS,
}

LARGE_BODY = 256 * 1024
"""Bodies above this size are parsed beside the event loop."""


def build_server(
    context: Context,
    *,
    writable: bool,
    access: Access | None = None,
    max_body: int,
    max_upload: int = MAX_UPLOAD,
    patience: float = PATIENCE,
    activity: Activity | None = None,
    log_requests: bool = False,
) -> web.Server:
    """Build what answers requests.

    Parameters
    ----------
    context : Context
        What handlers work on.
    writable : bool
        Whether PUT requests are taken.
    access : Access, optional
        Who may do what; everybody everything by default. ``/healthcheck`` is open to all.
    max_body, max_upload : int
        Largest body of a request, and largest buffer, in bytes.
    patience : float
        Seconds for which a client may be silent or very slow in the midst of a request.
    activity : Activity, optional
        Told about every request.
    log_requests : bool
        Whether each request gets a line of the log.

    Notes
    -----
    A server of aiohttp's lower level: its applications, with a router and middlewares, take a third
    of the time of a lookup.
    """
    activity = activity or Activity()
    body, upload = Limits(max_body, patience), Limits(max_upload, patience)
    watching = Watching(context, activity, writable=writable)
    routes = _Routes(
        _Endpoint(context, body, watching.page).answer,
        BufferRoutes(context.buffers, context.promises, body, upload),
        watching.metrics,
        writable=writable,
    )
    front = Front(
        *(routes.find, activity, access or Access(), context.metrics), log_requests=log_requests
    )

    def request(message: Any, body: Any, protocol: Connection, writer: Any, task: Any) -> Request:
        loop = protocol.loop  # to ask asyncio is a system call: whether the process was forked
        try:
            return Request(message, body, protocol, writer, task, loop)
        except (ValueError, AttributeError):  # a host that cannot be one, or no URL at all
            message = message._replace(url=URL("/"), path="/")
            return Malformed(message, body, protocol, writer, task, loop)

    return Server(
        front.answer,
        patience=patience,
        metrics=context.metrics,
        request_factory=request,
        access_log=None,
        logger=HTTP_LOGGER,
    )


class _Routes:
    """Which path takes what."""

    def __init__(
        self, endpoint: Responder, buffers: BufferRoutes, metrics: Responder, *, writable: bool
    ):
        self._writable = writable
        self._buffers = buffers
        self._routes: dict[str, dict[str, Responder]] = {
            "/": {"GET": endpoint, "PUT": endpoint},
            HEALTHCHECK: {"GET": _healthcheck, "HEAD": _healthcheck},
            "/has": {"GET": buffers.has},
            "/has-now": {"GET": buffers.has_now},
            "/buffer-length": {"GET": buffers.length},
            "/metrics": {"GET": metrics},
        }

    def find(self, method: str, path: str) -> Responder:
        methods = self._routes.get(path) or self._buffers.methods(path)
        if methods is None:
            raise web.HTTPNotFound
        responder = methods.get(method)
        if responder is None:
            raise web.HTTPMethodNotAllowed(method, methods)
        if method == "PUT" and not self._writable:
            raise ReadOnlyError("Database server is read-only")
        return responder


async def _healthcheck(request: Request) -> Response:
    request.kind = "healthcheck"
    return answer(request, 200, b"OK")


class _Endpoint:
    """Answers ``GET /`` and ``PUT /``."""

    def __init__(self, context: Context, limits: Limits, page: Responder):
        self._context = context
        self._limits = limits
        self._page = page

    async def answer(self, request: Request) -> Response:
        body = bodies.at_hand(request, self._limits)
        if body is None:
            body = await bodies.read(request, self._limits)
        if not body and _is_from_browser(request):
            return await self._page(request)
        parsed = await asyncio.to_thread(_parse, body) if len(body) > LARGE_BODY else _parse(body)
        if not isinstance(parsed, dict):
            raise MalformedError("Malformed request: the body must be a JSON object")
        type_, method = parsed.get("type"), request.method
        handler = HANDLERS.get((method, type_)) if isinstance(type_, str) else None
        if handler is None:
            raise MalformedError("Malformed request: unknown type")
        request.kind = str(type_)
        found = await handler(self._context, Fields(parsed, f"{method} {type_} request"))
        if found is None:
            return failure(request, 404, "Unknown key")
        if isinstance(found, str):
            return answer(request, 200, found.encode())
        if isinstance(found, bytes):
            return answer(request, 200, found, JSON)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        return await stream(request, response, found)


def _is_from_browser(request: Request) -> bool:
    return request.method == "GET" and "text/html" in request.headers.get("Accept", "")


def _parse(body: bytes) -> object:
    try:
        return read_json(body)
    except ValueError as error:
        raise MalformedError(f"Malformed request: the body is not JSON ({error})") from None
