"""The command ``seamless-dask-cache``, which is also ``dask cache``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from seamless_dask_cache._version import __version__

cache_dir_option = click.option(
    "--cache-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Home of the embedded database; the user's cache folder by default.",
)


@click.group(name="cache", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """A persistent, shared, content-addressed memory for Dask programs."""


@main.command()
@cache_dir_option
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64))
@click.option(
    "--json",
    "report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the table to this file.",
)
def demo(cache_dir: Path | None, workers: int, report: Path | None) -> None:
    """Run a pipeline over 336,776 flights: without the cache, cold, warm, and after an edit."""
    from seamless_dask_cache.cli.demo import run_demo

    run_demo(cache_dir, workers, report)


@main.command()
@cache_dir_option
@click.option("--database", help="URL of a database server instead of the embedded one.")
def stats(cache_dir: Path | None, database: str | None) -> None:
    """Say what the database holds in all."""
    from seamless_dask_cache.cli.inspect import print_stats

    print_stats(cache_dir, database)


@main.command()
@cache_dir_option
@click.option("--database", help="URL of a database server instead of the embedded one.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1))
@click.argument("prefix", required=False)
def ls(cache_dir: Path | None, database: str | None, limit: int, prefix: str | None) -> None:
    """List stored results, newest first; PREFIX keeps those whose key starts with it."""
    from seamless_dask_cache.cli.inspect import print_entries

    print_entries(cache_dir, database, prefix, limit)


@main.command()
@cache_dir_option
@click.option("--database", help="URL of a database server instead of the embedded one.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--limit", default=5, show_default=True, type=click.IntRange(1, 1000))
@click.argument("target")
def explain(
    target: str, cache_dir: Path | None, database: str | None, as_json: bool, limit: int
) -> None:
    """Say what is on record of TARGET, and what differs from the nearest earlier call.

    TARGET is FILE.py::function (also FILE.py::Class.method): is what the function is now on record,
    and if not, what changed? Or a transformation checksum, or the beginning of one or of a key:
    the recipe, readable. --limit is the number of recent calls that are listed.
    """
    from seamless_dask_cache.cli.explain import print_explanation

    print_explanation(target, cache_dir, database, as_json=as_json, limit=limit)


@main.command()
@cache_dir_option
@click.option("--database", help="URL of a database server instead of the embedded one.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10_000))
def audit(cache_dir: Path | None, database: str | None, as_json: bool, limit: int) -> None:
    """List results that differ from the first ones on record, newest first.

    Either another run gave them, and the first result is still served; or an audit found that the
    transformation is irreproducible (cache.audit() in Python), and it is served no more.
    """
    from seamless_dask_cache.cli.audit import print_divergences

    print_divergences(cache_dir, database, as_json=as_json, limit=limit)


@main.command()
@click.option("--overwrite", is_flag=True, help="Replace COPY, once the new copy is whole.")
@click.option("--no-check", is_flag=True, help="Keep the copy also when FILE is damaged.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("copy", type=click.Path(path_type=Path))
def backup(file: Path, copy: Path, overwrite: bool, no_check: bool) -> None:
    """Copy the database FILE to COPY as it is at this moment, also while a server writes to it.

    COPY is complete in this one file: a server can be started on it. Large buffers are not part of
    it: they stand in a folder of their own, which any program can copy, best after this. A
    published seamless-database, which writes without a write-ahead log, has to wait until the copy
    is made, and gives up requests after 5 seconds: stop it first.
    """
    from seamless_dask_cache.cli.maintenance import make_backup

    make_backup(file, copy, overwrite=overwrite, check=not no_check)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(0),
    help="Print so many problems at most, and count the others.",
)
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path, as_json: bool, limit: int) -> None:
    """Check that the database FILE is whole, also while a server writes to it.

    First SQLite looks at its structures, then every row is read: buffers must have the SHA-256 that
    names them, documents must be JSON, records must fit their transformations. Nothing is changed.
    The exit code is 1 when there are problems; remarks are harmless. Large buffers, in a folder of
    their own, are not looked at. A published seamless-database, which writes without a write-ahead
    log, has to wait meanwhile, and gives up requests after 5 seconds: stop it first.
    """
    from seamless_dask_cache.cli.maintenance import print_problems

    print_problems(file, as_json=as_json, limit=limit)


@main.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def server(arguments: tuple[str, ...]) -> Any:
    """Run a database server; takes the arguments of ``seamless-database``."""
    from seamless_dask_cache.server.__main__ import main as serve

    return serve(list(arguments), prog_name="seamless-dask-cache server")
