"""``seamless-dask-cache audit``: results on record that differ from the first ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from seamless_dask_cache.cli.inspect import asked
from seamless_dask_cache.cli.records import time_text
from seamless_dask_cache.database import DatabaseClient


def print_divergences(
    cache_dir: Path | None, database: str | None, *, as_json: bool, limit: int
) -> None:
    """Print what came out differently, newest first."""
    rows = asked(cache_dir, database, lambda client: divergences_of(client, limit))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table("seen", "function", "transformation", "first", "second", "served")
    for row in rows:
        checksums = (row[name] or "" for name in ("transformation", "first", "second"))
        served = "no" if row["irreproducible"] else "the first"
        short = [text[:12] for text in checksums]
        table.add_row(time_text(row["created"]), row["function"], *short, served)
    Console(width=None if Console().is_terminal else 160).print(table)


def divergences_of(client: DatabaseClient, limit: int) -> list[dict[str, Any]]:
    """Return the divergences on record, newest first.

    Parameters
    ----------
    client : DatabaseClient
    limit : int
        How many at most.

    Returns
    -------
    list of dict
        ``function`` (empty when it is not on record), ``transformation``, ``first`` (a checksum, or
        None), ``second``, ``created`` (seconds since 1970), ``irreproducible``.
    """
    rows = client.divergences(limit)
    recipes = client.recipes(checksums=list({row["checksum"] for row in rows})) if rows else []
    functions = {recipe["checksum"]: recipe["function"] for recipe in recipes}
    return [
        {
            "function": functions.get(row["checksum"], ""),
            "transformation": row["checksum"],
            "first": row["first"] or _contested(client, row),
            "second": row["result"],
            "created": row["created"],
            "irreproducible": row["irreproducible"],
        }
        for row in rows
    ]


def _contested(client: DatabaseClient, row: dict[str, Any]) -> str | None:
    """Return the result that was in force before the transformation was found irreproducible."""
    if not row["irreproducible"]:
        return None
    records = client.get_irreproducible_records(row["checksum"]) or []
    others = [str(record["result"]) for record in records if record["result"] != row["result"]]
    return others[0] if others else None
