"""One small handler for every type of request that is ours, but for leases."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from functools import partial
from sqlite3 import Connection

import orjson

from . import (
    batch,
    batch_tables,
    cache_tables,
    cost_tables,
    cutoffs,
    recipe_tables,
    tables,
    writing,
)
from .protocol import Fields
from .registry import Answer, Context, Handlers, as_json, registering, required_checksums

MAX_ENTRIES = 100_000

MAX_DOCUMENTS = 1_000
"""Recipes or notes in one answer."""

HANDLERS: Handlers = {}

_handles = registering(HANDLERS)


@_handles("GET", "batch")
async def get_batch(context: Context, fields: Fields) -> Answer:
    """Answer many lookups at once."""
    wanted = await required_checksums(fields, "transformations")
    inline, codes = fields.flag("inline", True), fields.checksums("codes")
    inputs = await asyncio.to_thread(fields.checksums, "inputs")
    parts = _answer_to_batch(context, wanted, inline, codes, inputs)
    if len(wanted) > batch.CHUNK:
        return parts
    return b"".join([part async for part in parts])


async def _answer_to_batch(
    context: Context, wanted: list[str], inline: bool, codes: list[str], inputs: list[str]
) -> AsyncGenerator[bytes, None]:
    text = b'{"results":{'
    found = batch.look_up(context.database, context.folder, wanted, inline, context.metrics)
    async with contextlib.aclosing(found) as parts:
        async for part in parts:
            yield text + part
            text = b""
    text += b"}"
    # Last: what is contested while results are read counts.
    named = partial(tables.contested_among, checksums=[*wanted, *inputs])
    contested = await context.database.read_long(named)
    if contested:
        text += b',"irreproducible":' + orjson.dumps(contested)
    if codes:
        costs = await context.database.read_long(partial(cost_tables.costs_of, codes=codes))
        text += b',"costs":' + orjson.dumps(costs)
    yield text + b"}"


@_handles("PUT", "batch")
async def put_batch(context: Context, fields: Fields) -> Answer:
    """Write many results back, or forget them, in one transaction."""
    parsed = await asyncio.to_thread(writing.parse_batch, fields)
    report = await context.database.write(partial(batch_tables.store_batch, batch=parsed))
    context.leases.end(item.transformation for item in parsed.items)
    answer = report._asdict()
    if not fields.has("touch"):
        del answer["touched"]  # older clients take no more than they know
    return as_json(answer)


@_handles("GET", "cutoffs")
async def get_cutoffs(context: Context, fields: Fields) -> Answer:
    """Give the results of computations that differ in the contents of their inputs only."""
    wanted = await required_checksums(fields, "skeletons")
    inline = fields.flag("inline", True)
    limit = fields.count("limit", cutoffs.MAX_OF_SKELETON, cutoffs.MAX_OF_SKELETON) or 0
    return await cutoffs.look_up(context.database, context.folder, wanted, inline, limit)


@_handles("GET", "divergences")
async def get_divergences(context: Context, fields: Fields) -> Answer:
    """List results that differ from the first one of their transformation, newest first."""
    limit = fields.count("limit", MAX_DOCUMENTS, MAX_ENTRIES) or 0
    return as_json(await context.database.read_long(partial(batch_tables.divergences, limit=limit)))


@_handles("GET", "recipes")
async def get_recipes(context: Context, fields: Fields) -> Answer:
    """List the recipes of a function, or those with some checksums, newest first."""
    return as_json(await context.database.read_long(_recipes_asked_for(fields)))


def _recipes_asked_for(fields: Fields) -> Callable[[Connection], object]:
    if fields.has("checksums"):
        if fields.has("function"):
            raise fields.refuse("either function or checksums, not both")
        wanted = fields.checksums("checksums", most=MAX_DOCUMENTS)
        return partial(recipe_tables.recipes_named, checksums=wanted)
    return partial(
        recipe_tables.recipes_of,
        function=fields.text_or_none("function"),
        limit=fields.count("limit", 50, MAX_DOCUMENTS) or 0,
    )


@_handles("GET", "notes")
async def get_notes(context: Context, fields: Fields) -> Answer:
    """Give what is noted about some checksums."""
    wanted = fields.checksums("checksums", most=MAX_DOCUMENTS)
    found = await context.database.read_long(partial(recipe_tables.notes, checksums=wanted))
    return as_json({name: orjson.Fragment(document) for name, document in found.items()})


@_handles("GET", "buffer")
async def get_buffer(context: Context, fields: Fields) -> Answer:
    """Give the content of a small buffer, in base64."""
    content = await context.database.read(cache_tables.buffer_content, fields.checksum())
    return as_json(batch.base64_text(content))


@_handles("PUT", "buffer")
async def put_buffer(context: Context, fields: Fields) -> Answer:
    """Keep a small buffer, which must have the checksum that names it."""
    checksum = fields.checksum()
    content = await asyncio.to_thread(writing.parse_content, fields, "value", checksum)
    await context.database.write(partial(cache_tables.put_buffers, buffers=[(checksum, content)]))
    return "OK"


@_handles("GET", "entries")
async def get_entries(context: Context, fields: Fields) -> Answer:
    """List cache entries, newest first."""
    work = partial(
        cache_tables.entries,
        prefix=fields.text_or_none("prefix"),
        limit=fields.count("limit", 100, MAX_ENTRIES) or 0,
        offset=fields.count("offset", 0) or 0,
    )
    return as_json(await context.database.read_long(work))


@_handles("GET", "summary")
async def get_summary(context: Context, fields: Fields) -> Answer:
    """Count rows and bytes."""
    return as_json(await context.database.read_long(cache_tables.summary))
