"""SQL of single writes that are committed in one call of SQLite.

A writer's thread asks for Python's lock after each statement. A busy event loop lets go of it when
it is asked to, after milliseconds, and each time both of them have to be woken: so one statement
does all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from .tables import Row, keys_as_json

_AT_ONCE = (
    "CREATE TEMP VIEW new_transformation (checksum, result) AS SELECT NULL, NULL",
    """
    CREATE TEMP TRIGGER add_transformation INSTEAD OF INSERT ON new_transformation BEGIN
        SELECT RAISE(ABORT, 'it has another result') FROM transformation
            WHERE checksum = NEW.checksum AND result <> NEW.result;
        INSERT INTO rev_transformation (checksum, result) SELECT NEW.checksum, NEW.result
            WHERE NOT EXISTS (SELECT 1 FROM transformation WHERE checksum = NEW.checksum);
        INSERT OR IGNORE INTO transformation (checksum, result) VALUES (NEW.checksum, NEW.result);
    END
    """,
)


def prepare_writer(connection: sqlite3.Connection) -> None:
    """Make what a connection needs for `put_transformations_at_once`."""
    for statement in _AT_ONCE:
        connection.execute(statement)


def put_transformations_at_once(connection: sqlite3.Connection, pairs: Sequence[Row]) -> bool:
    """Set the results of transformations, and commit, if none of them has another result.

    Returns
    -------
    bool
        Whether it is done. Otherwise nothing is.
    """
    try:
        connection.execute(
            "INSERT INTO new_transformation (checksum, result)"
            " SELECT substr(value, 1, 64), substr(value, 65) FROM json_each(?)",
            (keys_as_json([checksum + result for checksum, result in pairs]),),
        )
    except sqlite3.IntegrityError:
        return False
    return True
