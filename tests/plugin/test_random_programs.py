"""Random graphs of pure functions give the same without the cache, cold and warm."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
from clusters import cluster_of, kill_server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_programs import same

import seamless_dask_cache as sdc


def as_number(x):
    if isinstance(x, (int, float)):
        return float(x)
    if isinstance(x, str):
        return float(len(x))
    if isinstance(x, (np.ndarray, pd.DataFrame)):
        return float(np.asarray(x, dtype="float64").sum())
    if isinstance(x, dict):
        return as_number(list(x.values()))
    return float(sum(as_number(item) for item in x))


def add(*xs):
    return sum(as_number(x) for x in xs)


def array(*xs):
    return np.arange(6, dtype="float64").reshape(2, 3) * add(*xs)


def transposed(*xs):
    return array(*xs).T


def frame(*xs):
    return pd.DataFrame({"b": [add(*xs), 1.0], "a": ["x", None]}, index=[3, 1])[["b"]]


def nested(*xs):
    return {"z": list(xs), "a": (len(xs), {"k": xs[:1]}), 3: {1.5, 2.5}}[
        "a" if len(xs) % 2 else "z"
    ]


FUNCTIONS = [add, array, transposed, frame, nested]
LITERALS = st.one_of(
    st.integers(-5, 5),
    st.floats(-1, 1),
    st.lists(st.integers(0, 3), max_size=3),
    st.just((1, [2, {"a": 3}])),
    st.builds(np.arange, st.integers(1, 4)),
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(FUNCTIONS),
        st.lists(st.one_of(LITERALS, st.integers(100, 120).map(lambda n: ("task", n))), max_size=3),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


def build(steps):
    """Turn steps into delayed values; an argument ("task", n) is an earlier one."""
    values = []
    for function, arguments, wrap in steps:
        args = [
            values[a[1] % len(values)]
            if isinstance(a, tuple) and a[:1] == ("task",) and values
            else a
            for a in arguments
        ]
        values.append(dask.delayed(function)(*([args] if wrap else args)))
    return values


@pytest.fixture(scope="module")
def clients(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with cluster_of(workers=1) as plain, cluster_of(workers=1) as cached:
        yield plain, cached, sdc.enable(cached, cache_dir=folder, min_seconds=0, load_seconds=0)
    kill_server(folder)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS, data=st.data())
def test_random_graphs(clients, steps, data):
    """Off, cold, warm: the same values of the same types, whichever results are asked for."""
    plain, cached, cache = clients
    values = build(steps)
    chosen = data.draw(st.lists(st.sampled_from(range(len(values))), min_size=1, unique=True))
    wanted = [values[i] for i in chosen]
    off = plain.gather(plain.compute(wanted))
    cold = cached.gather(cached.compute(wanted))
    assert cache.flush(30)
    before = cache.stats()
    again = [build(steps)[i] for i in chosen]
    warm = cached.gather(cached.compute(again))
    for other in (cold, warm):
        same(other, off)
    assert cache.stats()["computed"] == before["computed"]
    assert cache.stats()["errors"] == 0
