"""What must run every time runs every time."""

from __future__ import annotations

import pathlib
import random
import time

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from clusters import cluster_of
from dask._task_spec import Task

import seamless_dask_cache as sdc


def now():
    return time.time()


def dice():
    return random.random()


def sample(frame):
    return frame.sample(3)


def append(path, text):
    with pathlib.Path(path).open("a") as file:
        file.write(text)


def quiet_append(path, text):
    append(path, text)


def length(path, after=None):
    return len(pathlib.Path(path).read_text())


def identity(x):
    return x


def twice(program, cache_dir):
    """Run a program on two clusters that share a cache."""
    results = []
    for _ in range(2):
        with cluster_of() as client:
            cache = sdc.enable(client, cache_dir=cache_dir)
            results.append((program(client), cache.stats()))
            cache.flush(30)
    return results


@pytest.mark.parametrize("function", [now, dice])
def test_clocks_and_dice_are_refused(function, cache_dir):
    """Two calls of a function of the clock or of chance differ, as without the cache."""
    (first, before), (second, after) = twice(
        lambda client: dask.delayed(identity)(dask.delayed(function)()).compute(), cache_dir
    )
    assert first != second
    assert before["refused"] == after["refused"] == 2
    assert after["stored"] == after["hits"] == 0


def test_randomness_that_no_name_shows_is_noticed(cache_dir):
    """A task that draws from the global generators is not stored, nor what follows it."""
    frame = pd.DataFrame({"x": range(10_000)})

    def program(client):
        return dask.delayed(identity)(dask.delayed(sample)(frame)).compute()

    (first, _), (second, after) = twice(program, cache_dir)
    assert not first.equals(second)
    assert after["hits"] == after["stored"] == 0


def test_a_function_that_returns_nothing_is_called_again(cache_dir, tmp_path):
    """A delayed function that appends to a file appends each time."""
    path = tmp_path / "log"

    def program(client):
        return dask.delayed(length)(
            str(path), after=dask.delayed(quiet_append)(str(path), "x")
        ).compute()

    (first, _), (second, _) = twice(program, cache_dir)
    assert (first, second) == (1, 2)
    assert path.read_text() == "xx"


def write_hidden(backwards, mode):
    """Write a file whose name and whose writing no analysis of the code can see."""
    with open(backwards[::-1], mode) as file:
        file.write("x")


def seven(after):
    return 7


def test_what_follows_an_effect_in_the_same_graph(cache_dir, tmp_path):
    """The effect shows while the graph runs; the result behind it must not hide it next time."""
    path = tmp_path / "log"

    def program(client):
        first = dask.delayed(write_hidden)(str(path)[::-1], "a")
        return dask.delayed(seven)(dask.delayed(identity)([first])).compute()

    (first, _), (second, after) = twice(program, cache_dir)
    assert (first, second) == (7, 7)
    assert path.read_text() == "xx"
    assert after["hits"] == after["stored"] == 0


def test_an_effect_inside_a_fused_task(cache_dir, tmp_path):
    """A step of a fused task that returns nothing counts like a task of its own."""
    path = tmp_path / "log"

    def program(client):
        first = Task("first", write_hidden, str(path)[::-1], "a")
        second = Task("second", seven, first.ref())
        return client.get({"second": Task.fuse(first, second)}, "second")

    (first, _), (second, after) = twice(program, cache_dir)
    assert (first, second) == (7, 7)
    assert path.read_text() == "xx"
    assert after["hits"] == after["stored"] == 0


def test_effect_behind_a_persisted_key_is_not_hidden(cache_dir, tmp_path):
    """What follows a task that returned None is refused also when it comes in a later graph."""
    path = tmp_path / "log"

    def program(client):
        done = client.submit(quiet_append, str(path), "x", key="append-it")
        done.result()
        return client.submit(length, str(path), after=done, key="measure-it").result()

    (first, _), (second, after) = twice(program, cache_dir)
    assert (first, second) == (1, 2)
    assert after["hits"] == 0


@pytest.mark.parametrize("writer", ["parquet", "csv", "array", "text"])
def test_writers_write_again(writer, cache_dir, tmp_path):
    """A folder that was deleted between two runs is written again."""
    target = tmp_path / "out"

    def program(client):
        if writer == "parquet":
            dd.from_pandas(pd.DataFrame({"x": range(10)}), npartitions=2).to_parquet(target)
        elif writer == "csv":
            dd.from_pandas(pd.DataFrame({"x": range(10)}), npartitions=2).to_csv(target)
        elif writer == "text":
            db.from_sequence("abc", npartitions=2).to_textfiles(str(target / "*.txt"))
        else:
            target.mkdir()
            file = np.lib.format.open_memmap(
                target / "a.npy", mode="w+", dtype="float64", shape=(4,)
            )
            da.store(da.ones(4, chunks=2), file, lock=False)
            file.flush()
        found = sorted(p.name for p in target.iterdir())
        for path in target.iterdir():
            path.unlink()
        target.rmdir()
        return found

    (first, _), (second, _) = twice(program, cache_dir)
    assert first == second != []


def test_user_can_vouch_for_a_function(cache_dir):
    """Under annotate(cache=True) an effect does not refuse, and cache=False always does."""

    def program(client):
        with dask.annotate(cache=True):
            trusted = dask.delayed(now)()
        with dask.annotate(cache=False):
            never = dask.delayed(identity)(5)
        return dask.compute(trusted, never, optimize_graph=False)

    (first, _), (second, after) = twice(program, cache_dir)
    assert first == second
    assert after["hits"] == 1
    assert after["refused"] == 1


def test_policy_lifts_a_class_of_effects(client, cache_dir):
    """allow_effects={"clock"} stores functions of the clock, and only those."""
    cache = sdc.enable(client, cache_dir=cache_dir, allow_effects={"clock"})
    client.submit(now, key="now-1").result()
    client.submit(dice, key="dice-1").result()
    stats = cache.stats()
    assert (stats["misses"], stats["refused"]) == (1, 1)


def test_errors_are_not_cached(client, cache, tmp_path):
    """A task that failed runs again, and passes its exception on untouched."""
    flag = tmp_path / "flag"

    def fails_at_first(path):
        if not pathlib.Path(path).exists():
            raise LookupError("not there yet")
        return 1

    with pytest.raises(LookupError, match="not there yet"):
        dask.delayed(fails_at_first)(str(flag)).compute()
    flag.touch()
    assert dask.delayed(fails_at_first)(str(flag)).compute() == 1
