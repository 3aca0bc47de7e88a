"""What every handler is made of, and how handlers are found.

A handler takes the context and the fields of a request, and returns a text, or bytes that are JSON,
or None for an unknown key; whatever goes wrong is raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from .database import Database
from .leases import Leases
from .protocol import Fields

Answer = str | bytes | None


@dataclass(frozen=True)
class Context:
    """What handlers work on.

    Parameters
    ----------
    database : Database
    buffers : Path or None
        Folder of large buffers, to tell which are there.
    leases : Leases
        Who computes what at this moment.
    """

    database: Database
    buffers: Path | None
    leases: Leases = field(default_factory=Leases)


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
