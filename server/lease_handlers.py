"""The requests about leases: single flight between clusters.

``PUT {"type": "leases", "holder": text, "acquire": [hex, ...], "release": [hex, ...],
"seconds": S}`` answers ``{"granted": [hex, ...], "known": {hex: result}, "held": {hex: seconds
left}}``: what the holder may compute now, what has a result already, and what another one computes.
A transformation in none of them finds the server full of leases.

``PUT {"type": "leases", "holder": text, "renew": true, "seconds": S}`` answers ``{"renewed": n}``,
with ``"release_all": true`` instead ``{"released": n}``.

``GET {"type": "leases", "transformations": [hex, ...]}`` answers ``{"known", "held"}``; in neither
of them is what is free.

Storing a result ends its lease: see ``put_batch`` and the handlers of single results.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from sqlite3 import Connection
from typing import Any

from . import tables
from .batch import CHUNK
from .protocol import Fields
from .registry import Answer, Context, Handlers, as_json, registering, required_checksums

MAX_HOLDER_CHARACTERS = 256

SHORTEST, LONGEST = 1.0, 3600.0
"""Seconds that a lease lasts."""

HANDLERS: Handlers = {}

_handles = registering(HANDLERS)


@_handles("GET", "leases")
async def get_leases(context: Context, fields: Fields) -> Answer:
    """Tell which transformations have a result, and which are being computed."""
    wanted = await required_checksums(fields, "transformations")
    # Looked at first: who computed meanwhile has stored the result before the lease ended.
    held = context.leases.held(wanted)
    return as_json(await _known_and_held(context, wanted, held))


@_handles("PUT", "leases")
async def put_leases(context: Context, fields: Fields) -> Answer:
    """Acquire, renew or release leases."""
    holder = fields.text("holder", longest=MAX_HOLDER_CHARACTERS, empty=False)
    renew, release_all = fields.flag("renew", False), fields.flag("release_all", False)
    names = fields.has("acquire") or fields.has("release")
    if renew + release_all + names != 1:
        raise fields.refuse("one of acquire and release, renew, release_all is needed")
    if release_all:
        return as_json({"released": context.leases.release_all(holder)})
    if renew:
        return as_json({"renewed": context.leases.renew(holder, _seconds(fields))})
    return await _acquire(context, fields, holder)


async def _acquire(context: Context, fields: Fields, holder: str) -> Answer:
    wanted = await asyncio.to_thread(fields.checksums, "acquire")
    released = await asyncio.to_thread(fields.checksums, "release")
    seconds = _seconds(fields) if wanted else SHORTEST
    # No await from here to the look at the database: the request is one step among others.
    context.leases.release(holder, released)
    granted = context.leases.acquire(holder, wanted, seconds)
    held = context.leases.held(set(wanted).difference(granted))
    try:
        # Only now: a result that came before the grant is seen, one that comes later found the
        # transformation held by the one who brings it.
        answer = await _known_and_held(context, wanted, held)
    except BaseException:
        context.leases.release(holder, granted)
        raise
    context.leases.release(holder, answer["known"])
    return as_json({"granted": [name for name in granted if name not in answer["known"]], **answer})


async def _known_and_held(
    context: Context, wanted: list[str], held: dict[str, float]
) -> dict[str, dict[str, Any]]:
    reads = (
        context.database.read_long(partial(_results, wanted[start : start + CHUNK]))
        for start in range(0, len(wanted), CHUNK)
    )
    known = {name: result for part in await asyncio.gather(*reads) for name, result in part.items()}
    return {"known": known, "held": {name: held[name] for name in held.keys() - known.keys()}}


def _results(wanted: list[str], connection: Connection) -> Mapping[str, Any]:
    return tables.results_in_force(connection, wanted)


def _seconds(fields: Fields) -> float:
    seconds = fields.number("seconds")
    if seconds is None or not SHORTEST <= seconds <= LONGEST:
        raise fields.refuse(f"seconds must be a number from {SHORTEST:g} to {LONGEST:g}")
    return seconds
