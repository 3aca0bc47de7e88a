"""What every handler is made of, and how handlers are found.

A handler takes the context and the fields of a request, and returns an `Answer`; whatever goes
wrong is raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import orjson

from .buffers import Buffers
from .database import Database
from .leases import Leases
from .metrics import Metrics
from .promises import Promises
from .protocol import Fields

Answer = str | bytes | AsyncGenerator[bytes, None] | None
"""A text; JSON, whole or in parts; None for an unknown key."""


@dataclass(frozen=True)
class Context:
    """What handlers work on.

    Parameters
    ----------
    database : Database
    folder : Path or None
        Folder of large buffers.
    leases : Leases
        Who computes what at this moment.
    promises : Promises
        Which buffers will come.
    metrics : Metrics
    """

    database: Database
    folder: Path | None
    leases: Leases = field(default_factory=Leases)
    promises: Promises = field(default_factory=Promises)
    metrics: Metrics = field(default_factory=Metrics)

    @cached_property
    def buffers(self) -> Buffers:
        """Where buffers are."""
        return Buffers(self.database, self.folder)


Handler = Callable[[Context, Fields], Awaitable[Answer]]

Handlers = dict[tuple[str, str], Handler]
"""HTTP method and type of a request -> its handler."""


def registering(handlers: Handlers) -> Callable[[str, str], Callable[[Handler], Handler]]:
    """Make a decorator that enters a handler under its method and type."""

    def handles(method: str, type_: str) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            handlers[method, type_] = handler
            return handler

        return register

    return handles


async def required_checksums(fields: Fields, name: str) -> list[str]:
    """Give a list of checksums that must be there, however long."""
    if not fields.has(name):
        raise fields.refuse(f"{name} must be a list of checksums")
    return await asyncio.to_thread(fields.checksums, name)


def as_json(value: object) -> bytes | None:
    """Encode what was found; None stays None, an unknown key."""
    return None if value is None else orjson.dumps(value)
