"""The batch request: thousands of lookups or write-backs in one body.

``GET {"type": "batch", "transformations": [hex, ...], "inline": true}`` answers
``{"results": {transformation: {"result", "content", "present", "seconds", "nbytes", "created"}}}``,
where only known transformations appear; ``content`` is base64 or null. Where it is on record which
files the computation read, there is ``"files": {path: state}`` too, and the result counts only
while they are so. With ``"codes": [hex, ...]`` the answer has ``"costs": {code: [runs, seconds,
nbytes, loads, load_seconds]}`` beside the results: sums over what each known code took so far.
Where an audit found some of the transformations, or of those in ``"inputs": [hex, ...]``, to give
different results, there is ``"irreproducible": [hex, ...]``; no result of theirs counts.

``PUT {"type": "batch", "store": [item, ...], "forget": [hex, ...], "recipes": [{"function",
"content"}, ...], "notes": {hex: object}}`` answers ``{"stored", "existing", "diverged",
"forgotten"}``. It is one transaction: one bad item refuses all. What it may bring is checked in
``writing``; further parts are

- ``"cutoffs": [[skeleton, checksum, result, nbytes, seconds], ...]``; the first result stays, and a
  different one makes the cutoff uncertain for ever. A cutoff may name its transformation as a sixth
  part: when that is irreproducible or has another result in force, the cutoff is uncertain too;
- ``"costs": {code: [runs, seconds, nbytes, loads, load_seconds]}``, which are added.

Everything here runs in threads beside the event loop; nothing here knows HTTP or SQL.
"""

from __future__ import annotations

import asyncio
import binascii
import os
import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from . import batch_tables
from .database import Database

CHUNK = 8192
"""Lookups per statement: short enough to let others in between, long enough to be cheap."""


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
    rows = batch_tables.look_up(connection, keys, inline)
    answers: dict[str, dict[str, Any]] = {
        transformation: {
            "result": result,
            "content": base64_text(content),
            "present": True if stored else is_present(folder, result),
            "seconds": seconds,
            "nbytes": nbytes,
            "created": created,
        }
        for transformation, result, content, stored, seconds, nbytes, created, _ in rows
    }
    for row in rows:
        if row[-1] is not None:
            answers[row[0]]["files"] = orjson.Fragment(row[-1])
    return orjson.dumps(answers)


def base64_text(content: bytes | None) -> str | None:
    """Write a content as JSON has it; None where there is none. An empty one is a content."""
    return None if content is None else binascii.b2a_base64(content, newline=False).decode()


def is_present(folder: str | None, checksum: str) -> bool | None:
    """Tell whether a folder holds a large buffer; None when there is no folder to look into.

    Strings instead of `Path`, which would take most of the time of a lookup.
    """
    return None if folder is None else os.access(f"{folder}/{checksum[:2]}/{checksum}", os.R_OK)
