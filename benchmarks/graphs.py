"""The graphs that are hashed: what the scheduler gets, for each kind of collection."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
from dask._expr import LLGExpr
from dask._task_spec import Task

from seamless_dask_cache.dask_internals import (
    Graph,
    expression_of,
    materialize,
    open_message,
    pack,
)

PARTITIONS = 100


def increment(x):
    return x + 1


def scale(x, factor=1.0, *, unit="m", exact=False):
    return x * factor


def add(*xs):
    return sum(xs)


def is_even(x):
    return x % 2 == 0


def read_part(number, columns=None):
    frame = pd.DataFrame({"key": np.arange(10) + number, "name": "x", "value": 1.5})
    return frame if columns is None else frame[columns]


def submitted(expression, keys) -> Callable[[], Graph]:
    """Return what gives a fresh graph each time, as the scheduler makes it of a message."""
    message = pack(expression)
    return lambda: materialize(open_message(message), set(keys))[0]


def computed(collection) -> Callable[[], Graph]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", da.PerformanceWarning)
        return submitted(*expression_of((collection,), finalize=True))


def tree(leaves):
    one, total = dask.delayed(increment, pure=False), dask.delayed(add, pure=False)
    values = [one(i) for i in range(leaves)]
    return computed(total(*[total(*values[i : i + 10]) for i in range(0, leaves, 10)]))


def mapped(calls):
    """Return what client.map of a function with small literals submits."""
    keys = [f"scale-{i}" for i in range(calls)]
    tasks = [Task(key, scale, i, 0.5, unit="km", exact=True) for i, key in enumerate(keys)]
    return submitted(LLGExpr(dict(zip(keys, tasks, strict=True))), keys)


def array_mean():
    x = da.ones((7000, 7000), chunks=(100, 100))
    return computed((x + x.T).mean(axis=0))


def array_chain():
    x = da.ones((10_000,), chunks=(2,))
    return computed(da.sqrt(da.exp(x) * 2 - 1)[::2].rechunk(3))


def array_tensordot():
    x = da.random.default_rng(1).random((200, 200), chunks=(10, 10))
    return computed(da.tensordot(x, x, axes=1))


def array_rechunk():
    x = da.ones((2000, 2000), chunks=(40, 40))
    return computed(x.rechunk((50, 50)))


def array_literals():
    x = da.from_array(np.arange(1_000_000.0), chunks=200)
    return computed((x + 1).sum())


def frame():
    return dd.from_map(read_part, range(PARTITIONS))


def frame_columns():
    part = frame()
    for number in range(20):
        part = part.assign(**{f"c{number}": part.value * number + part.key})
    return computed(part.drop(columns="name").sum())


def frame_groupby():
    with dask.config.set({"dataframe.shuffle.method": "tasks"}):
        grouped = frame().groupby("name").agg({"value": ["mean", "sum"]}, split_out=PARTITIONS)
        return computed(grouped.optimize())


def frame_shuffle():
    with dask.config.set({"dataframe.shuffle.method": "tasks"}):
        return computed(frame().shuffle("key").map_partitions(len).optimize())


def frame_merge():
    with dask.config.set({"dataframe.shuffle.method": "tasks"}):
        return computed(frame().merge(frame(), on="key").value_x.sum().optimize())


def bag():
    numbers = db.from_sequence(range(20_000), npartitions=4000)
    return computed(numbers.map(increment).filter(is_even).fold(max))


GRAPHS: list[tuple[str, Callable[[], Callable[[], Graph]]]] = [
    ("array: (x + x.T).mean(axis=0)", array_mean),
    ("array: elementwise, slices, rechunk", array_chain),
    ("array: tensordot of random arrays", array_tensordot),
    ("array: rechunk", array_rechunk),
    ("array: chunks of 200 literal numbers", array_literals),
    ("dataframe: 20 new columns", frame_columns),
    ("dataframe: groupby", frame_groupby),
    ("dataframe: shuffle with tasks", frame_shuffle),
    ("dataframe: merge", frame_merge),
    ("bag: map, filter, fold", bag),
    ("delayed: 11,001 tasks", lambda: tree(10_000)),
    ("delayed: 110,001 tasks", lambda: tree(100_000)),
    ("client.map: 10,000 calls", lambda: mapped(10_000)),
]
