"""Dask programs that know nothing of the cache; each takes a client and returns a value."""

from __future__ import annotations

import collections

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd

Point = collections.namedtuple("Point", "x y")


def increment(x):
    return x + 1


def add(*values):
    return sum(values)


def power(base, exponent=2):
    return base**exponent


def as_pair(x):
    return (x, [x, {"x": x}])


def count_words(line):
    return len(line.split())


def delayed_tree(client):
    leaves = [dask.delayed(increment)(i) for i in range(40)]
    branches = [dask.delayed(add)(*leaves[i : i + 5]) for i in range(0, 40, 5)]
    return dask.delayed(add)(*branches).compute()


def delayed_containers(client):
    value = dask.delayed(increment)(1)
    tree = dask.delayed(as_pair)({"a": [value, (value, 3)], "p": Point(value, 2.5)})
    return dask.compute(tree, [value, {"k": value}])


def array_statistics(client):
    x = da.random.default_rng(7).normal(size=(400, 300), chunks=(100, 100))
    y = da.from_array(np.arange(400.0), chunks=100)
    return dask.compute((x + x.T[:300, :300].mean()).std(axis=0), (x * y[:, None]).sum(), x[::7].T)


def dataframe_groupby(client):
    frame = pd.DataFrame(
        {"key": list("abcd") * 50, "n": range(200), "v": np.linspace(0, 1, 200)},
    )
    frame["when"] = pd.Timestamp("2013-01-01") + pd.to_timedelta(frame.n, unit="h")
    ddf = dd.from_pandas(frame, npartitions=5)
    ddf = ddf.assign(w=ddf.v * 2)[ddf.n % 3 != 0]
    return dask.compute(ddf.groupby("key").w.mean(), ddf.describe(), ddf.when.max())


def bag_of_words(client):
    lines = db.from_sequence(["a b c", "d e", "f", "a a a a"] * 10, npartitions=4)
    return dask.compute(lines.map(count_words).sum(), lines.str.upper().frequencies())


def submitted(client):
    first = client.submit(increment, 1)
    second = client.submit(add, first, 10, first)
    return client.submit(power, second, exponent=3).result()


def mapped(client):
    return client.gather(client.map(power, range(50), exponent=3))


def computed(client):
    futures = client.compute([dask.delayed(power)(3), dask.delayed(as_pair)(4)])
    return client.gather(futures)


def persisted(client):
    x = client.persist(da.arange(100, chunks=10) ** 2)
    return (x.sum() + x.max()).compute()


def scattered(client):
    data = client.scatter(np.arange(10))
    return client.submit(increment, data).result()


PROGRAMS = [
    delayed_tree,
    delayed_containers,
    array_statistics,
    dataframe_groupby,
    bag_of_words,
    submitted,
    mapped,
    computed,
    persisted,
    scattered,
]
