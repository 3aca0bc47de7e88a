"""Every Dask collection, optimized as it comes, gives what plain Dask gives, and is served."""

from __future__ import annotations

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray
from test_programs import same
from ways import MANY, run_all


def increment(x):
    return x + 1


def add(*values):
    return sum(values)


def normalized(block):
    return block - block.mean()


def words(line):
    return line.split()


def frame(rows=240):
    n = np.arange(rows)
    return pd.DataFrame({"k": n * 7 % 11, "n": n, "v": np.sqrt(n), "s": [f"s{i % 5}" for i in n]})


def frames(pieces=6):
    return dd.from_pandas(frame(), npartitions=pieces)


def delayed_values(client):
    @dask.delayed(nout=2)
    def halves(x):
        return x // 2, x - x // 2

    low, high = halves(dask.delayed(increment)(8))
    table = dask.delayed({"low": low, "high": [high, {high}]})
    return dask.compute(table, dask.delayed(add)(low, high), dask.delayed(increment)(3) + 1)


def arrays(client):
    x = da.arange(1000, chunks=100)
    y = da.from_array(np.linspace(0, 1, 1000).reshape(100, 10), chunks=(20, 5))
    blocks = y.map_blocks(normalized)
    overlapped = y.map_overlap(np.abs, depth=1, boundary="reflect")
    return dask.compute(
        x.sum(), (x[::3] ** 2)[10:20], blocks @ blocks.T, overlapped.std(0), y[y > 1]
    )


def arrays_in_many_pieces(client):
    return (da.ones((MANY * 10,), chunks=10) * 2).compute()


def random_arrays(client):
    x = da.random.default_rng(3).normal(size=(60, 60), chunks=20)
    q, r = da.linalg.qr(x.rechunk((20, 60)))
    return dask.compute(da.percentile(x.ravel(), [10, 90]), abs(q @ r - x).max() < 1e-9)


def rechunked_by_tasks(client):
    x = da.arange(3600, chunks=360).reshape(60, 60)
    return (x.rechunk((60, 7), method="tasks") + 1).compute()


def rechunked_p2p(client):
    with dask.config.set({"array.rechunk.method": "p2p", "optimization.fuse.active": False}):
        x = da.ones((60, 60), chunks=(60, 10)) * da.arange(60, chunks=10)
        return (x.rechunk((10, 60)) + 1).compute()


def bags(client):
    lines = db.from_sequence(["a b", "c", "d e f", "a"] * 5, npartitions=4)
    folded = lines.map(words).flatten().frequencies(sort=True)
    joined = lines.map(len).to_delayed()
    return dask.compute(folded, lines.map(len).topk(2), joined)


def grouped_bags(client):
    return db.from_sequence(["a b", "c", "d e f"] * 5, npartitions=3).groupby(len).compute()


def dataframes(client):
    ddf = frames()
    wide = ddf.assign(w=ddf.v * 2)[ddf.n % 3 != 0]
    return dask.compute(
        wide.groupby("s").w.mean(),
        ddf.v.rolling(3).sum(),
        ddf.describe(),
        ddf.map_partitions(len),
        ddf.n.max() - ddf.n.min(),
    )


def shuffled_by_tasks(client):
    with dask.config.set({"dataframe.shuffle.method": "tasks"}):
        return frames().shuffle("k").compute().sort_values("n")


def merged_by_tasks(client):
    with dask.config.set({"dataframe.shuffle.method": "tasks"}):
        left, right = frames(), dd.from_pandas(frame(120), npartitions=5)
        return left.merge(right, on="n", suffixes=("", "_r")).compute().sort_values("n")


def shuffled_p2p(client):
    with dask.config.set({"dataframe.shuffle.method": "p2p"}):
        return frames(MANY).shuffle("k").compute().sort_values("n")


def merged_p2p(client):
    with dask.config.set({"dataframe.shuffle.method": "p2p"}):
        left, right = frames(), dd.from_pandas(frame(120), npartitions=5)
        return left.merge(right, on="n", suffixes=("", "_r")).compute().sort_values("n")


def persisted_dataframe(client):
    held = frames().assign(w=1).persist()
    return dask.compute(held.w.sum(), held.groupby("s").n.max())


def labelled(client):
    data = xarray.Dataset(
        {"t": (("x", "y"), np.arange(200.0).reshape(20, 10))},
        coords={"x": np.arange(20), "y": list("abcdefghij")},
    ).chunk({"x": 5})
    means = data.assign_coords(g=("x", np.arange(20) % 3)).groupby("g").mean().compute()
    return means.t.values, (data.t.isel(y=3) * 2).compute().values, float(data.t.std().compute())


def mixed_collections(client):
    ddf, x = frames(), da.arange(40, chunks=10)
    values = [part.sum() for part in ddf.n.to_delayed()]
    return dask.compute(
        dask.delayed(add)(*values), ddf.v.to_dask_array(lengths=True).sum() + x.sum()
    )


SERVED = [
    delayed_values,
    arrays,
    arrays_in_many_pieces,
    random_arrays,
    rechunked_by_tasks,
    bags,
    dataframes,
    shuffled_by_tasks,
    merged_by_tasks,
    persisted_dataframe,
    labelled,
    mixed_collections,
]
# Workers that send each other pieces, and results that are used up by their reader.
LEFT_ALONE = [rechunked_p2p, shuffled_p2p, merged_p2p, grouped_bags]


@pytest.fixture(scope="module")
def runs(shared_cache_dir):
    return run_all([*SERVED, *LEFT_ALONE], shared_cache_dir)


@pytest.mark.parametrize("way", [*SERVED, *LEFT_ALONE])
def test_it_gives_what_plain_dask_gives(runs, way):
    """Cold and warm, the value is the one without the cache."""
    same(runs[way].cold, runs[way].off)
    same(runs[way].warm, runs[way].off)


@pytest.mark.parametrize("way", SERVED)
def test_it_is_served_the_second_time(runs, way):
    """On a new cluster nothing is computed, and only results are restored."""
    cold, warm = runs[way].cold_stats, runs[way].warm_stats
    assert cold["tasks"] == warm["tasks"] == warm["hits"] > 0
    assert (warm["computed"], warm["misses"], warm["refused"]) == (0, 0, 0)
    assert warm["restored"] <= MANY


@pytest.mark.parametrize("way", LEFT_ALONE)
def test_it_is_done_again_the_second_time(runs, way):
    """What can't be pruned safely runs whole; what it starts from is served."""
    cold, warm = runs[way].cold_stats, runs[way].warm_stats
    assert warm["computed"] == warm["tasks"] - warm["hits"] > 0
    assert warm["refused"] == cold["refused"]


def test_a_shuffle_takes_what_was_restored_in_bulk(runs):
    """Partitions that come from the cache are shuffled by workers that send each other pieces."""
    warm = runs[shuffled_p2p].warm_stats
    assert warm["restored"] == MANY
    assert warm["refused"] > 0
