"""The life of a server: start, signals, inactivity, stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from aiohttp import web

from .app import build_server
from .database import Database
from .front import Activity
from .metrics import Metrics
from .ownership import owning
from .registry import Context
from .settings import Settings, bind
from .status import StatusFile

logger = logging.getLogger(__name__)

GARBAGE = (5_000, 20, 20)
"""After how many new objects, and how many smaller looks, garbage is looked for."""

STOP_SECONDS = 4.0
"""How long requests that have begun may take to finish when the server stops."""


def run(settings: Settings, status: StatusFile | None = None) -> None:
    """Run a server until a signal or inactivity stops it.

    Parameters
    ----------
    settings : Settings
    status : StatusFile, optional
        Told when the server answers.

    Raises
    ------
    StartupError
        The file or the port cannot be had; nothing is left behind.
    """
    with contextlib.ExitStack() as stack:
        if settings.writable:
            stack.enter_context(owning(settings.file))
        listener = stack.enter_context(bind(settings.host, settings.ports))
        tls = settings.tls_context()
        metrics = Metrics()
        database = Database(settings.file, writable=settings.writable, committed=metrics.committed)
        context = Context(database, settings.buffers, metrics=metrics)
        _run(_serve(settings, context, listener, tls, status))


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop where that is installed: it answers a fifth more requests.

    What the program consists of is not looked through for garbage any more, and the rest less
    often: that is 3 % of a lookup.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


async def _serve(
    settings: Settings,
    context: Context,
    listener: socket.socket,
    tls: ssl.SSLContext | None,
    status: StatusFile | None,
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    activity = Activity()
    async with _listening(settings, context, listener, tls, activity):
        port = listener.getsockname()[1]
        if status is not None:
            status.running(port)
        _announce(settings, port)
        await _until_stopped(stop, activity, settings.timeout)
    logger.info("stopped")


@contextlib.asynccontextmanager
async def _listening(
    settings: Settings,
    context: Context,
    listener: socket.socket,
    tls: ssl.SSLContext | None,
    activity: Activity,
) -> AsyncIterator[None]:
    server = build_server(
        context,
        writable=settings.writable,
        access=settings.access,
        max_body=settings.max_body,
        max_upload=settings.max_upload,
        patience=settings.patience,
        activity=activity,
        log_requests=settings.log_requests,
    )
    runner = web.ServerRunner(server, shutdown_timeout=0.2)
    await runner.setup()
    site = web.SockSite(runner, listener, ssl_context=tls)
    try:
        await site.start()
        yield
        # aiohttp's own shutdown drops what is still on its way of a request that has begun.
        await site.stop()
        context.promises.close()
        await activity.finish(STOP_SECONDS)
    finally:
        await runner.cleanup()
        await context.database.close()


async def _until_stopped(stop: asyncio.Event, activity: Activity, timeout: float | None) -> None:
    while timeout is None or activity.idle_seconds < timeout:
        rest = None if timeout is None else max(timeout - activity.idle_seconds, 0.01)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stop.wait(), rest)
            return
    logger.info("no request for %g seconds", timeout)


def _announce(settings: Settings, port: int) -> None:
    mode = "writable" if settings.writable else "read-only"
    scheme = "http" if settings.tls is None else "https"
    logger.info(
        "serving %s (%s) on %s://%s:%d",
        *(settings.file, mode, scheme, settings.host, port),
        extra={"file": str(settings.file), "mode": mode, "host": settings.host, "port": port},
    )
    if settings.is_open_to_strangers:
        logger.warning(
            "ANYBODY who reaches %s:%d can write to this database, and so run code on the clusters "
            "that use it. Give --token-file, or --host 127.0.0.1.",
            settings.host,
            port,
        )
