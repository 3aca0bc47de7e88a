"""Columns for charts, from what `History.as_dict` tells. Pure functions over plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

OUTCOMES = ("hits", "misses", "refused")


def so_far(series: Mapping[str, Sequence[float]], names: Sequence[str]) -> dict[str, list[float]]:
    """Return running totals over time.

    A stretch of time counts when it ends, and totals stay where they are until the next one begins;
    so stretches of different lengths can stand in one chart.

    Parameters
    ----------
    series : mapping
        ``start``, ``stop`` and a column for every name, oldest first.
    names : sequence of str
        Of the columns to add up.

    Returns
    -------
    dict
        ``time``, in seconds since 1970, and the columns; twice as long as the series.
    """
    times = zip(series["start"], series["stop"], strict=True)
    columns: dict[str, list[float]] = {"time": [moment for pair in times for moment in pair]}
    for name in names:
        totals = [0.0, *accumulate(series[name])]
        pairs = pairwise(totals)
        columns[name] = [total for pair in pairs for total in pair]
    return columns


def per_prefix(
    prefixes: Mapping[str, Mapping[str, Any]], most: int | None = None
) -> dict[str, list[Any]]:
    """Return columns with a row for every task prefix.

    Parameters
    ----------
    prefixes : mapping
        Prefix to amounts by name.
    most : int, optional
        How many rows at most; the first ones stay.
    """
    chosen = list(prefixes.items())[:most]
    names = next(iter(chosen))[1] if chosen else ()
    columns: dict[str, list[Any]] = {"prefix": [prefix for prefix, _ in chosen]}
    return columns | {name: [amounts[name] for _, amounts in chosen] for name in names}


def bytes_text(nbytes: float) -> str:
    """Return a size as people write it."""
    from dask.utils import format_bytes

    return str(format_bytes(int(nbytes)))


def seconds_text(seconds: float) -> str:
    """Return a stretch of time as people write it."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3_600:,.1f} h"


def share_text(amounts: Mapping[str, float]) -> str:
    """Return which part of the judged tasks were hits, in percent."""
    judged = sum(amounts[name] for name in OUTCOMES)
    return f"{100 * amounts['hits'] / judged:.0f} %" if judged else "-"
