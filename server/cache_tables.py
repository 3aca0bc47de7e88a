"""SQL on small buffers and cache entries, and counts over all tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from .tables import keys_as_json, one_by_one

ENTRY_COLUMNS = (
    *("checksum", "result", "function", "key_prefix", "seconds", "nbytes", "created", "format"),
    "used",
)


def put_buffers(connection: sqlite3.Connection, buffers: Sequence[tuple[str, bytes]]) -> None:
    """Keep contents whose checksums are verified already; a damaged one is replaced."""
    connection.executemany(
        "INSERT INTO buffer (checksum, content) VALUES (?, ?) ON CONFLICT (checksum)"
        " DO UPDATE SET content = excluded.content WHERE content IS NOT excluded.content",
        buffers,
    )


def drop_buffer(connection: sqlite3.Connection, checksum: str, content: bytes) -> None:
    """Remove a damaged buffer, unless it was replaced meanwhile."""
    connection.execute(
        "DELETE FROM buffer WHERE checksum = ? AND CAST(content AS BLOB) IS ?", (checksum, content)
    )


def buffer_lengths(connection: sqlite3.Connection, checksums: Sequence[str]) -> dict[str, int]:
    """Tell how long the contents are that are here."""
    query = (
        "SELECT b.checksum, length(CAST(b.content AS BLOB)) FROM json_each(?) AS wanted"
        " CROSS JOIN buffer AS b ON b.checksum = wanted.value"
    )
    return dict(connection.execute(query, (keys_as_json(checksums),)).fetchall())


@one_by_one
def buffer_content(connection: sqlite3.Connection, checksum: str) -> bytes | None:
    """Reader: checksum -> content of a small buffer."""
    row = connection.execute(
        # Another program may have put a text there.
        "SELECT CAST(content AS BLOB) FROM buffer WHERE checksum = ?",
        (checksum,),
    ).fetchone()
    return None if row is None else row[0]


def entries(
    connection: sqlite3.Connection, prefix: str | None, limit: int, offset: int
) -> list[dict[str, Any]]:
    """List cache entries, newest first; ``used`` is when they were last touched, if ever.

    Parameters
    ----------
    connection : sqlite3.Connection
    prefix : str, optional
        Only those whose key prefix starts with this text.
    limit, offset : int
        How many, and how many to skip.
    """
    rows = connection.execute(
        "SELECT e.checksum, result, function, key_prefix, seconds, nbytes, created, format, u.at"
        " FROM cache_entry AS e LEFT JOIN last_use AS u ON u.checksum = from_hex(e.checksum)"
        " WHERE ?1 IS NULL OR substr(key_prefix, 1, length(?1)) = ?1"
        " ORDER BY created DESC, e.checksum LIMIT ?2 OFFSET ?3",
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


_COUNTED = (
    *("transformation", "meta_data", "buffer_info", "expression", "syntactic_to_semantic"),
    *("bucket_probe", "irreproducible_transformation", "buffer", "cache_entry", "recipe", "note"),
    *("cutoff", "cost", "files_read", "divergence", "last_use"),
)


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Count the rows of the tables, and the bytes in ``buffer`` (as ``small_buffer_bytes``)."""
    found = {
        table: int(connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0])
        for table in _COUNTED
    }
    bytes_ = connection.execute(_SUMMARY["buffer_bytes"]).fetchone()[0]
    return {**found, "small_buffer_bytes": int(bytes_)}
