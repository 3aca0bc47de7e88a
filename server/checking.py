"""Whether a database holds what it should: SQLite's structures, and what each row must be.

Rows are read one after another, in one snapshot, so that what servers write meanwhile is not taken
for damage. What the published server leaves behind in the course of its work is a remark at most.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from json import loads as loads_leniently
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from .maintenance import (
    FAILURES,
    complaining,
    damage,
    interruptible,
    is_damage,
    lenient,
    printable,
    snapshot,
    text_of,
)
from .schema import PUBLISHED_INDICES, check_version

MAX_SHOWN = 100
"""Characters of a value in a text; a damaged file may hold anything."""

_is_checksum = re.compile("[0-9a-f]{64}").fullmatch


class Finding(NamedTuple):
    """One thing that is not as it should be."""

    table: str | None
    """None where it concerns the file."""
    key: str | None
    """Names the row; None where it concerns the table."""
    text: str
    is_remark: bool = False
    """Whether this is harmless: such as the published server leaves behind."""


class _Rule(NamedTuple):
    """What some columns of each row must hold: `test` takes them and raises ValueError."""

    columns: tuple[str, ...]
    test: Callable[..., None]


class _Table(NamedTuple):
    """What names a row, and what must be true of it."""

    key: tuple[str, ...]
    rules: tuple[_Rule, ...]
    has_rowid: bool = True


def findings(file: Path, rows: dict[str, int]) -> Iterator[Finding]:
    """Look for everything in a database that is not as it should be, without changing anything.

    Parameters
    ----------
    file : Path
    rows : dict
        Is told of each table how many rows were read; complete after the last finding.

    Yields
    ------
    Finding

    Raises
    ------
    MaintenanceError
        The file is missing, no database of this kind, or cannot be read.
    StartupError
        A newer program wrote it.
    """
    with snapshot(file) as connection, complaining(f"cannot check {file}"):
        check_version(connection, file)
        connection.text_factory = lenient
        with interruptible(connection):
            yield from _of_structures(connection)
            for name, table in _TABLES.items():
                yield from _guarded(name, _of_table(connection, name, table, rows))
            for name, relation in _RELATIONS:
                yield from _guarded(name, relation(connection))


def _of_structures(connection: sqlite3.Connection) -> Iterator[Finding]:
    try:
        for line in damage(connection):
            yield Finding(None, None, line)
    except FAILURES as error:
        if not is_damage(error):
            raise
        yield Finding(None, None, text_of(error))
        yield from _broken_tables(connection)


def _broken_tables(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Name the tables that SQLite cannot check, as it gives up at the first without a name."""
    if sqlite3.sqlite_version_info < (3, 33):  # where it checks all of them each time
        return
    for name in filter(partial(_columns, connection), _TABLES):
        try:
            connection.execute(f"PRAGMA integrity_check('{name}')").fetchall()
        except FAILURES as error:
            if not is_damage(error):
                raise
            yield Finding(name, None, f"or an index of it cannot be checked: {text_of(error)}")


def _guarded(table: str, found: Iterator[Finding]) -> Iterator[Finding]:
    try:
        yield from found
    except FAILURES as error:
        if not is_damage(error):
            raise
        yield Finding(table, None, f"cannot be read to its end: {text_of(error)}")


def _of_table(
    connection: sqlite3.Connection, name: str, table: _Table, rows: dict[str, int]
) -> Iterator[Finding]:
    columns = [*table.key, *(column for rule in table.rules for column in rule.columns)]
    present = _columns(connection, name)
    if not present:  # another program made the file, which has no such table
        return
    missing = sorted({*columns} - present)
    if missing:
        yield from _without(connection, name, missing)
        return
    tests = list(_tests(table))
    # In the order of the table itself, whatever may have become of its indices.
    order = "rowid" if table.has_rowid else ", ".join(table.key)
    query = f'SELECT {", ".join(columns)} FROM "{name}" ORDER BY {order}'
    rows[name] = 0
    for row in connection.execute(query):
        rows[name] += 1
        for column, part, test in tests:
            try:
                test(*row[part])
            except ValueError as error:
                yield Finding(name, _shown(row[: len(table.key)]), f"{column} {error}")


