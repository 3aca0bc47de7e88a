"""What named datasets cost: 80 MB beside dirdb 0.1.0 and numpy, and small ones by the second.

This side brings what it writes to the disk before it says so; dirdb leaves that to the system.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import click
import dirdb
import numpy as np
from rich.table import Table

from benchmarks.tables import seconds, show
from seamless_dask_cache import stores

NUMBERS = 10_000_000
SMALL = 200


def sides(folder):
    """Yield a name, and the functions of both sides."""
    array = np.random.default_rng(0).random(NUMBERS)
    theirs, ours = dirdb.dirdb(folder / "theirs"), stores.dirdb(folder / "ours")
    theirs["x"].put_data(array)
    ours["x"].put_data(array, mmap=True, checksum=True)
    ours["y"].put_data(array)
    np.save(folder / "x.npy", array)

    def mapped_by_numpy():
        return np.load(folder / "x.npy", mmap_mode="c").sum()

    def mapped():
        return ours["x"].get_data(mmap=True).sum()

    yield "put", lambda: theirs["y"].put_data(array), lambda: ours["y"].put_data(array)
    yield (
        "put, with a file to map",
        lambda: theirs["y"].put_data(array),
        lambda: ours["z"].put_data(array, mmap=True),
    )
    yield "get", lambda: theirs["x"].get_data(), lambda: ours["y"].get_data()
    yield (
        "get, verified",
        lambda: theirs["x"].get_data(),
        lambda: ours["x"].get_data(verify=True),
    )
    yield "get, mapped, and sum / np.load, mapped, and sum", mapped_by_numpy, mapped


def large_table(runs):
    table = Table(title="80 MB of float64")
    for column in ("row", "dirdb 0.1.0 or numpy", "here", "ratio"):
        table.add_column(column, justify="left" if column == "row" else "right")
    with tempfile.TemporaryDirectory() as name:
        for row, theirs, ours in sides(Path(name)):
            times = [(seconds(theirs), seconds(ours)) for _ in range(runs + 1)][1:]
            one, other = (statistics.median(side) for side in zip(*times, strict=True))
            table.add_row(row, f"{one * 1e3:.1f} ms", f"{other * 1e3:.1f} ms", f"{other / one:.2f}")
    return table


def operations(db):
    """Yield a name, and a function of a number that is to be called often."""
    yield "put", lambda n: db[f"a{n}"].put_data(n)
    yield "put, data and metadata together", lambda n: db[f"b{n}"].put_data(n, {"number": n})
    yield "assign metadata", lambda n: setattr(db[f"a{n}"], "meta", {"number": n})
    yield "get", lambda n: db[f"a{n}"].get_data()
    yield "read metadata", lambda n: db[f"a{n}"].meta.number
    yield f"names, of {2 * SMALL}", lambda n: db.names()


def small_table(runs):
    table = Table(title="Small datasets, one thread")
    table.add_column("row")
    table.add_column("per second", justify="right")
    with tempfile.TemporaryDirectory() as name:
        for row, function in operations(stores.dirdb(name)):
            found = statistics.median(per_second(function) for _ in range(runs))
            table.add_row(row, f"{found:,.0f}")
    return table


def per_second(function):
    started = time.perf_counter()
    for number in range(SMALL):
        function(number)
    return SMALL / (time.perf_counter() - started)


def run(runs: int) -> None:
    for table in (large_table(runs), small_table(runs)):
        show(table, f"medians of {runs}")
        click.echo()
