"""SQL on the tables of the published server.

Readers take a connection and many keys and return a mapping without the unknown ones (see
`lanes.Reader`); writers take a connection and do one write inside a transaction that their caller
holds. Arguments are checked already. JSON columns are handed out as the text that they hold.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from seamless_dask_cache.json_text import read_json

from .failures import ConflictError, UnknownKeyError
from .protocol import encode

Row = tuple[Any, ...]


def keys_as_json(keys: Iterable[str]) -> str:
    """Give keys in the form that ``json_each(?)`` takes: one parameter, however many keys."""
    return orjson.dumps(keys if isinstance(keys, list) else list(keys)).decode()


class _Pairs:
    """Reader of one column of a table, by checksum.

    Parameters
    ----------
    table, column : str
    condition : str
        Further SQL that rows must satisfy.
    """

    def __init__(self, table: str, column: str, condition: str = ""):
        more = f" AND {condition}" if condition else ""
        among = "checksum IN (SELECT value FROM json_each(?))"
        self._many = f"SELECT checksum, {column} FROM {table} WHERE {among}{more}"
        self._one = f"SELECT {column} FROM {table} WHERE checksum = ?{more}"

    def __call__(self, connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, str]:
        return dict(connection.execute(self._many, (keys_as_json(keys),)).fetchall())

    def alone(self, connection: sqlite3.Connection, key: str) -> str | None:
        row = connection.execute(self._one, (key,)).fetchone()
        return None if row is None else row[0]


def one_by_one(
    answer: Callable[[sqlite3.Connection, Any], Any],
) -> Callable[[sqlite3.Connection, Sequence[Any]], dict[Any, Any]]:
    """Make a reader out of a function that answers a single key."""

    def reader(connection: sqlite3.Connection, keys: Sequence[Any]) -> dict[Any, Any]:
        return {key: answer(connection, key) for key in keys}

    return reader


transformation_results = _Pairs("transformation", "result")
"""Reader: transformation -> result."""

results_in_force = _Pairs(
    "transformation",
    "result",
    "checksum NOT IN (SELECT checksum FROM irreproducible_transformation)",
)
"""Reader: transformation -> result, but for those that were found irreproducible.