def _tests(table: _Table) -> Iterator[tuple[str, slice, Callable[..., None]]]:
    """Give for each rule its first column, where its columns are in a row, and its test."""
    start = len(table.key)
    for columns, test in table.rules:
        yield columns[0], slice(start, start + len(columns)), test
        start += len(columns)


def _columns(connection: sqlite3.Connection, name: str) -> set[str]:
    return {row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')}


def _without(connection: sqlite3.Connection, name: str, missing: list[str]) -> Iterator[Finding]:
    """Report columns that are missing; an empty table with them is made anew by any server."""
    if connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() is not None:
        yield Finding(name, None, f"has no {' and '.join(missing)}: no server can read its rows")


def _shown(values: tuple[Any, ...]) -> str:
    return ", ".join(map(_shown_value, values))


def _shown_value(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    text = printable(text) or "''"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _checksum(value: object) -> None:
    # A BLOB of the same bytes would not be found by anybody who asks.
    if not isinstance(value, str) or not _is_checksum(value):
        raise ValueError(f"is not 64 lower-case hexadecimal digits: {_shown_value(value)}")


def _binary_checksum(value: object) -> None:
    if not isinstance(value, bytes) or len(value) != hashlib.sha256().digest_size:
        raise ValueError(f"is not 32 bytes: {_shown_value(value)}")


def _binary_checksum_or_null(value: object) -> None:
    if value is not None:
        _binary_checksum(value)


def _json(value: object) -> Any:
    if not isinstance(value, str):
        raise ValueError("is no text")
    with contextlib.suppress(orjson.JSONDecodeError):
        return orjson.loads(value)
    try:
        value.encode()
        # The published server writes what Python takes for JSON, such as NaN.
        return loads_leniently(value)
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from None


def _object(value: object) -> dict[str, Any]:
    found = _json(value)
    if not isinstance(found, dict):
        raise ValueError("is no JSON object")
    return found


def _record(value: object, transformation: object, result: object) -> None:
    record = _object(value)
    if record.get("tf_checksum") != transformation:
        raise ValueError("names another transformation than its row")
    if record.get("result_checksum") != result:
        raise ValueError("names another result than its row")


def _contested_record(value: object, result: object) -> None:
    """Test a record that may be missing, or be one of version 2.0, which names nothing."""
    record = _json(value)
    if isinstance(record, dict) and record.get("result_checksum", result) != result:
        raise ValueError("names another result than its row")


def _states(value: object) -> None:
    if not all(isinstance(state, str) for state in _object(value).values()):
        raise ValueError("does not map paths to texts")


def _content(value: object, checksum: object) -> None:
    if not isinstance(value, bytes):
        raise ValueError("is no BLOB")
    found = hashlib.sha256(value).hexdigest()
    if found != checksum:
        raise ValueError(f"has the SHA-256 {found}, which is not its name")


def _sum(value: object) -> None:
    if not isinstance(value, int | float) or value < 0:
        raise ValueError(f"is no number from 0: {_shown_value(value)}")


def _each(test: Callable[[Any], Any], *columns: str) -> tuple[_Rule, ...]:
    return tuple(_Rule((column,), test) for column in columns)


_TABLES = {
    "transformation": _Table(("checksum",), _each(_checksum, "checksum", "result")),
    "rev_transformation": _Table(("id",), _each(_checksum, "checksum", "result")),
    "buffer_info": _Table(
        ("checksum",), (*_each(_checksum, "checksum"), *_each(_object, "buffer_info"))
    ),
    "syntactic_to_semantic": _Table(
        ("syntactic", "celltype", "subcelltype"), _each(_checksum, "syntactic", "semantic")
    ),
    "expression": _Table(
        ("input_checksum", "path", "celltype", "target_celltype"),
        (*_each(_checksum, "input_checksum", "result"), *_each(_json, "path")),
    ),
    "meta_data": _Table(
        ("checksum",),
        (
            *_each(_checksum, "checksum", "result"),
            _Rule(("metadata", "checksum", "result"), _record),
        ),
    ),
    "bucket_probe": _Table(
        ("bucket_kind", "label"),
        (*_each(_checksum, "bucket_checksum"), *_each(_object, "freshness_tokens")),
    ),
    "irreproducible_transformation": _Table(
        ("id", "checksum"),
        (
            *_each(_checksum, "checksum", "result"),
            _Rule(("metadata", "result"), _contested_record),
        ),
    ),
    "buffer": _Table(
        ("checksum",), (*_each(_checksum, "checksum"), _Rule(("content", "checksum"), _content))
    ),
    "cache_entry": _Table(("checksum",), _each(_checksum, "checksum", "result"), has_rowid=False),
    "files_read": _Table(
        ("checksum",), (*_each(_checksum, "checksum", "result"), *_each(_states, "files"))
    ),
    "recipe": _Table(("checksum",), _each(_checksum, "checksum"), has_rowid=False),
    "note": _Table(("checksum",), (*_each(_checksum, "checksum"), *_each(_object, "document"))),
    "cutoff": _Table(
        ("skeleton", "checksum"),
        (
            *_each(_binary_checksum, "skeleton", "checksum"),
            *_each(_binary_checksum_or_null, "result"),
        ),
        has_rowid=False,
    ),
    "cost": _Table(
        ("code",),
        (
            *_each(_binary_checksum, "code"),
            *_each(_sum, "runs", "seconds", "nbytes", "load_seconds", "loads"),
        ),
        has_rowid=False,
    ),
    "divergence": _Table(("id",), _each(_checksum, "checksum", "result")),
}


def _unpaired(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Compare transformations with the reverse table, both sorted: in memory is one row of each.

    Searching would not do: the reverse table has an index on the result alone, and a million
    transformations may have the result ``True``.
    """
    if not _columns(connection, "rev_transformation"):
        yield Finding("rev_transformation", None, "is missing")
        return
    advice = _advice(connection)
    reverse = _sorted_pairs(connection, "rev_transformation")
    there, left_over = next(reverse, None), 0
    for pair in _sorted_pairs(connection, "transformation"):
        while there is not None and there < pair:
            there, left_over = next(reverse, None), left_over + 1
        if there == pair:
            there = next(reverse, None)
        else:
            key = _shown_value(lenient(pair[1]))
            yield Finding("transformation", key, f"has no pair in rev_transformation{advice}")
    left_over += (there is not None) + sum(1 for _ in reverse)
    if left_over:
        text = f"rows of old results, or double, as published servers leave them: {left_over:,}"
        yield Finding("rev_transformation", None, text, is_remark=True)


def _sorted_pairs(connection: sqlite3.Connection, table: str) -> Iterator[tuple[bytes, bytes]]:
    # As bytes, which Python sorts as SQLite does; other types are reported already. SQLite sorts
    # what exceeds its cache in a temporary file.
    return connection.execute(
        f'SELECT CAST(result AS BLOB), CAST(checksum AS BLOB) FROM "{table}" NOT INDEXED'
        " WHERE typeof(result) = 'text' AND typeof(checksum) = 'text' ORDER BY 1, 2"
    )


def _advice(connection: sqlite3.Connection) -> str:
    """Tell how to mend what a published server leaves that dies between its two writes."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?"
    if connection.execute(query, (PUBLISHED_INDICES[0],)).fetchone() is None:
        return ""
    return "; a writable server of seamless-dask-cache adds it when it starts"


def _of_other_results(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Count records of results that were overwritten: every server leaves them, and none minds."""
    if "result" not in _columns(connection, "meta_data"):
        return
    (rows,) = connection.execute(
        "SELECT count(*) FROM meta_data AS m CROSS JOIN transformation AS t"
        " ON t.checksum = m.checksum WHERE t.result != m.result"
    ).fetchone()
    if rows:
        text = f"records of results that were overwritten since: {rows:,}"
        yield Finding("meta_data", None, text, is_remark=True)


def _recipes_without_text(connection: sqlite3.Connection) -> Iterator[Finding]:
    if not _columns(connection, "recipe") or not _columns(connection, "buffer"):
        return
    query = (
        "SELECT checksum FROM recipe AS r"
        " WHERE NOT EXISTS (SELECT 1 FROM buffer AS b WHERE b.checksum = r.checksum)"
        " ORDER BY checksum"
    )
    for row in connection.execute(query):
        yield Finding("recipe", _shown(row), "has no text in buffer")


_RELATIONS = (
    ("rev_transformation", _unpaired),
    ("meta_data", _of_other_results),
    ("recipe", _recipes_without_text),
)
