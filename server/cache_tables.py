"""SQL on small buffers and cache entries, and counts over all tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from .tables import one_by_one

ENTRY_COLUMNS = (
    "checksum", "result", "function", "key_prefix", "seconds", "nbytes", "created", "format",
)  # fmt: skip


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
    "cutoffs": "SELECT count(*) FROM cutoff WHERE result IS NOT NULL",
    "divergences": "SELECT count(*) FROM divergence",
    "irreproducible": "SELECT count(*) FROM irreproducible_transformation",
    "file_bytes": "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
}


def summary(connection: sqlite3.Connection) -> dict[str, float]:
    """Count rows and bytes; ``seconds`` and ``result_bytes`` are those of the cache entries."""
    return {name: connection.execute(query).fetchone()[0] for name, query in _SUMMARY.items()}
