"""The answer to ``GET {"type": "cutoffs", "skeletons": [hex, ...], "inline": true, "limit": n}``.

It is ``{skeleton: {checksum: [result, content, present, nbytes, seconds]}}``, where only what is
known and certain appears; ``content`` is base64 or null, ``present`` as in batches. No skeleton
gives more than ``limit`` rows, and all of them no more than `MAX_ROWS` and `MAX_CONTENT`: those
that are asked for first come first.

Everything here runs in threads beside the event loop, a part at a time, so that other requests get
in between; nothing here knows HTTP or SQL.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from .batch import CHUNK, base64_text, is_present
from .cutoff_tables import cutoffs_of
from .database import Database
from .tables import Row

MAX_OF_SKELETON = 20_000
"""Rows of one skeleton in an answer."""

MAX_ROWS = 100_000
"""Rows in an answer."""

MAX_CONTENT = 64 * 1024 * 1024
"""Bytes of contents in an answer; the row that goes beyond is the last."""


async def look_up(
    database: Database, buffers: Path | None, skeletons: Iterable[str], inline: bool, limit: int
) -> bytes:
    """Answer with what is known about some skeletons.

    Parameters
    ----------
    database : Database
    buffers : Path, optional
        Folder of large buffers, as for batches.
    skeletons : iterable of str
    inline : bool
        Whether the contents of small results are wanted.
    limit : int
        Rows of one skeleton.

    Returns
    -------
    bytes
        JSON.
    """
    reading = _Reading(buffers, skeletons, inline, limit)
    while reading.goes_on:
        await database.read_long(reading.read_part)
    return reading.answer()


class _Reading:
    """Where one answer has got to; used by one thread at a time."""

    def __init__(self, buffers: Path | None, skeletons: Iterable[str], inline: bool, limit: int):
        self._folder = None if buffers is None else str(buffers)
        self._inline = inline
        self._limit = limit
        self._waiting = deque(dict.fromkeys(skeletons))
        self._after = b""  # of the first of these, what was read up to this checksum
        self._rest_of_first = limit
        self._rows = MAX_ROWS
        self._content = MAX_CONTENT
        self._found: dict[str, list[bytes]] = {}

    @property
    def goes_on(self) -> bool:
        return bool(self._waiting) and self._rows > 0 and self._content >= 0

    def answer(self) -> bytes:
        """Join the parts, which are the insides of JSON objects."""
        skeletons = (
            b'"%s":{%s}' % (skeleton.encode(), b",".join(parts))
            for skeleton, parts in self._found.items()
        )
        return b"{" + b",".join(skeletons) + b"}"

    def read_part(self, connection: sqlite3.Connection) -> None:
        effort = CHUNK
        while effort > 0 and self.goes_on:
            skeleton = self._waiting[0]
            wanted = min(effort, self._rest_of_first, self._rows)
            rows = self._read_some(connection, skeleton, wanted)
            effort -= len(rows) + 1
            if rows:
                part = orjson.dumps({row[0].hex(): self._answer_of(row) for row in rows})
                self._found.setdefault(skeleton, []).append(part[1:-1])
            if len(rows) < wanted or len(rows) == self._rest_of_first:
                self._turn_to_next()
            else:
                self._after = rows[-1][0]
                self._rest_of_first -= len(rows)

    def _turn_to_next(self) -> None:
        self._waiting.popleft()
        self._after, self._rest_of_first = b"", self._limit

    def _read_some(self, connection: sqlite3.Connection, skeleton: str, wanted: int) -> list[Row]:
        name = bytes.fromhex(skeleton)
        found = cutoffs_of(connection, name, self._after, wanted, self._inline)
        rows = list(self._while_there_is_room(found))
        self._rows -= len(rows)
        return rows

    def _while_there_is_room(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            self._content -= len(row[2] or b"")
            yield row
            if self._content < 0:
                return

    def _answer_of(self, row: Row) -> tuple[object, ...]:
        _, result, content, stored, nbytes, seconds = row
        return (
            result,
            base64_text(content),
            True if stored else is_present(self._folder, result),
            nbytes,
            seconds,
        )
