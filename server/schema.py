"""SQL on the schema: making it, its version, and what files of other programs lack.

The tables stand in ``schema.sql``.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from importlib.resources import files
from pathlib import Path

from .failures import StartupError

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 3
"""Written to ``PRAGMA user_version``, which the published server leaves at 0.

1 was version 0.1, which knows no ``files_read``: it would serve results whatever became of the
files that they depend on, so it must not open later files. 2 knows no ``cutoff``: it would forget
a result and leave the cutoffs that name it.
"""

PUBLISHED_INDICES = (
    "transformation_result",
    "meta_data_result",
    "bucket_probe_bucket_checksum",
    "irreproducible_transformation_result",
    "syntactic_to_semantic_syntactic",
)
"""Indices of the published schema by which nobody searches, here or there.

They would be a sixth of the file and a third of what a write costs. The published server makes them
again when it opens the file for writing.
"""


def statements() -> list[str]:
    """Give the statements that make what is missing."""
    text = files(__package__).joinpath("schema.sql").read_text("utf-8")
    without_comments = re.sub(r"--.*", "", text)
    return [part.strip() for part in without_comments.split(";") if part.strip()]


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that a newer program wrote.

    Raises
    ------
    StartupError
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise StartupError(
            f"{path} has schema version {version}, this program knows up to {SCHEMA_VERSION}: "
            "a newer seamless-dask-cache wrote it; upgrade to open it"
        )


def bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    """Make all tables, inside the caller's transaction.

    Raises
    ------
    StartupError
        A newer program wrote the file, or its records cannot be upgraded.
    """
    check_version(connection, path)
    _drop_empty_legacy_metadata(connection)
    for statement in statements():
        connection.execute(statement)
    if _has_index(connection, PUBLISHED_INDICES[0]):
        logger.info("another program wrote to %s: bringing our records up to date", path)
        _complete_reverse_records(connection)
        _forget_what_is_no_result(connection)
    for name in PUBLISHED_INDICES:
        connection.execute(f'DROP INDEX IF EXISTS "{name}"')
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _drop_empty_legacy_metadata(connection: sqlite3.Connection) -> None:
    columns = {row[1] for row in connection.execute('PRAGMA table_info("meta_data")')}
    if columns != {"checksum", "metadata"}:
        return
    (rows,) = connection.execute('SELECT count(*) FROM "meta_data"').fetchone()
    if rows:
        raise StartupError(
            "the table meta_data has an old layout and holds records that cannot be upgraded"
        )
    connection.execute('DROP TABLE "meta_data"')


def _has_index(connection: sqlite3.Connection, name: str) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?"
    return connection.execute(query, (name,)).fetchone() is not None


def _complete_reverse_records(connection: sqlite3.Connection) -> None:
    """Let ``rev_transformation`` say what ``transformation`` does.

    The published server leaves stale rows when a result is overwritten, and may die between
    writing the two.
    """
    connection.execute(
        "DELETE FROM rev_transformation WHERE id IN (SELECT r.id FROM rev_transformation AS r"
        " LEFT JOIN transformation AS t ON t.checksum = r.checksum"
        " WHERE t.result IS NOT r.result)"
    )
    connection.execute(
        "INSERT INTO rev_transformation (result, checksum)"
        " SELECT result, checksum FROM transformation"
        " EXCEPT SELECT result, checksum FROM rev_transformation"
    )


def _forget_what_is_no_result(connection: sqlite3.Connection) -> None:
    """Remove what we know about results that the other program overwrote or removed.

    Files that were read stay a condition of what was overwritten: see `tables.put_transformations`.
    """
    connection.execute(
        "DELETE FROM cache_entry WHERE checksum IN (SELECT e.checksum FROM cache_entry AS e"
        " LEFT JOIN transformation AS t ON t.checksum = e.checksum WHERE t.result IS NOT e.result)"
    )
    connection.execute(
        "DELETE FROM files_read WHERE checksum NOT IN (SELECT checksum FROM transformation)"
    )
    connection.execute(
        "DELETE FROM last_use WHERE lower(hex(checksum)) NOT IN"
        " (SELECT checksum FROM transformation)"
    )


def stand_in_for_missing_tables(connection: sqlite3.Connection) -> None:
    """Give a file of another server, which cannot be changed, empty tables for what it lacks."""
    for statement in statements():
        match = re.match(r'CREATE TABLE IF NOT EXISTS "(\w+)"', statement)
        if match and not connection.execute(f'PRAGMA table_info("{match[1]}")').fetchall():
            connection.execute(statement.replace("CREATE TABLE", "CREATE TEMP TABLE", 1))


def drop_stand_ins_of_real_tables(connection: sqlite3.Connection) -> None:
    """Let stand-ins give way where a writer has made the real table meanwhile."""
    found = connection.execute(
        "SELECT name FROM temp.sqlite_master WHERE type = 'table'"
        " AND name IN (SELECT name FROM main.sqlite_master WHERE type = 'table')"
    ).fetchall()
    for (name,) in found:
        connection.execute(f'DROP TABLE temp."{name}"')
