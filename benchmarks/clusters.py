"""The cache compared with plain Dask: both sides in turn on two clusters of the same shape."""

from __future__ import annotations

import gc
import logging
import math
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import click
import dask
import distributed
from rich.table import Table

import seamless_dask_cache as sdc
from benchmarks.tables import show, verdict


def increment(x):
    return x + 1


def add(*xs):
    return sum(xs)


def nothing(x):
    return x


def pause(salt, x):
    time.sleep(0.005)
    return x


def delayed_tree(leaves=10_000, salt=0):
    """11,001 tasks for 10,000 leaves; one requested key."""
    one, total = dask.delayed(increment), dask.delayed(add)
    values = [one(salt + i) for i in range(leaves)]
    return total(*[total(*values[i : i + 10]) for i in range(0, leaves, 10)])


# Each program comes as two steps, of which the second is timed: prepare, and from submission to the
# result in the client's hands.


def tree(client, salt):
    value = delayed_tree(salt=salt)
    return lambda: client.compute(value).result()


def map_all(client, salt):
    values = range(salt, salt + 10_000)
    return lambda: sum(client.gather(client.map(nothing, values, pure=False)))


def pauses(client, salt):
    salts = [salt] * 1000
    return lambda: sum(client.gather(client.map(pause, salts, range(1000), pure=False)))


ROWS: list[tuple[str, Callable, bool, float, float]] = [
    ("warm: 11,001-task delayed graph, one requested key", tree, True, 1 / 12, 1 / 20),
    ("warm: client.map of 10,000 no-op calls, all requested", map_all, True, 1 / 5, 1 / 8),
    ("cold: 1,000 tasks of 5 ms", pauses, False, 1.10, 1.03),
    ("cold: 11,001 no-op delayed tasks", tree, False, 1.20, 1.05),
]


def timed(function, client, salt):
    program = function(client, salt)
    gc.collect()
    started = time.perf_counter()
    value = program()
    return time.perf_counter() - started, value


def compare(plain, cached, cache, function, warm, runs):
    """Return the seconds of both sides, run by run."""
    pairs = []
    for run in range(runs + 1):
        salt = 0 if warm else run * 1_000_000 + 17
        pair = []
        sides = [(plain, None), (cached, cache)]
        for client, memory in sides if run % 2 else reversed(sides):
            seconds, value = timed(function, client, salt)
            if memory is not None:
                memory.flush()
            pair.append((memory is not None, seconds, value))
        (_, first, a), (_, second, b) = sorted(pair)
        # Not equality: plain Dask itself adds floats up in the order in which parts arrive.
        assert math.isclose(a, b, rel_tol=1e-12) if isinstance(a, float) else a == b, (a, b)
        if run:  # the first run warms both sides up, and fills the cache for the warm rows
            pairs.append((first, second))
    return pairs


def new_cluster():
    cluster = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        silence_logs=logging.ERROR,
    )
    return distributed.Client(cluster, set_as_default=False)


def run(runs: int, row: tuple[int, ...]) -> None:
    """Print the ratios cache / plain Dask."""
    table = Table("benchmark", "plain s", "cache s", "ratio", "must be", "aim", "")
    for number, (title, function, warm, must, aim) in enumerate(ROWS, 1):
        if row and number not in row:
            continue
        with tempfile.TemporaryDirectory() as folder, new_cluster() as plain, new_cluster() as mine:
            cache = sdc.enable(mine, cache_dir=Path(folder) / uuid.uuid4().hex)
            pairs = compare(plain, mine, cache, function, warm, runs)
            plain.cluster.close()
            mine.cluster.close()
        ratio = statistics.median(b / a for a, b in pairs)
        plain_s, cache_s = (statistics.median(side) for side in zip(*pairs, strict=True))
        limits = [f"1/{1 / x:.0f}" if x < 1 else f"{x:.2f}" for x in (must, aim)]
        shown = f"1/{1 / ratio:.1f}" if ratio < 0.7 else f"{ratio:.3f}"
        seconds = (f"{plain_s:.2f}", f"{cache_s:.2f}")
        table.add_row(title, *seconds, shown, *limits, verdict(ratio, must, aim))
        click.echo(f"{title}: {shown}", err=True)
    show(table, f"medians of {runs}; 2 worker processes with 1 thread")
