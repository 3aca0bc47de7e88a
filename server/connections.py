"""Connections that slow clients cannot keep: what a client must do within which time.

============================  =====================================================================
sends nothing at all          `IDLE_SECONDS`, also between two requests, and behind one
sends the head of a request   the *patience*, from the first byte on
sends the body                the patience, and a second more for every `SLOWEST` bytes (`bodies`)
takes the answer              the patience, for each piece of it that fits into the system's buffers
============================  =====================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from aiohttp import web

from .metrics import Metrics

IDLE_SECONDS = 75.0
"""How long a connection may stay open without a request."""

LINGERING_SECONDS = 2.0
"""How long a client whose request was refused may go on sending it, so that it reads why."""

_NOTHING, _CAME, _SEEN = range(3)
"""What there is of bytes that no request has used yet; the last one: since the last round."""

UNSENT_BYTES = 64 * 1024
"""How much of an answer may wait in the system's buffer of a connection."""


class Connection(web.RequestHandler):
    """One connection of a client.

    Parameters
    ----------
    manager, loop, settings
        As for `aiohttp.web.RequestHandler`.
    patience : float
        Seconds.
    """

    def __init__(
        self,
        manager: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        patience: float,
        **settings: Any,
    ):
        super().__init__(manager, loop=loop, **settings)
        self.loop = loop
        """The event loop."""
        self._patience = patience
        self._is_answering = False
        self._unused = _NOTHING
        self._is_simple = True  # every request so far came in one piece
        self._head: asyncio.TimerHandle | None = None
        self._answer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Say that the head of a request is there."""
        self._is_answering = True

    def end(self) -> None:
        """Say that a request was answered."""
        self._is_answering, self._unused = False, _NOTHING

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to look after the connection."""
        super().connection_made(transport)
        _keep_little_in_the_system(transport)
        self._look_later()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Look after it no more."""
        for timer in (self._head, self._answer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note when something came."""
        if self._unused is _NOTHING:
            self._unused = _CAME
        elif data:
            self._is_simple = False
        super().data_received(data)

    def comes_in_parts(self) -> None:
        """Say that the body of a request is still on its way."""
        self._is_simple = False

    def pause_reading(self) -> None:
        """Take no more until the body that comes was read."""
        self._is_simple = False
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on where there can be something to go on with.

        aiohttp's parser is asked to for every body that was read, which takes a tenth of a lookup.
        It has more to give if it was paused, or if many requests came at once; and it takes
        requests whose body came later for more than there are.
        """
        if self._is_simple:
            return
        if resume_parser:
            super().resume_reading()  # releases of aiohttp before 3.14 know no other way
        else:
            super().resume_reading(resume_parser)

    def pause_writing(self) -> None:
        """Give the client some time to take what waits for it."""
        super().pause_writing()
        self._answer = self.loop.call_later(self._patience, self._give_up)

    def resume_writing(self) -> None:
        """Go on: the client takes its answer."""
        super().resume_writing()
        if self._answer is not None:
            self._answer.cancel()

    def _look_later(self) -> None:
        self._head = self.loop.call_later(self._patience, self._look)

    def _look(self) -> None:
        # One timer for each connection, not one for each request: a head has up to two rounds.
        if self._is_answering or self._unused is _NOTHING:
            self._look_later()
        elif self._unused is _CAME:
            self._unused = _SEEN
            self._look_later()
        else:
            self._give_up()

    def _give_up(self) -> None:
        if self.transport is not None:
            self.transport.abort()


def _keep_little_in_the_system(transport: asyncio.BaseTransport) -> None:
    """Let the system take no more than it can soon send.

    It would take megabytes, and the transport stay paused until a third of them is gone: a slow
    client that takes its answer could not be told from one that does not.
    """
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    plain = transport.get_extra_info("socket")
    if plain is not None and option is not None:
        with contextlib.suppress(OSError):
            plain.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)


class Server(web.Server):
    """Makes connections; see `aiohttp.web.Server`.

    Parameters
    ----------
    handler, settings
        As for `aiohttp.web.Server`.
    patience : float
        Seconds.
    metrics : Metrics
        Told how many connections are open.
    """

    def __init__(self, handler: Any, *, patience: float, metrics: Metrics, **settings: Any):
        # Who decodes bodies here does so within limits; aiohttp does so as they come.
        super().__init__(
            handler,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGERING_SECONDS,
            auto_decompress=False,
            **settings,
        )
        self._patience = patience
        self._metrics = metrics

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Count a connection."""
        super().connection_made(handler, transport)
        self._metrics.connections += 1

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        """Count one less."""
        super().connection_lost(handler, exc)
        self._metrics.connections -= 1

    def __call__(self) -> web.RequestHandler:
        """Make what speaks HTTP on a new connection."""
        return Connection(self, loop=self._loop, patience=self._patience, **self._kwargs)
