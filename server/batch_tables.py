"""SQL of batches, over all tables: lookups in one statement, writes in one transaction."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from .cache_tables import put_buffers
from .cost_tables import CodeCost, put_costs
from .cutoff_tables import Cutoff, put_cutoffs
from .recipe_tables import NamedRecipe, put_notes, put_recipes
from .tables import (
    Row,
    add_transformations,
    forget_cutoffs,
    irreproducible_among,
    keys_as_json,
    remove_transformations,
    touch,
    transformation_results,
)

DIVERGENCE_COLUMNS = ("checksum", "result", "first", "created", "irreproducible")


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
    """Columns of ``cache_entry`` after the checksums, of which the function is the first."""
    files: str | None
    """Files that the computation read, ``{path: state}`` as JSON; never an empty object."""


class Batch(NamedTuple):
    """What one request writes, checked."""

    items: Sequence[Item] = ()
    forget: Sequence[str] = ()
    """Transformations, which are removed before anything is stored."""
    recipes: Sequence[NamedRecipe] = ()
    """Recipes of transformations that may have no result."""
    notes: Sequence[tuple[str, str]] = ()
    """Checksums, and what is noted about each, as JSON."""
    cutoffs: Sequence[Cutoff] = ()
    costs: Sequence[CodeCost] = ()
    touch: Sequence[str] = ()
    """Transformations whose results were used now."""


class StoreReport(NamedTuple):
    """What became of the items of a batch, and of what it asked to forget."""

    stored: int
    existing: int
    diverged: list[str]
    forgotten: int
    touched: int


def look_up(
    connection: sqlite3.Connection, transformations: Sequence[str], inline: bool
) -> Iterator[Row]:
    """Look up many transformations in one statement, in the order in which they are given.

    Yields
    ------
    tuple
        For each known one: transformation, result, content or None, whether the content is in this
        file, seconds, bytes, time of creation, files that were read as JSON or None.
    """
    # One statement, so that no result is ever seen with the files of an earlier one.
    # CROSS JOIN keeps SQLite from turning the loop inside out: it knows no size for json_each.
    query = (
        "SELECT t.checksum, t.result, {content}, b.checksum IS NOT NULL,"
        " e.seconds, e.nbytes, e.created, f.files"
        " FROM json_each(?) AS wanted CROSS JOIN transformation AS t ON t.checksum = wanted.value"
        " LEFT JOIN buffer AS b ON b.checksum = t.result"
        " LEFT JOIN cache_entry AS e ON e.checksum = t.checksum AND e.result = t.result"
        " LEFT JOIN files_read AS f ON f.checksum = t.checksum"
        " WHERE t.checksum NOT IN (SELECT checksum FROM irreproducible_transformation)"
    ).format(content="CAST(b.content AS BLOB)" if inline else "NULL")
    with contextlib.closing(connection.execute(query, (keys_as_json(transformations),))) as rows:
        yield from rows


def store_batch(connection: sqlite3.Connection, batch: Batch) -> StoreReport:
    """Forget some transformations, then write back others; inside the caller's transaction.

    The first result of a transformation stays; a different one is noted as a divergence, and so is
    any result of a transformation that was found irreproducible.
    """
    forgotten = _forget(connection, batch.forget)
    new, existing, diverged = _classify(connection, batch.items)
    now = time.time()
    add_transformations(connection, [(item.transformation, item.result) for item in new])
    _write_details(connection, [*new, *existing])
    _write_files(connection, new, existing)
    put_recipes(connection, [*_recipes([*new, *existing]), *batch.recipes], now)
    put_notes(connection, batch.notes)
    put_cutoffs(connection, batch.cutoffs)
    put_costs(connection, batch.costs)
    connection.executemany(
        "INSERT INTO divergence (checksum, result, created) VALUES (?, ?, ?)",
        [(item.transformation, item.result, now) for item in diverged],
    )
    names = list(dict.fromkeys(item.transformation for item in diverged))
    touched = touch(connection, batch.touch, int(now))
    return StoreReport(len(new), len(existing), names, forgotten, touched)


def _classify(
    connection: sqlite3.Connection, items: Sequence[Item]
) -> tuple[list[Item], list[Item], list[Item]]:
    wanted = list({item.transformation for item in items})
    known: dict[str, str | None] = {
        **transformation_results(connection, wanted),
        **dict.fromkeys(irreproducible_among(connection, wanted)),
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


def _write_details(connection: sqlite3.Connection, items: Sequence[Item]) -> None:
    """Add what an item brings and the file lacks; a record or entry of another result is stale."""
    put_buffers(connection, [(i.result, i.content) for i in items if i.content is not None])
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


def _write_files(
    connection: sqlite3.Connection, new: Sequence[Item], existing: Sequence[Item]
) -> None:
    """Set what results depend on: newer states win.

    A known result keeps its files when this item names none: they were read once, so they count.
    What is on record for a new one belongs to an earlier result, which another program removed.
    """
    if connection.execute("SELECT 1 FROM files_read LIMIT 1").fetchone() is not None:
        connection.executemany(
            "DELETE FROM files_read WHERE checksum = ?", [(item.transformation,) for item in new]
        )
    connection.executemany(
        "INSERT OR REPLACE INTO files_read (checksum, result, files) VALUES (?, ?, ?)",
        [(i.transformation, i.result, i.files) for i in (*new, *existing) if i.files is not None],
    )


def _recipes(items: Sequence[Item]) -> list[NamedRecipe]:
    return [
        NamedRecipe(item.transformation, (item.entry and item.entry[0]) or "", item.recipe)
        for item in items
        if item.recipe is not None
    ]


def divergences(connection: sqlite3.Connection, limit: int) -> list[dict[str, Any]]:
    """List divergences, newest first.

    Returns
    -------
    list of dict
        ``checksum`` (the transformation), ``result`` (the one that came later), ``first`` (the one
        in force, or None), ``created``, and whether the transformation is ``irreproducible``.
    """
    rows = connection.execute(
        "SELECT d.checksum, d.result, t.result, d.created, EXISTS"
        " (SELECT 1 FROM irreproducible_transformation AS i WHERE i.checksum = d.checksum)"
        " FROM divergence AS d LEFT JOIN transformation AS t ON t.checksum = d.checksum"
        " ORDER BY d.id DESC LIMIT ?",
        (limit,),
    )
    return [dict(zip(DIVERGENCE_COLUMNS, (*row[:-1], bool(row[-1])), strict=True)) for row in rows]


def _forget(connection: sqlite3.Connection, checksums: Sequence[str]) -> int:
    """Remove transformations, and the buffers that nothing else names."""
    known = transformation_results(connection, checksums)
    remove_transformations(connection, list(known.items()))
    forget_cutoffs(connection, known.values())
    connection.executemany("DELETE FROM recipe WHERE checksum = ?", [(c,) for c in known])
    connection.executemany(
        "DELETE FROM buffer WHERE checksum = ?1"
        " AND NOT EXISTS (SELECT 1 FROM rev_transformation WHERE result = ?1)"
        " AND NOT EXISTS (SELECT 1 FROM recipe WHERE checksum = ?1)",
        [(checksum,) for checksum in {*known, *known.values()}],
    )
    return len(known)
