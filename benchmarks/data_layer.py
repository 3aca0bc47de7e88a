"""What the data layer costs: arrays as buffers beside numpy's own files, and the buffer cache.

Both sides of a row have the array and give the bytes in memory, or the other way round. In the rows
with a file, this side brings it to the disk and checks nothing; numpy leaves it to the system.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from rich.table import Table

from benchmarks.tables import seconds, show, verdict
from seamless_dask_cache import Buffer, BufferCache, Checksum, deserialize, serialize

NUMBERS = 10_000_000
MUST, AIM = 1.2, 1.0
BUFFERS = 1_000
CALLS = 100_000


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file


def sides(folder):
    """Yield a name, the functions of both sides, and whether there is a budget."""
    array = np.random.default_rng(0).random(NUMBERS)
    content = serialize(array, "binary")
    theirs, ours = folder / "array.npy", folder / "array"
    np.save(theirs, array)
    Buffer(content).save(ours)
    yield (
        "serialize / np.save, in memory",
        lambda: saved(array),
        lambda: serialize(array, "binary"),
        True,
    )
    yield (
        "deserialize / np.load, in memory",
        lambda: np.load(io.BytesIO(content)),
        lambda: deserialize(content, "binary"),
        True,
    )
    yield (
        "Buffer.save / np.save, a file",
        lambda: np.save(theirs, array),
        lambda: Buffer(array, "binary").save(ours),
        False,
    )
    yield (
        "Buffer.load and get_value / np.load, a file",
        lambda: np.load(theirs),
        lambda: Buffer.load(ours).get_value("binary"),
        False,
    )


def measured(theirs, ours, runs):
    """Run both sides in turn, after one warm-up."""
    times = [(seconds(theirs), seconds(ours)) for _ in range(runs + 1)][1:]
    return [statistics.median(side) for side in zip(*times, strict=True)]


def arrays_table(runs):
    table = Table(title="80 MB of float64")
    for column in ("row", "numpy", "buffers", "ratio", "must", ""):
        table.add_column(column, justify="left" if column == "row" else "right")
    with tempfile.TemporaryDirectory() as name:
        for row, theirs, ours, has_budget in sides(Path(name)):
            one, other = measured(theirs, ours, runs)
            ratio = other / one
            said = verdict(ratio, MUST, AIM) if has_budget else ""
            must = f"{MUST:g}" if has_budget else ""
            columns = (row, f"{one * 1e3:.1f} ms", f"{other * 1e3:.1f} ms", f"{ratio:.2f}")
            table.add_row(*columns, must, said)
    return table


# The buffer cache ---------------------------------------------------------------------------------


def operations(cache, buffers):
    """Yield a name, and a function of a number that is to be called often."""
    names = [buffer.checksum.hex() for buffer in buffers]
    checksums = [Checksum(name) for name in names]
    yield "get", lambda n: cache.get(names[n])
    yield "register, known", lambda n: cache.register(buffers[n])
    yield "incref and decref", lambda n: (cache.incref(names[n]), cache.decref(names[n]))
    yield "tempref, renewed", lambda n: cache.tempref(names[n])
    yield "Checksum.resolve, here", lambda n: checksums[n].resolve()


def per_second(function):
    started = time.perf_counter()
    for number in range(CALLS):
        function(number % BUFFERS)
    return CALLS / (time.perf_counter() - started)


def evictions_per_second(runs):
    """Take in ten times what the caps allow, with temprefs only, and let go of the rest."""
    found = []
    for _ in range(runs):
        cache = BufferCache(BUFFERS * 100, BUFFERS * 100)
        buffers = [Buffer(f"{number:0100d}".encode()) for number in range(BUFFERS * 10)]
        names = [buffer.checksum for buffer in buffers]
        started = time.perf_counter()
        for name, buffer in zip(names, buffers, strict=True):
            cache.tempref(name, buffer)
        found.append(len(buffers) / (time.perf_counter() - started))
        assert cache.stats()["evicted"] >= 9 * BUFFERS
    return statistics.median(found)


def cache_table(runs):
    table = Table(title=f"Buffer cache, {BUFFERS:,} buffers, one thread")
    table.add_column("row")
    table.add_column("per second", justify="right")
    cache = BufferCache()
    buffers = [Buffer(f"{number:0100d}".encode()) for number in range(BUFFERS)]
    for buffer in buffers:
        cache.incref(buffer.checksum, buffer)
    for row, function in operations(cache, buffers):
        table.add_row(row, f"{statistics.median(per_second(function) for _ in range(runs)):,.0f}")
    table.add_row("new tempref at a full cache", f"{evictions_per_second(runs):,.0f}")
    return table


def run(runs: int) -> None:
    for table in (arrays_table(runs), cache_table(runs)):
        show(table, f"medians of {runs}")
        click.echo()
