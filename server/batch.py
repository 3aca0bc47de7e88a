"""The batch request: thousands of lookups or write-backs in one body.

``GET {"type": "batch", "transformations": [hex, ...], "inline": true}`` answers
``{"results": {transformation: {"result", "content", "present", "seconds", "nbytes", "created"}}}``,
where only known transformations appear; ``content`` is base64 or null.

``PUT {"type": "batch", "store": [item, ...], "forget": [hex, ...]}`` answers
``{"stored", "existing", "diverged", "forgotten"}``. It is one transaction: one bad item
refuses all.

Everything here runs in threads beside the event loop; nothing here knows HTTP or SQL.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from . import cache_tables
from .cache_tables import Item
from .database import Database
from .protocol import Fields, encode, execution_record

CHUNK = 8192
"""Lookups per statement: short enough to let others in between, long enough to be cheap."""


def parse_items(fields: Fields) -> tuple[list[Item], list[str]]:
    """Check the write-backs of a batch: what to store and what to forget.

    Raises
    ------
    MalformedError
        Names the item, such as ``store[3]``; also when a recipe or a content does not have the
        checksum that names it.
    """
    items = [
        parse_item(Fields(value, f"{fields.what}, store[{index}]"))
        for index, value in enumerate(fields.items("store"))
    ]
    return items, fields.checksums("forget")


def parse_item(fields: Fields) -> Item:
    """Check one write-back."""
    transformation, result = fields.checksum("transformation"), fields.checksum("result")
    return Item(
        transformation=transformation,
        result=result,
        record=_record(fields, transformation, result),
        recipe=_recipe(fields, transformation),
        content=parse_content(fields, "content", result) if fields.has("content") else None,
        entry=_entry(fields),
    )


def parse_content(fields: Fields, name: str, checksum: str) -> bytes:
    """Give the bytes of a base64 field, which must have the checksum that names them."""
    try:
        content = base64.b64decode(fields.text(name), validate=True)
    except (binascii.Error, ValueError):
        raise fields.refuse(f"{name} must be base64") from None
    return verified(fields, name, content, checksum)


def verified(fields: Fields, name: str, content: bytes, checksum: str) -> bytes:
    """Give the content, which must have this checksum."""
    if hashlib.sha256(content).hexdigest() != checksum:
        raise fields.refuse(f"{name} does not have the checksum {checksum}")
    return content


def _recipe(fields: Fields, transformation: str) -> bytes | None:
    recipe = fields.text_or_none("recipe")
    if recipe is None:
        return None
    return verified(fields, "recipe", recipe.encode(), transformation)


def _record(fields: Fields, transformation: str, result: str) -> str | None:
    if not fields.has("record"):
        return None
    record = fields.mapping("record")
    problem = execution_record(record, transformation, result)
    if problem:
        raise fields.refuse(f"record: {problem}")
    return encode(record, f"Malformed {fields.what}: record")


def _entry(fields: Fields) -> tuple[Any, ...] | None:
    if not fields.has("entry"):
        return None
    entry = Fields(fields.get("entry"), f"{fields.what}.entry")
    created = entry.number("created")
    return (
        entry.text_or_none("function"),
        entry.text_or_none("key_prefix"),
        entry.number("seconds"),
        entry.count("nbytes", None),
        time.time() if created is None else created,
        entry.text_or_none("format"),
    )


async def look_up(
    database: Database, buffers: Path | None, transformations: list[str], inline: bool
) -> bytes:
    """Answer many lookups.

    Parameters
    ----------
    database : Database
    buffers : Path, optional
        Folder of large buffers, laid out as ``hh/<hex>``. Without it, the presence of what is not
        in the database is unknown.
    transformations : list of str
    inline : bool
        Whether the contents of small results are wanted.

    Returns
    -------
    bytes
        JSON.
    """
    # Neighbours in the index are searched one after the other: half the time for a large file.
    keys = await asyncio.to_thread(sorted, transformations)
    parts = await asyncio.gather(
        *(
            database.read_long(partial(_look_up_part, part, inline, buffers))
            for part in _chunks(keys)
        )
    )
    # Each part is a JSON object already; without their braces they make one large object.
    return b'{"results":{' + b",".join(part[1:-1] for part in parts if len(part) > 2) + b"}}"


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))


def _look_up_part(
    keys: Sequence[str], inline: bool, buffers: Path | None, connection: sqlite3.Connection
) -> bytes:
    folder = None if buffers is None else str(buffers)
    rows = cache_tables.look_up(connection, keys, inline)
    return orjson.dumps(
        {
            transformation: {
                "result": result,
                "content": content and binascii.b2a_base64(content, newline=False).decode(),
                "present": True if stored else is_present(folder, result),
                "seconds": seconds,
                "nbytes": nbytes,
                "created": created,
            }
            for transformation, result, content, stored, seconds, nbytes, created in rows
        }
    )


def is_present(folder: str | None, checksum: str) -> bool | None:
    """Tell whether a folder holds a large buffer; None when there is no folder to look into.

    Strings instead of `Path`, which would take most of the time of a lookup.
    """
    return None if folder is None else os.access(f"{folder}/{checksum[:2]}/{checksum}", os.R_OK)
