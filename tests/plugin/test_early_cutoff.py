"""Early cutoff: what is behind a changed function is a hit when its result is as it was."""

from __future__ import annotations

import textwrap

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from clusters import cluster_of, wait_until_forgotten

import seamless_dask_cache as sdc

STORE_ALL = {"min_seconds": 0, "load_seconds": 0, "load_bytes_per_second": 1e15, "store_share": 1e9}


@pytest.fixture(autouse=True)
def a_scheduler_that_validates_its_state():
    with dask.config.set({"distributed.scheduler.validate": True}):
        yield


@pytest.fixture
def validated(cache_dir):
    """A client with a cache, on a scheduler that checks its state at every step."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir, **STORE_ALL)
        yield client, cache
        client.cluster.scheduler.validate_state()
        assert cache.stats()["errors"] == 0


def version_of(source, **names):
    """A function as it is after an edit."""
    namespace = dict(names)
    exec(textwrap.dedent(source), namespace)
    return namespace["f"]


def edits():
    """Three versions of a function, of which the first two give the same."""
    one = version_of("def f(x): return x + 1")
    same = version_of("def f(x):\n    y = 1\n    return y + x")
    other = version_of("def f(x): return x + 100")
    return one, same, other


def double(x):
    return x * 2


def minus(x, y):
    return x - y


def total(xs):
    return sum(xs)


def run(client, cache, value):
    """The result, and how many tasks ran and were cut for it."""
    before = cache.stats()
    result = client.compute(value).result()
    assert cache.flush(30)
    wait_until_forgotten(client)
    after = cache.stats()
    return result, after["computed"] - before["computed"], after["cut"] - before["cut"]


def chain(first, x=5):
    value = dask.delayed(first)(x)
    for _ in range(6):
        value = dask.delayed(double)(value)
    return value


def diamond(first):
    leaves = [dask.delayed(first)(n) for n in range(4)]
    doubled = [dask.delayed(double)(leaf) for leaf in leaves]
    return dask.delayed(total)([dask.delayed(minus)(x, doubled[0]) for x in doubled])


@pytest.mark.parametrize(
    ("program", "roots", "behind", "equal_after_all"),
    # The differences in the diamond are the same whatever is added to all of its leaves.
    [(chain, 1, 6, 0), (diamond, 4, 9, 1)],
)
def test_what_is_behind_an_equal_result_does_not_run(
    validated, program, roots, behind, equal_after_all
):
    """Only the edited function runs again; the third time nothing does."""
    one, same, other = edits()
    value, computed, cut = run(*validated, program(one))
    assert (computed, cut) == (roots + behind, 0)
    assert run(*validated, program(same)) == (value, roots, behind)
    assert run(*validated, program(same)) == (value, 0, 0)
    ran = roots + behind - equal_after_all
    assert run(*validated, program(other))[1:] == (ran, equal_after_all)


def test_across_clusters(cache_dir):
    """A fresh cluster cuts by what an earlier one wrote down."""
    one, same, _ = edits()
    for function, ran in ((one, 13), (same, 4), (same, 0)):
        with cluster_of() as client:
            cache = sdc.enable(client, cache_dir=cache_dir, **STORE_ALL)
            value = client.compute([diamond(function), chain(double)], sync=True)
            assert value[1] == 640
            assert cache.flush(30)
            assert cache.stats()["computed"] == ran + (7 if function is one else 0)


def test_results_that_are_not_stored_are_gone_through(cache_dir):
    """With the default settings trivial results are not stored, and only the last one is served."""
    one, same, _ = edits()
    for function, ran in ((one, 7), (same, 1)):
        with cluster_of() as client:
            cache = sdc.enable(client, cache_dir=cache_dir)
            assert client.compute(chain(function)).result() == 384
            assert cache.flush(30)
            stats = cache.stats()
            assert stats["computed"] == ran
    assert (stats["cut"], stats["pruned"], stats["restored"]) == (6, 5, 1)


def test_a_requested_result_in_the_middle_is_brought_back(validated):
    """Whatever a client asked for is there, and what nobody asked for is not made."""
    client, cache = validated
    one, same, _ = edits()

    def program(first):
        a = dask.delayed(first)(1)
        b = dask.delayed(double)(a)
        c = dask.delayed(double)(b)
        return [b, dask.delayed(double)(c), a]

    for first, ran in ((one, 4), (same, 1)):
        before = cache.stats()["computed"]
        futures = client.compute(program(first))
        assert client.gather(futures) == [4, 16, 2]
        assert cache.flush(30)
        assert cache.stats()["computed"] - before == ran
        # What the futures stand for can be used.
        assert client.submit(minus, futures[1], futures[0]).result() == 12
        del futures
        wait_until_forgotten(client)


def test_later_graphs_are_cut_when_they_arrive(validated):
    """An edited result that a future holds is known by its content when it is used."""
    client, cache = validated
    one, same, _ = edits()
    first = client.submit(one, 20)
    assert client.submit(minus, client.submit(double, first), first).result() == 21
    assert cache.flush(30)
    edited = client.submit(same, 20)
    assert edited.result() == 21
    before = cache.stats()["computed"]
    assert client.submit(minus, client.submit(double, edited), edited).result() == 21
    assert cache.stats()["computed"] == before


def test_arrays_and_frames(cache_dir):
    """Blocks of arrays and partitions of frames, fused as Dask likes it."""
    one, same, _ = edits()

    def programs(function):
        x = da.ones((40, 40), chunks=(10, 10)).map_blocks(function, dtype=float)
        frame = pd.DataFrame({"a": range(100), "b": [n % 7 for n in range(100)]})
        parts = dd.from_pandas(frame, npartitions=4).map_partitions(function)
        # Persisting keeps the edited step from being fused with what follows.
        return x, parts

    results = []
    for function in (one, same):
        with cluster_of() as client:
            cache = sdc.enable(client, cache_dir=cache_dir, **STORE_ALL)
            x, parts = map(client.persist, programs(function))
            results.append(
                (
                    float((x.T + x).sum(axis=0).std().compute()),
                    float((x @ x).mean().compute()),
                    parts.groupby("b").a.sum().compute().tolist(),
                )
            )
            assert cache.flush(30)
            ran = cache.stats()["computed"]
            assert ran == 20 if function is same else ran > 60
            del x, parts
    assert results[0] == results[1]


def test_different_results_run_on(validated):
    """Where one input differs, what uses it runs; what does not use it, does not."""
    client, cache = validated
    one = version_of("def f(x): return x + 1")
    some = version_of("def f(x): return x + 1 if x < 3 else 50")
    assert run(client, cache, diamond(one))[:2] == (12, 13)
    # All leaves run; of what is behind them, what comes of the last one does.
    assert run(client, cache, diamond(some)) == (104, 4 + 3, 6)


def read_text(path):
    with open(path) as file:
        return file.read()


def test_a_file_is_not_taken_for_its_name(validated, tmp_path):
    """A task that reads a file whose name an input gives is not served for the name."""
    client, cache = validated
    one = version_of("def f(path): return str(path)")
    path = tmp_path / "data.txt"
    for text in ("first", "second", "third"):
        path.write_text(text)
        value = dask.delayed(len)(dask.delayed(read_text)(dask.delayed(one)(str(path))))
        assert client.compute(value).result() == len(text)
        assert cache.flush(30)
        wait_until_forgotten(client)


def test_equal_files_are_equal_inputs(validated, tmp_path):
    """A file that was written anew with the same content is read again, and nothing else runs."""
    client, cache = validated
    path = tmp_path / "data.csv"
    for turn in range(2):
        pd.DataFrame({"a": range(50)}).to_csv(path, index=False)
        frame = dd.read_csv(path)
        value, computed, cut = run(client, cache, ((frame.a + 1) * 2).sum())
        assert value == 2550
        if turn:
            assert computed <= 2
            assert cut > 0


def test_what_had_an_effect_cuts_nothing(validated):
    """Downstream of a task that was seen to have an effect, everything runs."""
    client, cache = validated
    one = version_of("def f(x): return x + 1")
    noisy = version_of(
        """
        def f(x):
            numpy.random.mtrand._rand.random()
            return x + 1
        """,
        numpy=np,
    )
    assert run(client, cache, chain(one))[1] == 7
    assert run(client, cache, chain(noisy))[1:] == (7, 0)


def test_a_result_that_is_gone_is_computed(validated, cache_dir):
    """A cut task whose buffer is missing is computed, and so is what it needs."""
    client, cache = validated
    big = version_of("def f(x): return numpy.arange(x) + 1.0", numpy=np)
    same = version_of("def f(x):\n    y = 1.0\n    return numpy.arange(x) + y", numpy=np)

    def program(first):
        return dask.delayed(double)(dask.delayed(double)(dask.delayed(first)(50_000)))

    expected = np.arange(50_000.0) * 4 + 4
    np.testing.assert_array_equal(run(client, cache, program(big))[0], expected)
    for path in (cache_dir / "buffers").glob("??/*"):
        path.unlink()
    value, computed, _ = run(client, cache, program(same))
    np.testing.assert_array_equal(value, expected)
    assert computed == 3
    assert run(client, cache, program(same))[1] == 0


def lose_buffers(dask_scheduler, folder):
    """Let buffers vanish between the look at them and their use."""
    import pathlib

    engine = dask_scheduler.plugins["seamless-dask-cache"].engine
    original = engine.restoring

    def losing(*args):
        for path in pathlib.Path(folder).glob("??/*"):
            path.unlink()
        return original(*args)

    engine.restoring = losing


def test_a_buffer_that_vanishes_under_a_cut_task_is_healed(validated, cache_dir):
    """A cut task that cannot be restored computes itself, and what it needs, after all."""
    client, cache = validated
    big = version_of("def f(x): return numpy.arange(x) + 1.0", numpy=np)
    same = version_of("def f(x):\n    y = 1.0\n    return numpy.arange(x) + y", numpy=np)

    def program(first):
        return dask.delayed(double)(dask.delayed(double)(dask.delayed(first)(50_000)))

    expected, _, _ = run(client, cache, program(big))
    client.run_on_scheduler(lose_buffers, folder=str(cache_dir / "buffers"))
    value, _, cut = run(client, cache, program(same))
    np.testing.assert_array_equal(value, expected)
    assert cut == 2
    assert cache.stats()["healed"] == 1


def test_an_alias_in_between(validated):
    """Aliases pass on what they stand for."""
    client, cache = validated
    one, same, _ = edits()
    for first, ran in ((one, 3), (same, 1)):
        graph = {"a": (first, 3), "b": "a", "c": (double, "b"), "d": "c", "e": (double, "d")}
        before = cache.stats()["computed"]
        assert client.get(graph, "e") == 16
        assert cache.flush(30)
        wait_until_forgotten(client)
        after = cache.stats()["computed"] - before
        assert after == ran


def test_expiring_functions_are_not_cut(validated):
    """Who lets results expire gets them by age, and not by content."""
    client, cache = validated
    one, same, _ = edits()
    aging = sdc.cached(expires="1d")(double)
    for first in (one, same):
        value = aging.delayed(dask.delayed(first)(3))
        _, computed, cut = run(client, cache, value)
        assert (computed, cut) == (2, 0)
