"""SQL on costs: what running code took so far, as sums, so that means are known at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

MOST_RUNS = 1_000
"""Sums over more runs (or loads) are halved with their number, so that means follow changes."""


class CodeCost(NamedTuple):
    """What to add for one code, checked."""

    code: bytes
    runs: int
    seconds: float
    """In all runs together, as `nbytes`, the sizes of their results."""
    nbytes: float
    loads: int
    load_seconds: float
    """In all loads together."""


# Expressions of an update see the old values of all columns.
_PUT = (
    "INSERT INTO cost (code, runs, seconds, nbytes, loads, load_seconds)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (code) DO UPDATE SET"
    " seconds = seconds / {ran} + ?3, nbytes = nbytes / {ran} + ?4, runs = runs / {ran} + ?2,"
    " load_seconds = load_seconds / {loaded} + ?6, loads = loads / {loaded} + ?5"
).format(
    ran=f"CASE WHEN runs + ?2 > {MOST_RUNS} THEN 2 ELSE 1 END",
    loaded=f"CASE WHEN loads + ?5 > {MOST_RUNS} THEN 2 ELSE 1 END",
)


def put_costs(connection: sqlite3.Connection, costs: Sequence[CodeCost]) -> None:
    """Add to the sums of some codes."""
    connection.executemany(_PUT, costs)


def costs_of(
    connection: sqlite3.Connection, codes: Sequence[str]
) -> dict[str, tuple[int, float, float, int, float]]:
    """Give runs, seconds, bytes, loads and seconds of loading of those codes that are known."""
    query = "SELECT runs, seconds, nbytes, loads, load_seconds FROM cost WHERE code = ?"
    found = {
        code: connection.execute(query, (bytes.fromhex(code),)).fetchone()
        for code in dict.fromkeys(codes)
    }
    return {code: row for code, row in found.items() if row is not None}
