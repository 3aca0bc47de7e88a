"""Whether a database holds what it should: SQLite's structures, and what each row must be.

Rows are read one after another, in one snapshot, so that what servers write meanwhile is not taken
for damage. What the published server leaves behind in the course of its work is a remark at most.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from .maintenance import (
    FAILURES,
    complaining,
    damage,
    interruptible,
    is_damage,
    lenient,
    snapshot,
    text_of,
)
from .row_rules import TABLES, Table, shown
from .schema import PUBLISHED_INDICES, check_version

MAX_UNWRITTEN = 16
"""Pairs that a published server may be about to write. It is one at most, and these look alike."""

LOOKS, PAUSE_SECONDS = 10, 0.1
"""How often, and after how long, to look again whether it did."""

_Pair = tuple[bytes, bytes]
"""Result and transformation."""


class Finding(NamedTuple):
    """One thing that is not as it should be."""

    table: str | None
    """None where it concerns the file."""
    key: str | None
    """Names the row; None where it concerns the table."""
    text: str
    is_remark: bool = False
    """Whether this is harmless: such as the published server leaves behind."""


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
            for name, table in TABLES.items():
                yield from _guarded(name, _of_table(connection, name, table, rows))
            unwritten: list[_Pair] = []
            yield from _guarded("rev_transformation", _unpaired(connection, unwritten))
            yield from _guarded("meta_data", _of_other_results(connection))
            yield from _guarded("recipe", _recipes_without_text(connection))
    with complaining(f"cannot check {file}"):
        yield from _guarded("rev_transformation", _still_unwritten(file, unwritten))


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
    for name in filter(partial(_columns, connection), TABLES):
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
    connection: sqlite3.Connection, name: str, table: Table, rows: dict[str, int]
) -> Iterator[Finding]:
    present = _columns(connection, name)
    if not present:  # another program made the file, which has no such table
        return
    missing = sorted({*table.columns} - present)
    if missing:
        yield from _without(connection, name, missing)
        return
    query = f'SELECT {", ".join(table.columns)} FROM "{name}" ORDER BY {table.order}'
    tests = list(table.tests())
    rows[name] = 0
    for row in connection.execute(query):
        rows[name] += 1
        for column, part, test in tests:
            try:
                test(*row[part])
            except ValueError as error:
                yield Finding(name, shown(row[: len(table.key)]), f"{column} {error}")


def _columns(connection: sqlite3.Connection, name: str) -> set[str]:
    return {row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')}


def _without(connection: sqlite3.Connection, name: str, missing: list[str]) -> Iterator[Finding]:
    """Report columns that are missing; every server replaces an old ``meta_data`` that is empty."""
    (rows,) = connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()
    if rows or (name, missing) != ("meta_data", ["result"]):
        yield Finding(name, None, f"has no {' and '.join(missing)}: no server can use it")


def _unpaired(connection: sqlite3.Connection, unwritten: list[_Pair]) -> Iterator[Finding]:
    """Compare transformations with the reverse table, both sorted: in memory is one row of each.

    Searching would not do: the reverse table has an index on the result alone, and a million
    transformations may have the result ``True``.
    """
    if not _columns(connection, "rev_transformation"):
        yield Finding("rev_transformation", None, "is missing")
        return
    is_published = _is_published(connection)
    reverse = _sorted_pairs(connection, "rev_transformation")
    there, left_over = next(reverse, None), 0
    for pair in _sorted_pairs(connection, "transformation"):
        while there is not None and there < pair:
            there, left_over = next(reverse, None), left_over + 1
        if there == pair:
            there = next(reverse, None)
        elif is_published and len(unwritten) < MAX_UNWRITTEN:
            unwritten.append(pair)
        else:
            yield _without_pair(pair, is_published)
    left_over += (there is not None) + sum(1 for _ in reverse)
    if left_over:
        text = f"rows of old results, or double, as published servers leave them: {left_over:,}"
        yield Finding("rev_transformation", None, text, is_remark=True)


def _sorted_pairs(connection: sqlite3.Connection, table: str) -> Iterator[_Pair]:
    # As bytes, which Python sorts as SQLite does; other types are reported already. SQLite sorts
    # what exceeds its cache in a temporary file.
    return connection.execute(
        f'SELECT CAST(result AS BLOB), CAST(checksum AS BLOB) FROM "{table}" NOT INDEXED'
        " WHERE typeof(result) = 'text' AND typeof(checksum) = 'text' ORDER BY 1, 2"
    )


def _is_published(connection: sqlite3.Connection) -> bool:
    """Tell whether a published server was the last to open the file for writing."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?"
    return connection.execute(query, (PUBLISHED_INDICES[0],)).fetchone() is not None


def _without_pair(pair: _Pair, is_published: bool) -> Finding:
    text = "has no pair in rev_transformation"
    if is_published:
        text += "; a writable server of seamless-dask-cache adds it when it starts"
    return Finding("transformation", shown((lenient(pair[1]),)), text)


def _still_unwritten(file: Path, pairs: list[_Pair]) -> Iterator[Finding]:
    """Look again for pairs of a published server, which writes them in a transaction of their own.

    It may have been between the two, and could not go on before the snapshot ended.
    """
    for _ in range(LOOKS):
        if not pairs:
            return
        time.sleep(PAUSE_SECONDS)
        with snapshot(file) as connection:
            pairs = [pair for pair in pairs if _is_unwritten(connection, pair)]
    for pair in pairs:
        yield _without_pair(pair, is_published=True)


def _is_unwritten(connection: sqlite3.Connection, pair: _Pair) -> bool:
    condition = "result = CAST(? AS TEXT) AND checksum = CAST(? AS TEXT)"
    query = (
        f"SELECT EXISTS (SELECT 1 FROM transformation WHERE {condition})"
        f" AND NOT EXISTS (SELECT 1 FROM rev_transformation WHERE {condition})"
    )
    return bool(connection.execute(query, (*pair, *pair)).fetchone()[0])


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
        yield Finding("recipe", shown(row), "has no text in buffer")
