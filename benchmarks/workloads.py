"""Ten workloads of different kinds, cold: what the cache costs those who gain nothing by it."""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import click
import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
from rich.table import Table

import seamless_dask_cache as sdc
from benchmarks.clusters import compare, delayed_tree, new_cluster, nothing
from benchmarks.tables import show, verdict

MUST, AIM = 1.20, 1.05


def pause_and_fill(salt, number):
    time.sleep(0.02)
    return np.full(125_000, float(salt + number))


def decomposed(salt, number):
    return np.linalg.svd(np.random.default_rng(salt + number).normal(size=(150, 150)))[1].sum()


def part(number, salt=0):
    numbers = np.arange(50_000) * 7 + number + salt
    return pd.DataFrame({"key": numbers % 97, "group": numbers % 11, "value": numbers / 3.0})


def words(number):
    return [f"w{(number * 31 + n) % 5000}" for n in range(2000)]


def frames(salt, partitions=24):
    return dd.from_map(part, range(partitions), salt=salt)


def of(make: Callable) -> Callable:
    """A program that computes one collection."""
    return lambda client, salt: (lambda value: lambda: client.compute(value).result())(make(salt))


def tree(salt):
    return delayed_tree(leaves=4000, salt=salt)


def statistics_of_array(salt):
    x = da.arange(24_000_000, chunks=500_000) + salt
    return da.stack([x.mean(), x.std(), ((x - x.min()) / x.max()).sum()]).sum()


def product(salt):
    x = da.random.default_rng(salt).random((2400, 2400), chunks=(400, 400))
    return (x @ x.T).sum()


def rechunked(salt):
    x = da.ones((6000, 3000), chunks=(500, 3000)) * salt
    return x.rechunk((6000, 250)).sum(axis=0).std()


def grouped(salt):
    return frames(salt).groupby(["key", "group"]).value.agg(["mean", "std"]).sum().sum()


def shuffled(salt):
    with dask.config.set({"dataframe.shuffle.method": "tasks"}):
        left, right = (
            frames(salt, 12),
            frames(salt + 1, 12).groupby("key").value.max().reset_index(),
        )
        return left.merge(right, on="key").value_x.sum().optimize()


def counted(salt):
    return (
        db.from_sequence(range(salt, salt + 200), npartitions=50).map(words).flatten().frequencies()
    )


def svds(client, salt):
    salts = [salt] * 200
    return lambda: sum(client.gather(client.map(decomposed, salts, range(200), pure=False)))


def fills(client, salt):
    def program():
        futures = client.map(pause_and_fill, [salt] * 150, range(150), pure=False)
        return float(client.submit(np.sum, client.submit(sum, futures)).result())

    return program


def loop(client, salt):
    return lambda: sum(client.gather([client.submit(nothing, salt + n) for n in range(2000)]))


WORKLOADS: list[tuple[str, Callable]] = [
    ("delayed: 4,401 no-op tasks", of(tree)),
    ("submit: loop of 2,000 no-op calls", loop),
    ("map: 200 decompositions of 150 x 150 matrices", svds),
    ("map: 150 tasks of 20 ms, 1 MB each", fills),
    ("array: mean, std, scaled sum of 24 million numbers", of(statistics_of_array)),
    ("array: product of random matrices", of(product)),
    ("array: rechunk 6,000 x 3,000", of(rechunked)),
    ("dataframe: groupby of 1.2 million rows", of(grouped)),
    ("dataframe: merge by tasks", of(shuffled)),
    ("bag: frequencies of 400,000 words", of(counted)),
]


def run(runs: int, row: tuple[int, ...]) -> None:
    """Print the ratios cache / plain Dask, with default settings."""
    logging.getLogger("distributed").setLevel(logging.ERROR)
    table = Table("workload, cold", "plain s", "cache s", "ratio", "must be", "aim", "")
    for number, (title, function) in enumerate(WORKLOADS, 1):
        if row and number not in row:
            continue
        with tempfile.TemporaryDirectory() as folder, new_cluster() as plain, new_cluster() as mine:
            cache = sdc.enable(mine, cache_dir=Path(folder) / uuid.uuid4().hex)
            pairs = compare(plain, mine, cache, function, False, runs)
            plain.cluster.close()
            mine.cluster.close()
        ratio = statistics.median(b / a for a, b in pairs)
        plain_s, cache_s = (statistics.median(side) for side in zip(*pairs, strict=True))
        limits = (f"{MUST:.2f}", f"{AIM:.2f}", verdict(ratio, MUST, AIM))
        table.add_row(title, f"{plain_s:.2f}", f"{cache_s:.2f}", f"{ratio:.3f}", *limits)
        click.echo(f"{title}: {ratio:.3f}", err=True)
    show(table, f"medians of {runs}; 2 worker processes with 1 thread, default settings")
