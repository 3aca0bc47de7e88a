"""SQL on our own tables: small buffers, cache entries, divergences, and batches over all tables."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from .tables import (
    Row,
    add_transformations,
    keys_as_json,
    one_by_one,
    remove_transformations,
    transformation_results,
)

ENTRY_COLUMNS = (
    "checksum", "result", "function", "key_prefix", "seconds", "nbytes", "created", "format",
)  # fmt: skip


class Item(NamedTuple):
    """One write-back, checked: the contents match the checksums that name them."""

    transformation: str
    result: str
    record: str | None
    """Execution record, as JSON."""
    recipe: bytes | None
    content: bytes | None
    """Content of the result's buffer."""
    entry: Row | None
    """Columns of ``cache_entry`` after the checksums."""


class StoreReport(NamedTuple):
    """What became of the items of a batch, and of what it asked to forget."""

    stored: int
    existing: int
    diverged: list[str]
    forgotten: int


def look_up(
    connection: sqlite3.Connection, transformations: Sequence[str], inline: bool
) -> list[Row]:
    """Look up many transformations in one statement.

    Returns
    -------
    list of tuple
        For each known one: transformation, result, content or None, whether the content is in this
        file, seconds, bytes, time of creation.
    """
    # CROSS JOIN keeps SQLite from turning the loop inside out: it knows no size for json_each.
    query = (
        "SELECT t.checksum, t.result, {content}, b.checksum IS NOT NULL,"
        " e.seconds, e.nbytes, e.created"
        " FROM json_each(?) AS wanted CROSS JOIN transformation AS t ON t.checksum = wanted.value"
        " LEFT JOIN buffer AS b ON b.checksum = t.result"
        " LEFT JOIN cache_entry AS e ON e.checksum = t.checksum AND e.result = t.result"
    ).format(content="b.content" if inline else "NULL")
    return connection.execute(query, (keys_as_json(transformations),)).fetchall()


def store_batch(
    connection: sqlite3.Connection, items: Sequence[Item], forget: Sequence[str]
) -> StoreReport:
    """Forget some transformations, then write back others; inside the caller's transaction.

    Parameters
    ----------
    connection : sqlite3.Connection
    items : sequence of Item
        The first result of a transformation stays; a different one is noted as a divergence, and so
        is any result of a transformation that was found irreproducible.
    forget : sequence of str
        Transformations.
    """
    forgotten = _forget(connection, forget)
    new, existing, diverged = _classify(connection, items)
    now = time.time()
    add_transformations(connection, [(item.transformation, item.result) for item in new])
    _write_details(connection, [*new, *existing])
    connection.executemany(
        "INSERT INTO divergence (checksum, result, created) VALUES (?, ?, ?)",
        [(item.transformation, item.result, now) for item in diverged],
    )
    names = list(dict.fromkeys(item.transformation for item in diverged))
    return StoreReport(len(new), len(existing), names, forgotten)


def _classify(
    connection: sqlite3.Connection, items: Sequence[Item]
) -> tuple[list[Item], list[Item], list[Item]]:
    wanted = list({item.transformation for item in items})
    known: dict[str, str | None] = {
        **transformation_results(connection, wanted),
        **dict.fromkeys(_irreproducible(connection, wanted)),
    }
    new, existing, diverged = [], [], []
    for item in items:
        if item.transformation not in known:
            known[item.transformation] = item.result
            new.append(item)
        elif known[item.transformation] == item.result:
            existing.append(item)
        else:
            diverged.append(item)
    return new, existing, diverged


def _irreproducible(connection: sqlite3.Connection, checksums: Sequence[str]) -> list[str]:
    query = (
        "SELECT DISTINCT checksum FROM irreproducible_transformation"
        " WHERE checksum IN (SELECT value FROM json_each(?))"
    )
    return [row[0] for row in connection.execute(query, (keys_as_json(checksums),))]


def _write_details(connection: sqlite3.Connection, items: Sequence[Item]) -> None:
    """Add what an item brings and the file lacks; a record or entry of another result is stale."""
    put_buffers(
        connection,
        [(i.transformation, i.recipe) for i in items if i.recipe is not None]
        + [(i.result, i.content) for i in items if i.content is not None],
    )
    connection.executemany(
        "INSERT INTO meta_data (checksum, result, metadata) VALUES (?, ?, ?)"
        " ON CONFLICT (checksum) DO UPDATE SET result = excluded.result,"
        " metadata = excluded.metadata WHERE result != excluded.result",
        [(i.transformation, i.result, i.record) for i in items if i.record is not None],
    )
    connection.executemany(
        "INSERT OR IGNORE INTO cache_entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(i.transformation, i.result, *i.entry) for i in items if i.entry is not None],
    )


def _forget(connection: sqlite3.Connection, checksums: Sequence[str]) -> int:
    known = transformation_results(connection, checksums)
    remove_transformations(connection, list(known.items()))
    connection.executemany("DELETE FROM buffer WHERE checksum = ?", [(c,) for c in known])
    connection.executemany(
        "DELETE FROM buffer WHERE checksum = ?1"
        " AND NOT EXISTS (SELECT 1 FROM transformation WHERE result = ?1)",
        [(result,) for result in set(known.values())],
    )
    return len(known)


def put_buffers(connection: sqlite3.Connection, buffers: Sequence[tuple[str, bytes]]) -> None:
    """Keep contents whose checksums are verified already."""
    connection.executemany(
        "INSERT OR IGNORE INTO buffer (checksum, content) VALUES (?, ?)", buffers
    )


@one_by_one
def buffer_content(connection: sqlite3.Connection, checksum: str) -> bytes | None:
    """Reader: checksum -> content of a small buffer."""
    row = connection.execute(
        "SELECT content FROM buffer WHERE checksum = ?", (checksum,)
    ).fetchone()
    return None if row is None else row[0]


def entries(
    connection: sqlite3.Connection, prefix: str | None, limit: int, offset: int
) -> list[dict[str, Any]]:
    """List cache entries, newest first.

    Parameters
    ----------
    connection : sqlite3.Connection
    prefix : str, optional
        Only those whose key prefix starts with this text.
    limit, offset : int
        How many, and how many to skip.
    """
    rows = connection.execute(
        "SELECT checksum, result, function, key_prefix, seconds, nbytes, created, format"
        " FROM cache_entry WHERE ?1 IS NULL OR substr(key_prefix, 1, length(?1)) = ?1"
        " ORDER BY created DESC, checksum LIMIT ?2 OFFSET ?3",
        (prefix, limit, offset),
    )
    return [dict(zip(ENTRY_COLUMNS, row, strict=True)) for row in rows]


_SUMMARY = {
    "transformations": "SELECT count(*) FROM transformation",
    "records": "SELECT count(*) FROM meta_data",
    "entries": "SELECT count(*) FROM cache_entry",
    "buffers": "SELECT count(*) FROM buffer",
    "buffer_bytes": "SELECT coalesce(sum(length(content)), 0) FROM buffer",
    "result_bytes": "SELECT coalesce(sum(nbytes), 0) FROM cache_entry",
    "seconds": "SELECT coalesce(sum(seconds), 0.0) FROM cache_entry",
    "divergences": "SELECT count(*) FROM divergence",
    "irreproducible": "SELECT count(*) FROM irreproducible_transformation",
    "file_bytes": "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
}


def summary(connection: sqlite3.Connection) -> dict[str, float]:
    """Count rows and bytes; ``seconds`` and ``result_bytes`` are those of the cache entries."""
    return {name: connection.execute(query).fetchone()[0] for name, query in _SUMMARY.items()}
