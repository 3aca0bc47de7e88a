"""SQL on recipes and notes: what ``explain`` compares and shows.

A recipe is the text whose checksum is a transformation, kept also when that has no result. A note
is a JSON object about the thing that a checksum names.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from .cache_tables import put_buffers
from .tables import keys_as_json

RECIPE_COLUMNS = ("checksum", "function", "created", "recipe", "result")

# CROSS JOIN keeps the order of the loops: recipes, newest first, then what belongs to each.
_SELECT = (
    "SELECT r.checksum, r.function, r.created, b.content, t.result FROM {source}"
    " CROSS JOIN buffer AS b ON b.checksum = r.checksum"
    " LEFT JOIN transformation AS t ON t.checksum = r.checksum"
)


class NamedRecipe(NamedTuple):
    """A recipe and the name of its function, which may be empty."""

    checksum: str
    function: str
    content: bytes


def put_recipes(connection: sqlite3.Connection, recipes: Sequence[NamedRecipe], now: float) -> None:
    """Keep recipes, whose checksums are verified already; one that is known counts as seen now."""
    put_buffers(connection, [(recipe.checksum, recipe.content) for recipe in recipes])
    connection.executemany(
        "INSERT INTO recipe (checksum, function, created) VALUES (?, ?, ?)"
        " ON CONFLICT (checksum) DO UPDATE SET created = excluded.created,"
        " function = CASE excluded.function WHEN '' THEN function ELSE excluded.function END",
        [(recipe.checksum, recipe.function, now) for recipe in recipes],
    )


def recipes_of(
    connection: sqlite3.Connection, function: str | None, limit: int
) -> list[dict[str, Any]]:
    """List the recipes of a function, or of all, the one that was last stored or seen first."""
    where = "" if function is None else " WHERE r.function = ?1"
    query = _SELECT.format(source="recipe AS r") + where
    query += " ORDER BY r.created DESC, r.checksum DESC LIMIT ?2"
    return list(map(_recipe, connection.execute(query, (function, limit))))


def recipes_named(connection: sqlite3.Connection, checksums: Sequence[str]) -> list[dict[str, Any]]:
    """List those of some recipes that are known, the one that was last stored or seen first."""
    source = "json_each(?) AS wanted CROSS JOIN recipe AS r ON r.checksum = wanted.value"
    query = _SELECT.format(source=source) + " ORDER BY r.created DESC, r.checksum DESC"
    wanted = keys_as_json(dict.fromkeys(checksums))
    return list(map(_recipe, connection.execute(query, (wanted,))))


def _recipe(row: tuple[Any, ...]) -> dict[str, Any]:
    found = dict(zip(RECIPE_COLUMNS, row, strict=True))
    # Recipes come as texts; another program may have put anything into the file.
    return {**found, "recipe": found["recipe"].decode(errors="replace")}


def put_notes(connection: sqlite3.Connection, notes: Sequence[tuple[str, str]]) -> None:
    """Keep notes, as JSON; the first one about a checksum stays."""
    connection.executemany("INSERT OR IGNORE INTO note (checksum, document) VALUES (?, ?)", notes)


def notes(connection: sqlite3.Connection, checksums: Sequence[str]) -> dict[str, str]:
    """Give what is noted about those of some checksums that are known: JSON texts."""
    query = (
        "SELECT n.checksum, n.document FROM json_each(?) AS wanted"
        " CROSS JOIN note AS n ON n.checksum = wanted.value"
    )
    return dict(connection.execute(query, (keys_as_json(checksums),)).fetchall())
