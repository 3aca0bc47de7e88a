"""Looking into a database from the command line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.table import Table

from seamless_dask_cache.config import Settings
from seamless_dask_cache.database import DatabaseClient
from seamless_dask_cache.embedded import default_cache_dir, ensure_server
from seamless_dask_cache.errors import SeamlessDaskCacheError

T = TypeVar("T")


def print_stats(cache_dir: Path | None, database: str | None) -> None:
    """Print the totals of a database."""
    summary = asked(cache_dir, database, lambda client: client.summary())
    table = Table("what", "value", title="seamless-dask-cache")
    for name, value in summary.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    Console().print(table)


def print_entries(
    cache_dir: Path | None, database: str | None, prefix: str | None, limit: int
) -> None:
    """Print the newest records of a database."""
    entries = asked(cache_dir, database, lambda client: client.entries(prefix, limit=limit))
    table = Table("created", "key", "function", "seconds", "bytes", "result", "transformation")
    for entry in entries:
        table.add_row(
            datetime.fromtimestamp(entry["created"]).isoformat(" ", "seconds"),
            entry["key_prefix"],
            entry["function"],
            f"{entry['seconds']:.3f}",
            f"{entry['nbytes']:,}",
            entry["result"][:12],
            entry["checksum"][:12],
        )
    Console(width=None if Console().is_terminal else 160).print(table)


def asked(
    cache_dir: Path | None, database: str | None, question: Callable[[DatabaseClient], T]
) -> T:
    """Ask a database something, and disconnect.

    Parameters
    ----------
    cache_dir, database : path or None, str or None
        As given on the command line.
    question : callable
        Takes the client.

    Raises
    ------
    click.ClickException
        When there is no cache, or the database does not answer.
    """
    try:
        settings = Settings.from_arguments(database=database, cache_dir=cache_dir)
        url, token = settings.database, settings.token
        if url is None:
            folder = Path(settings.cache_dir) if settings.cache_dir else default_cache_dir()
            if not (folder / "cache.db").exists():
                raise click.ClickException(f"there is no cache in {folder} yet")
            endpoint = ensure_server(folder)
            url, token = endpoint.url, endpoint.token
        client = DatabaseClient(url, token)
        try:
            return question(client)
        finally:
            client.close()
    except (SeamlessDaskCacheError, OSError) as error:
        raise click.ClickException(str(error)) from error