Published clients may set the result of such a transformation again; who restores results must not
be served it.
"""

buffer_infos = _Pairs("buffer_info", "buffer_info")
"""Reader: checksum -> JSON text of what is known about the buffer."""

execution_records = _Pairs("meta_data", "metadata")
"""Reader: transformation -> JSON text of its execution record."""


def transformations_of(
    connection: sqlite3.Connection, results: Sequence[str]
) -> dict[str, list[str]]:
    """Reader: result -> the transformations that gave it.

    Believes only what the table ``transformation`` confirms: the published server leaves stale rows
    and double ones in ``rev_transformation``.
    """
    found: dict[str, dict[str, None]] = {}
    query = (
        "SELECT r.result, r.checksum FROM rev_transformation AS r CROSS JOIN transformation AS t"
        " ON t.checksum = r.checksum AND t.result = r.result"
        " WHERE r.result IN (SELECT value FROM json_each(?)) ORDER BY r.id"
    )
    for result, transformation in connection.execute(query, (keys_as_json(results),)):
        found.setdefault(result, {})[transformation] = None
    return {result: list(transformations) for result, transformations in found.items()}


@one_by_one
def syntactic_of(connection: sqlite3.Connection, key: tuple[str, str, str]) -> list[str] | None:
    """Reader: (semantic, celltype, subcelltype) -> syntactic checksums."""
    query = (
        "SELECT syntactic FROM syntactic_to_semantic"
        " WHERE semantic = ? AND celltype = ? AND subcelltype = ?"
    )
    return [row[0] for row in connection.execute(query, key)] or None


@one_by_one
def semantic_of(connection: sqlite3.Connection, key: tuple[str, str, str]) -> list[str] | None:
    """Reader: (syntactic, celltype, subcelltype) -> semantic checksums."""
    query = (
        "SELECT semantic FROM syntactic_to_semantic"
        " WHERE syntactic = ? AND celltype = ? AND subcelltype = ?"
    )
    return [row[0] for row in connection.execute(query, key)] or None


@one_by_one
def expression_result(connection: sqlite3.Connection, key: tuple[str, str, str, str]) -> str | None:
    """Reader: (input, path, celltype, target celltype) -> result."""
    query = (
        "SELECT result FROM expression WHERE input_checksum = ? AND path = ?"
        " AND celltype = ? AND target_celltype = ?"
    )
    row = connection.execute(query, key).fetchone()
    return None if row is None else row[0]


@one_by_one
def expressions_of(connection: sqlite3.Connection, result: str) -> list[Row] | None:
    """Reader: result -> rows of input, path as JSON, celltype, target celltype."""
    query = (
        "SELECT input_checksum, path, celltype, target_celltype FROM expression WHERE result = ?"
    )
    return connection.execute(query, (result,)).fetchall() or None


@one_by_one
def irreproducible_records(connection: sqlite3.Connection, checksum: str) -> list[Row] | None:
    """Reader: transformation -> rows of result and execution record as JSON."""
    query = (
        "SELECT result, metadata FROM irreproducible_transformation WHERE checksum = ? ORDER BY id"
    )
    return connection.execute(query, (checksum,)).fetchall() or None


@one_by_one
def bucket_probe(connection: sqlite3.Connection, key: tuple[str, str]) -> Row | None:
    """Reader: (kind, label) -> checksum, time of capture, freshness tokens as JSON."""
    query = (
        "SELECT bucket_checksum, captured_at, freshness_tokens FROM bucket_probe"
        " WHERE bucket_kind = ? AND label = ?"
    )
    row: Row | None = connection.execute(query, key).fetchone()
    return row


def irreproducible_among(connection: sqlite3.Connection, checksums: Iterable[str]) -> list[str]:
    """Give those transformations of which a result was contested."""
    query = (
        "SELECT DISTINCT checksum FROM irreproducible_transformation"
        " WHERE checksum IN (SELECT value FROM json_each(?))"
    )
    return [row[0] for row in connection.execute(query, (keys_as_json(checksums),))]


def contested_among(connection: sqlite3.Connection, checksums: Iterable[str]) -> list[str]:
    """Give those transformations of which a result was contested; fast where there is none."""
    if connection.execute("SELECT 1 FROM irreproducible_transformation LIMIT 1").fetchone() is None:
        return []
    return irreproducible_among(connection, checksums)


def put_transformations(connection: sqlite3.Connection, pairs: Sequence[Row]) -> None:
    """Set the results of transformations; what described another result of one goes.

    Of two results for one transformation, the later wins.
    """
    wanted: dict[str, str] = dict(pairs)
    known = transformation_results(connection, list(wanted))
    old = [(checksum, was) for checksum, was in known.items() if was != wanted[checksum]]
    if old:
        _remove_results(connection, old)
    new = [(name, result) for name, result in wanted.items() if known.get(name) != result]
    add_transformations(connection, new)


def _remove_results(connection: sqlite3.Connection, pairs: Sequence[Row]) -> None:
    _remove_reverse(connection, pairs)
    checksums = [(checksum,) for checksum, _ in pairs]
    connection.executemany("DELETE FROM transformation WHERE checksum = ?", checksums)
    connection.executemany("DELETE FROM cache_entry WHERE checksum = ?", checksums)
    forget_cutoffs(connection, [result for _, result in pairs])


def add_transformations(connection: sqlite3.Connection, pairs: Sequence[Row]) -> None:
    """Add pairs of transformation and result, of which none is known.

    Never ask ``rev_transformation`` whether it has a pair: it has an index on the result alone, so
    that a result which many transformations share (``True``) would be searched in linear time.
    """
    # One statement for all rows: with one for each, this thread would queue up behind the event
    # loop, for Python's lock, as often as there are rows. A text is cut faster than a list. OR FAIL
    # spares the copy of each page that SQLite keeps to undo one statement: who called undoes all.
    rows = (keys_as_json([checksum + result for checksum, result in pairs]),)
    for table in ("transformation", "rev_transformation"):
        connection.execute(
            f"INSERT OR FAIL INTO {table} (checksum, result)"
            " SELECT substr(value, 1, 64), substr(value, 65) FROM json_each(?)",
            rows,
        )


def _remove_reverse(connection: sqlite3.Connection, pairs: Sequence[Row]) -> None:
    # One pass over the rows of each result, not one for each transformation that had it.
    checksums, results = zip(*pairs, strict=True) if pairs else ((), ())
    connection.execute(
        "DELETE FROM rev_transformation WHERE result IN (SELECT value FROM json_each(?))"
        " AND checksum IN (SELECT value FROM json_each(?))",
        (keys_as_json(set(results)), keys_as_json(checksums)),
    )


def put_buffer_info(connection: sqlite3.Connection, checksum: str, value: dict[str, Any]) -> None:
    """Add to what is known about a buffer; new facts win over old ones of the same name."""
    known = buffer_infos(connection, [checksum]).get(checksum)
    merged = {**(_decoded(known) or {}), **value}
    text = json.dumps(merged, sort_keys=True, indent=2)  # as the published server writes it
    connection.execute(
        "REPLACE INTO buffer_info (checksum, buffer_info) VALUES (?, ?)", (checksum, text)
    )


def put_syntactic(
    connection: sqlite3.Connection, key: tuple[str, str, str], syntactic: Iterable[str]
) -> None:
    """Add syntactic checksums to (semantic, celltype, subcelltype)."""
    semantic, celltype, subcelltype = key
    connection.executemany(
        "INSERT OR IGNORE INTO syntactic_to_semantic"
        " (syntactic, celltype, subcelltype, semantic) VALUES (?, ?, ?, ?)",
        [(checksum, celltype, subcelltype, semantic) for checksum in syntactic],
    )


def put_expression(
    connection: sqlite3.Connection, key: tuple[str, str, str, str], result: str
) -> None:
    """Set the result of (input, path, celltype, target celltype)."""
    connection.execute(
        "INSERT INTO expression (input_checksum, path, celltype, target_celltype, result)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (input_checksum, path, celltype, target_celltype)"
        " DO UPDATE SET result = excluded.result",
        (*key, result),
    )


def put_execution_record(
    connection: sqlite3.Connection, checksum: str, result: str, record: dict[str, Any]
) -> None:
    """Record an execution, and the result with it; the first record stays.

    Raises
    ------
    ConflictError
        The transformation is known to be irreproducible, has another result, or another record.
    """
    if irreproducible_records(connection, [checksum])[checksum]:
        raise ConflictError("Transformation already has irreproducible records")
    known = transformation_results(connection, [checksum]).get(checksum)
    if known not in (None, result):
        raise ConflictError("Transformation result does not match execution record result")
    _require_same_record(connection, checksum, result, record)
    put_transformations(connection, [(checksum, result)])
    connection.execute(
        "INSERT OR IGNORE INTO meta_data (checksum, result, metadata) VALUES (?, ?, ?)",
        (checksum, result, encode(record, "the record")),
    )


def _require_same_record(
    connection: sqlite3.Connection, checksum: str, result: str, record: dict[str, Any]
) -> None:
    row = _metadata_row(connection, checksum)
    if row is None:
        return
    if row[0] != result:
        raise ConflictError("Execution record result does not match stored metadata result")
    if _decoded(row[1]) != record:
        raise ConflictError("Execution record already exists with different metadata")


def _decoded(text: str | None) -> dict[str, Any] | None:
    """Read a JSON column; None where a file of another program holds something else."""
    try:
        value = read_json((text or "null").encode())
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _metadata_row(connection: sqlite3.Connection, checksum: str) -> Row | None:
    query = "SELECT result, metadata FROM meta_data WHERE checksum = ?"
    row: Row | None = connection.execute(query, (checksum,)).fetchone()
    return row


def put_irreproducible(connection: sqlite3.Connection, checksum: str, result: str) -> None:
    """Contest a result: move what is recorded about it to the irreproducible ones.

    Raises
    ------
    UnknownKeyError
        The transformation has another result.
    ConflictError
        Its execution record names another result.
    """
    known = transformation_results(connection, [checksum]).get(checksum)
    if known not in (None, result):
        raise UnknownKeyError("Transformation does not have the irreproducible result")
    row = _metadata_row(connection, checksum)
    if row is not None and row[0] != result:
        raise ConflictError("Stored metadata result does not match irreproducible result")
    connection.execute(
        "INSERT INTO irreproducible_transformation (result, checksum, metadata) VALUES (?, ?, ?)",
        (result, checksum, '""' if row is None else row[1]),
    )
    remove_transformations(connection, [(checksum, result)])


def remove_transformations(connection: sqlite3.Connection, pairs: Sequence[Row]) -> None:
    """Remove pairs of transformation and result, with what describes them."""
    checksums = [(checksum,) for checksum, _ in pairs]
    connection.executemany("DELETE FROM transformation WHERE checksum = ? AND result = ?", pairs)
    _remove_reverse(connection, pairs)
    connection.executemany("DELETE FROM meta_data WHERE checksum = ?", checksums)
    connection.executemany("DELETE FROM cache_entry WHERE checksum = ?", checksums)
    connection.executemany("DELETE FROM files_read WHERE checksum = ?", checksums)
    connection.executemany(
        "DELETE FROM last_use WHERE checksum = ?",
        [(bytes.fromhex(checksum),) for checksum, _ in pairs],
    )


def touch(connection: sqlite3.Connection, transformations: Sequence[str], now: int) -> int:
    """Note when results were used; tell how many of them there are.

    Parameters
    ----------
    connection : sqlite3.Connection
    transformations : sequence of str
    now : int
        Seconds since 1970.
    """
    known = list(transformation_results(connection, transformations)) if transformations else []
    connection.executemany(
        "INSERT INTO last_use (checksum, at) VALUES (?, ?)"
        " ON CONFLICT (checksum) DO UPDATE SET at = max(at, excluded.at)",
        [(bytes.fromhex(checksum), now) for checksum in known],
    )
    return len(known)


def forget_cutoffs(connection: sqlite3.Connection, results: Iterable[str]) -> None:
    """Remove the cutoffs that would bring back results which are forgotten.

    Which cutoff belongs to which transformation is not on record, so those of other computations
    with the same result go too: at worst these are computed again.
    """
    connection.executemany(
        "DELETE FROM cutoff WHERE result = ?", [(bytes.fromhex(name),) for name in set(results)]
    )


def put_bucket_probe(connection: sqlite3.Connection, row: tuple[str, str, str, str, str]) -> None:
    """Set a row of kind, label, checksum, time of capture, freshness tokens as JSON."""
    connection.execute(
        "REPLACE INTO bucket_probe (bucket_kind, label, bucket_checksum, captured_at,"
        " freshness_tokens) VALUES (?, ?, ?, ?, ?)",
        row,
    )
