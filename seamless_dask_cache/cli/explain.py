"""``seamless-dask-cache explain``: what a database has on record of a function or of a task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from seamless_dask_cache.cli.explain_function import describe_function, explain_function
from seamless_dask_cache.cli.explain_record import describe_record, explain_record
from seamless_dask_cache.cli.inspect import asked

SEPARATOR = "::"


def print_explanation(
    target: str, cache_dir: Path | None, database: str | None, *, as_json: bool, limit: int
) -> None:
    """Print what is known of a target.

    Parameters
    ----------
    target : str
        ``FILE.py::function``, a transformation checksum or its beginning, or the beginning of a
        key.
    cache_dir, database : path or None, str or None
        As given on the command line.
    as_json : bool
        Print JSON instead of text.
    limit : int
        Recent calls that are listed at most.

    Raises
    ------
    click.ClickException
        When the target is empty or cannot be found, or the database does not answer.
    """
    if not target.strip():
        raise click.ClickException("name a FILE.py::function, a checksum or the beginning of a key")
    found: dict[str, Any]
    if SEPARATOR in target:
        file, _, name = target.partition(SEPARATOR)
        # Before the database is asked: what is wrong here needs none.
        function = describe_function(Path(file), name)
        found = asked(cache_dir, database, lambda c: explain_function(c, function, limit))
        text = function.text(found)
    else:
        found = asked(cache_dir, database, lambda client: explain_record(client, target))
        text = describe_record(found)
    click.echo(json.dumps(found, indent=2) if as_json else text)
