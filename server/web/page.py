"""The page that a browser gets: how much is on record, and the newest results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from seamless_dask_cache._version import __version__

if TYPE_CHECKING:
    from jinja2 import Template

ENTRIES = 50
"""How many results the page lists."""


def render(
    name: str,
    *,
    writable: bool,
    summary: Mapping[str, float],
    hits: int,
    misses: int,
    entries: Sequence[Mapping[str, Any]],
) -> str:
    """Write the page.

    Parameters
    ----------
    name : str
        Of the database file.
    writable : bool
    summary : mapping
        As `cache_tables.summary` gives it.
    hits, misses : int
        How many lookups since the server started.
    entries : sequence of mapping
        As `cache_tables.entries` gives them.
    """
    figures = [
        ("transformations", f"{summary['transformations']:,}"),
        ("hits since the start", f"{hits:,}"),
        ("misses since the start", f"{misses:,}"),
        ("of computing on record", _seconds(summary["seconds"])),
        ("of results", _bytes(summary["result_bytes"])),
        ("execution records", f"{summary['records']:,}"),
        ("irreproducible", f"{summary['irreproducible']:,}"),
        ("database file", _bytes(summary["file_bytes"])),
    ]
    return _template().render(
        name=name, writable=writable, version=__version__, figures=figures, entries=entries
    )


@cache
def _template() -> Template:
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(seconds=_seconds, bytes=_bytes, moment=_moment)
    return environment.from_string(files(__package__).joinpath("page.html").read_text("utf-8"))


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if value >= size:
            return f"{value / size:,.1f} {unit}"
    return f"{1000 * value:.1f} ms"


def _bytes(value: float | None) -> str:
    from jinja2.filters import do_filesizeformat

    return "" if value is None else do_filesizeformat(value)


def _moment(value: float | None) -> str:
    try:
        moment = datetime.fromtimestamp(value or 0, timezone.utc)
    except (OverflowError, ValueError, OSError):  # what another program wrote
        return ""
    return "" if value is None else f"{moment:%Y-%m-%d %H:%M:%S}"
