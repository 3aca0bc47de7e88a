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
- ``"costs": {code: [runs, seconds, nbytes, loads, load_seconds]}``, which are added;
- ``"touch": [hex, ...]``: results that were used now. The answer then has ``"touched"``: how many
  of them are known.

Long answers come in parts, and no request may bring more than a million of anything
(`protocol.MAX_ROWS`).

Everything here runs in threads beside the event loop; nothing here knows HTTP or SQL.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import os
import sqlite3
import stat
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson

from . import batch_tables
from .database import LONG_READERS, Database
from .metrics import Metrics

CHUNK = 8192
"""Lookups per statement: short enough to let others in between, long enough to be cheap."""

CONTENT = 1024 * 1024
"""Bytes of contents after which a part of an answer ends."""

T = TypeVar("T")


async def look_up(
    database: Database,
    folder: Path | None,
    transformations: Sequence[str],
    inline: bool,
    metrics: Metrics,
) -> AsyncGenerator[bytes, None]:
    """Answer many lookups, part by part, so that the answer is never in memory as a whole.

    Parameters
    ----------
    database : Database
    folder : Path, optional
        Folder of large buffers, laid out as ``hh/<hex>``. Without it, the presence of what is not
        in the database is unknown.
    transformations : sequence of str
    inline : bool
        Whether the contents of small results are wanted.
    metrics : Metrics
        Told of hits and misses.

    Yields
    ------
    bytes
        The inside of a JSON object, without its braces: members with a comma between any two.
    """
    # Neighbours in the index are searched one after the other: half the time for a large file.
    keys = await asyncio.to_thread(sorted, transformations)
    hits, between = 0, b""

    def read(some: Sequence[str]) -> Coroutine[Any, Any, _Part]:
        return database.read_long(partial(_look_up_part, some, inline, folder))

    async with contextlib.aclosing(_ahead(map(read, _chunks(keys)))) as parts:
        async for part in parts:
            while True:
                if part.text:
                    yield between + part.text
                    between = b","
                hits += part.hits
                if not part.rest:
                    break
                part = await read(part.rest)
    metrics.looked_up(hits, len(keys) - hits)


async def _ahead(reads: Iterator[Coroutine[Any, Any, T]]) -> AsyncGenerator[T, None]:
    """Give the results of reads in order, while the next ones are under way."""
    begun: deque[asyncio.Task[T]] = deque()
    try:
        for read in reads:
            begun.append(asyncio.ensure_future(read))
            if len(begun) > LONG_READERS:
                yield await begun.popleft()
        while begun:
            yield await begun.popleft()
    finally:
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))


class _Part(NamedTuple):
    """What one read gave."""

    text: bytes
    """JSON without the braces."""
    hits: int
    rest: Sequence[str]
    """Keys that are not looked up yet, as the contents grew too large."""


def _look_up_part(
    keys: Sequence[str], inline: bool, folder: Path | None, connection: sqlite3.Connection
) -> _Part:
    place = None if folder is None else str(folder)
    answers: dict[str, dict[str, Any]] = {}
    nbytes, rest = 0, keys[:0]
    for row in batch_tables.look_up(connection, keys, inline):
        answers[row[0]] = _answer(row, place)
        nbytes += len(row[2] or b"")
        if nbytes > CONTENT:
            rest = keys[bisect_right(keys, row[0]) :]
            break
    return _Part(orjson.dumps(answers)[1:-1], len(answers), rest)


def _answer(row: tuple[Any, ...], folder: str | None) -> dict[str, Any]:
    _, result, content, stored, seconds, nbytes, created, files = row
    answer = {
        "result": result,
        "content": base64_text(content),
        "present": True if stored else is_present(folder, result),
        "seconds": seconds,
        "nbytes": nbytes,
        "created": created,
    }
    if files is not None:
        answer["files"] = orjson.Fragment(files)
    return answer


def base64_text(content: bytes | None) -> str | None:
    """Write a content as JSON has it; None where there is none. An empty one is a content."""
    return None if content is None else binascii.b2a_base64(content, newline=False).decode()


def is_present(folder: str | None, checksum: str) -> bool | None:
    """Tell whether a folder holds a large buffer; None when there is no folder to look into.

    Strings instead of `Path`, which would take most of the time of a lookup.
    """
    return None if folder is None else length_in(folder, checksum) is not None


def length_in(folder: str, checksum: str) -> int | None:
    """Give the length of a large buffer in bytes; None where it is not, or is no file."""
    try:
        state = os.stat(f"{folder}/{checksum[:2]}/{checksum}")  # noqa: PTH116  (see above)
    except OSError:
        return None
    return state.st_size if stat.S_ISREG(state.st_mode) else None
