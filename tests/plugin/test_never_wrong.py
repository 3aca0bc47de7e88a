"""Programs that once got a wrong result, or could: each run twice, as without the cache."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from functools import partial

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from clusters import cluster_of

import seamless_dask_cache as sdc


def read(path):
    with open(path) as file:
        return file.read()


def call(f):
    return f()


def noise():
    return time.time()


def same(x):
    return x


def now_plus(x):
    return x + time.time()


def plus_one(x):
    return x + 1


class Simulation:
    def __init__(self, seed):
        self.seed = seed

    def run(self):
        return self.seed + time.time()


class Lazy:
    """An array that is read from a file as it is used."""

    def __init__(self, path):
        self.path = path
        self.shape, self.dtype, self.ndim = (2,), np.dtype(float), 1

    def __getitem__(self, item):
        return np.array([float(x) for x in read(self.path).split()])[item]


def runs(program, cache_dir, times=2, between=lambda: None, **options):
    """Results of a program on clusters that share a cache."""
    found = []
    for n in range(times):
        if n:
            between()
        with cluster_of() as client:
            cache = sdc.enable(client, cache_dir=cache_dir, **options)
            found.append(program(client))
            assert cache.flush(30)
    return found


@pytest.mark.parametrize("how", ["p2p", "tasks"])
def test_merges_that_shuffle(how, cache_dir):
    """A merge by shuffle gives its rows again; a peer-to-peer one is not cached, nor broken."""
    left = pd.DataFrame({"k": np.arange(4000) % 40, "x": np.arange(4000.0)})
    right = pd.DataFrame({"k": range(40), "y": np.arange(40.0)})

    def program(client):
        with dask.config.set({"dataframe.shuffle.method": how}):
            a = dd.from_pandas(left, npartitions=6)
            merged = a.merge(dd.from_pandas(right, npartitions=3), on="k", broadcast=False)
            return merged.compute().sort_values(["k", "x"], ignore_index=True)

    first, second, third = runs(program, cache_dir, 3, min_seconds=0, load_seconds=0)
    pd.testing.assert_frame_equal(first, second)
    pd.testing.assert_frame_equal(first, third)
    assert len(first) == 4000


def test_classes_of_main_stay_themselves(tmp_path, cache_dir):
    """An enum member or an instance of a class of ``__main__`` is the program's own."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            import enum, sys
            from distributed import Client, LocalCluster
            import seamless_dask_cache as sdc

            class Colour(enum.Enum):
                RED = 1

            class Plain:
                pass

            def colour(n): return Colour.RED
            def plain(n): return [Plain()]
            def is_red(value): return value is Colour.RED

            if __name__ == "__main__":
                with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster:
                    with Client(cluster) as client:
                        cache = sdc.enable(client, cache_dir=sys.argv[1])
                        red = client.submit(colour, 1)
                        assert red.result() is Colour.RED
                        assert isinstance(client.submit(plain, 1).result()[0], Plain)
                        assert client.submit(is_red, red).result()
                        assert cache.flush(30)
        """)
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, str(script), str(cache_dir)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "program",
    [
        lambda client, path: dask.delayed(read)(dask.delayed(path)).compute(),
        lambda client, path: client.submit(read, client.scatter({"p": path})["p"]).result(),
        lambda client, path: dask.delayed(list)([path, dask.delayed(read)(path)]).compute(),
        lambda client, path: dask.delayed(pd.read_csv)("file://" + path).shape.compute(),
        lambda client, path: da.from_array(Lazy(path), chunks=1, asarray=False).sum().compute(),
        lambda client, path: db.from_sequence([path]).map(read).compute(),
    ],
    ids=["leaf", "scattered", "list", "file url", "lazy array", "bag"],
)
@pytest.mark.parametrize("name", ["data.txt", "nosuffix"])
def test_files_by_any_road(program, name, cache_dir, tmp_path):
    """A file is read again after an edit, wherever its name came from."""
    path = tmp_path / name
    path.write_text("1 2\n3 4\n")

    def both(client):
        return program(client, str(path))

    first, second = runs(both, cache_dir, between=lambda: path.write_text("10 20\n3 4\n5 6\n"))
    with cluster_of() as client:
        plain = both(client)
    assert second == plain
    assert first != second


def test_folders_notice_new_folders_and_links(cache_dir, tmp_path):
    """An empty folder, and a change behind a symbolic link, are changes of a folder."""
    import os

    (tmp_path / "in").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")

    def names(folder):
        return sorted(
            os.path.join(root, name)
            for root, folders, files in os.walk(folder, followlinks=True)
            for name in folders + files
        )

    found = []
    for change in (lambda: None, lambda: (tmp_path / "in" / "new").mkdir(), None):
        (change or (lambda: (tmp_path / "elsewhere" / "f").write_text("x")))()
        (value,) = runs(
            lambda client: dask.delayed(names)(str(tmp_path / "in")).compute(), cache_dir, 1
        )
        found.append(len(value))
    assert found == [1, 2, 3]


@pytest.mark.parametrize(
    "program",
    [
        lambda client: dask.delayed(call)(dask.delayed(noise)).compute(),
        lambda client: dask.delayed(Simulation(1)).run().compute(),
        lambda client: (
            da.zeros(2, chunks=2)
            .map_blocks(now_plus, dtype=float)
            .map_blocks(sdc.cached(plus_one), dtype=float)
            .compute()
            .tolist()
        ),
    ],
    ids=["function as data", "object as data", "fused with a cached step"],
)
def test_clocks_by_any_road(program, cache_dir):
    """A clock is noticed wherever the code that reads it comes from."""
    first, second = runs(program, cache_dir)
    assert first != second


def test_the_order_of_keywords(cache_dir):
    """A callee that sees the order of its keywords gives what that order gives."""
    frame = pd.DataFrame({"z": [1]})

    def program(client):
        return (
            list(dask.delayed(frame.assign)(b=1, a=2).compute()),
            list(dask.delayed(frame.assign)(a=2, b=1).compute()),
            list(dask.delayed(partial(dict, x=1, y=2))().compute()),
            list(dask.delayed(partial(dict, y=2, x=1))().compute()),
        )

    for result in runs(program, cache_dir):
        assert result == (["z", "b", "a"], ["z", "a", "b"], ["x", "y"], ["y", "x"])


def test_the_names_of_functions(cache_dir):
    """pandas names columns by the functions that made them."""
    frame = pd.DataFrame({"k": [1, 1, 2], "x": [1.0, 2.0, 4.0]})

    def aggregate(frame, functions):
        return list(frame.groupby("k").x.agg(functions).columns)

    def program(client):
        def spread(x):
            return x.max() - x.min()

        def range_(x):
            return x.max() - x.min()

        return [client.submit(aggregate, frame, [f]).result() for f in (spread, range_)]

    assert runs(program, cache_dir) == [[["spread"], ["range_"]]] * 2


COUNT = 0


def next_number():
    global COUNT
    COUNT += 1
    return COUNT


def test_functions_that_count(cache_dir):
    """A function that changes a global gives something else each time."""

    def program(client):
        return [client.submit(next_number, pure=False).result() for _ in range(3)]

    (first,), (second,) = runs(program, cache_dir, 1), runs(program, cache_dir, 1)
    assert second == [n + 3 for n in first]


def test_remote_text_is_refused(client, cache):
    """What lies behind a URL has no state that could be known."""
    found = cache.explain(dask.delayed(pd.read_csv)("https://127.0.0.1:9/x.csv"))
    assert found.counts()["refused"] == 1
    assert "remote" in repr(found)


def test_results_expire_with_what_they_are_made_of(client, cache):
    """What follows an expired result is computed again with it."""
    tick = sdc.cached(expires=0.5)(lambda n: time.time())
    made = dask.delayed(plus_one)(tick.delayed(1))
    first = made.compute()
    assert cache.flush(30)
    assert dask.delayed(plus_one)(tick.delayed(1)).compute() == first
    deadline = time.time() + 0.6
    while time.time() < deadline:
        time.sleep(0.05)
    assert dask.delayed(plus_one)(tick.delayed(1)).compute() > first


def test_an_edited_module_that_the_scheduler_holds(tmp_path, cache_dir):
    """After an edit and a restart of the workers, the old result is not served."""
    module = tmp_path / "edited_module.py"
    module.write_text("def f(x):\n    return 'old'\n")
    sys.path.insert(0, str(tmp_path))
    try:
        import edited_module

        with cluster_of(processes=True, workers=1) as client:
            cache = sdc.enable(client, cache_dir=cache_dir)
            assert client.submit(edited_module.f, 1, pure=False).result() == "old"
            assert cache.flush(30)
            module.write_text("def f(x):\n    return 'newer'\n")
            client.restart()
            assert client.submit(edited_module.f, 1, pure=False).result() == "newer"
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("edited_module", None)
