"""Named datasets on a cluster: written where they are made, and identified by their content."""

from __future__ import annotations

import os
import pickle
import sys

import dask
import dask.array as da
import numpy as np
import pytest
from clusters import cluster_of

import seamless_dask_cache as sdc
from seamless_dask_cache import stores

SOURCE = """
from pathlib import Path

LOG = Path({log!r})


def ran(what):
    with LOG.open("a") as log:
        log.write(what + " ")


def mean(entry):
    return float(entry.get_data().mean())


def mean_of(data):
    return float(data.mean())


def described(entry):
    return [entry.meta.get("unit"), float(entry.get_data(mmap=True).mean())]


def total(db):
    return sum(float(entry.get_data().sum()) for entry in db)


def locked_mean(entry):
    with entry:
        return float(entry.get_data().mean())


def mapped_bytes(entry):
    return entry.stat().mmap_size


def oldest(db):
    return db.sort("time")[0].name


def dump(db, number):
    db[f"run-{{number}}"].put_data(number, {{"number": number}})
    return number


def noted(entry):
    with entry:
        entry.meta.mean = float(entry.get_data().mean())
    return entry.meta.mean
"""


@pytest.fixture
def db(tmp_path):
    db = stores.dirdb(tmp_path / "db")
    db["x"].put_data(np.arange(1000.0), {"unit": "m"})
    db["y"].put_data(np.ones(10))
    return db


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Functions in a module of their own."""
    (tmp_path / "dataset_work.py").write_text(SOURCE.format(log=str(tmp_path / "log")))
    monkeypatch.syspath_prepend(str(tmp_path))
    import dataset_work

    yield dataset_work
    del sys.modules["dataset_work"]


def hits(cache, collection):
    """Compute; return the result, and how many tasks were hits and misses."""
    before = cache.stats()
    result = collection.compute()
    assert cache.flush(30)
    after = cache.stats()
    return result, after["hits"] - before["hits"], after["misses"] - before["misses"]


def test_reading_is_identified_by_content(db, work, cache):
    """Another process is served; changed data or metadata are computed; the same again is a hit."""
    mean = dask.delayed(work.mean)
    assert hits(cache, mean(db["x"])) == (499.5, 0, 1)
    assert hits(cache, mean(stores.dirdb(db.path)["x"])) == (499.5, 1, 0)
    os.utime(db["x"].path)
    assert hits(cache, mean(db["x"])) == (499.5, 1, 0)
    db["x"].put_data(np.arange(1001.0), mmap=True)
    assert hits(cache, mean(db["x"])) == (500.0, 0, 1)
    db["x"].put_data(np.arange(1000.0))
    assert hits(cache, mean(db["x"])) == (499.5, 1, 0)
    db["y"].put_data(np.zeros(10))
    assert hits(cache, mean(db["x"])) == (499.5, 1, 0), "another dataset"


@pytest.mark.parametrize("observe", [True, False])
def test_metadata_count_for_who_gets_the_entry(db, work, cache_dir, observe):
    """As the function may look at them, whether it is seen to or not."""
    described = dask.delayed(work.described)
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir, observe=observe)
        assert hits(cache, described(db["x"])) == (["m", 499.5], 0, 1)
        db["x"].meta = {"unit": "km"}
        assert hits(cache, described(db["x"])) == (["km", 499.5], 0, 1)
        db["x"].meta = None
        assert hits(cache, described(db["x"])) == ([None, 499.5], 0, 1)
        db["x"].meta = {"unit": "m"}
        assert hits(cache, described(db["x"])) == (["m", 499.5], 1, 0)


def test_a_mapped_dataset_is_a_hit_too(db, work, cache):
    """Reading the file to map is not taken for reading something else."""
    db["x"].put_data(np.arange(1000.0), mmap=True)
    described = dask.delayed(work.described)
    assert hits(cache, described(db["x"]))[1:] == (0, 1)
    assert hits(cache, described(db["x"]))[1:] == (1, 0)


def test_who_gets_the_data_does_not_depend_on_metadata(db, work, cache):
    """`get_delayed` counts by the data alone, in graphs of several tasks."""

    def program():
        return dask.delayed(work.mean_of)(db.get_delayed("x"))

    assert hits(cache, program()) == (499.5, 0, 2)
    with db["x"] as entry:
        entry.meta.mean = 499.5
    result, _, misses = hits(cache, program())
    assert (result, misses) == (499.5, 0)
    db["x"].put_data(np.arange(1001.0))
    assert hits(cache, program()) == (500.0, 0, 2)
    with pytest.raises(sdc.MissingDatasetError):
        db.get_delayed("nothing")


def test_a_whole_store_as_an_input(db, work, cache):
    """Counts by all its names and contents."""
    total = dask.delayed(work.total)
    assert hits(cache, total(db))[0] == 499500 + 10
    assert hits(cache, total(db))[1:] == (1, 0)
    db["z"].put_data(np.ones(5))
    assert hits(cache, total(db)) == (499500 + 15, 0, 1)
    del db["y"]
    assert hits(cache, total(db)) == (499500 + 5, 0, 1)


def test_changed_data_are_another_key_without_the_cache(db, work, tmp_path):
    """So that plain Dask does not give the old result either, while a future holds it."""
    with cluster_of() as client:
        first = client.submit(work.mean, db["x"])
        assert first.result() == 499.5
        db["x"].put_data(np.arange(1001.0))
        assert client.submit(work.mean, db["x"]).result() == 500.0
        old = db.get_delayed("x").key
        db["x"].put_data(np.arange(1000.0))
        assert db.get_delayed("x").key != old


def test_saving_where_it_is_made(db, client, cache):
    """From a Delayed, a Future and a collection; each gives the entry; nothing travels here."""
    x = da.ones((100, 10), chunks=(50, 10))
    writing = db.put_delayed("array", x * 2, {"unit": "s"})
    (entry,) = dask.compute(writing)
    assert entry == db["array"] and db["array"].get_data().sum() == 2000
    assert db["array"].meta == {"unit": "s"}
    future = client.submit(np.arange, 5)
    assert db.put_delayed("future", future).result().get_data().tolist() == [0, 1, 2, 3, 4]
    made = db.put_delayed("delayed", dask.delayed(sum)([1, 2])).compute()
    assert made.get_data() == 3
    with pytest.raises(sdc.ConfigurationError, match="put_delayed"):
        db.put_delayed("value", 3)
    assert "value" not in db
    db.put_delayed("mapped", x, mmap=True, checksum=True).compute()
    assert db["mapped"].get_data(mmap=True, verify=True).sum() == 1000


def test_saving_is_never_served(db, client, cache):
    """What was saved once is saved again, although its result is known, observed or not."""
    x = dask.delayed(np.arange)(7)
    for _ in range(3):
        db.put_delayed("seven", x).compute()
        assert cache.flush(30)
        assert db["seven"].get_data().tolist() == list(range(7))
        del db["seven"]


@pytest.mark.parametrize("observe", [True, False])
def test_saving_is_never_served_whoever_looks(db, cache_dir, observe):
    """Not even where the user vouches for everything; and `explain` says why."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir, observe=observe)
        x = client.submit(np.arange, 7, key="seven")
        for _ in range(2):
            with dask.annotate(cache=True):  # the user's word for all that is computed
                db.put_delayed("seven", x).result()
                writing = db.put_delayed("eight", da.ones(8))
                writing.compute()
                assert "it writes the dataset 'eight'" in str(cache.explain(writing))
            assert cache.flush(30)
            del db["seven"], db["eight"]


def test_the_story(db, client, cache, work):
    """Workers dump large arrays, a collector iterates and updates metadata with statistics."""

    def simulate(seed):
        return np.random.default_rng(seed).normal(size=20_000)

    for future in [
        db.put_delayed(f"run-{seed}", client.submit(simulate, seed)) for seed in range(6)
    ]:
        future.result()
    assert db.names("run-*") == [f"run-{seed}" for seed in range(6)]
    for entry in db.entries("run-*"):
        with entry:
            data = entry.get_data()
            entry.meta.stats = {"mean": data.mean(), "std": data.std()}
    best = db.sort("stats.mean")[0]
    assert best.meta.stats.mean == min(float(simulate(seed).mean()) for seed in range(6))
    noted = client.gather(client.map(work.noted, list(db)))
    assert noted == [entry.meta.mean for entry in db]
    assert client.gather(client.map(work.noted, list(db))) == noted


class Hundredfold:
    """A pickler that reads other data than it wrote."""

    def dump(self, obj, file, protocol=None):
        pickle.dump(obj, file, protocol)

    def load(self, file):
        return 100 * pickle.load(file)


def test_who_reads_counts(db, work, cache):
    """Another pickler may give other data from the same file."""
    mean = dask.delayed(work.mean)
    assert hits(cache, mean(db["y"])) == (1.0, 0, 1)
    other = stores.dirdb(db.path, pickler=Hundredfold())
    assert mean(other["y"]).compute() == 100.0
    assert sdc.value_checksum(db) != sdc.value_checksum(other)


@pytest.mark.parametrize("observe", [True, False])
def test_sizes_and_times_are_no_part_of_what_is_served(db, work, cache_dir, observe):
    """A task that looks at them is computed each time."""
    facts = dask.delayed(work.mapped_bytes)
    oldest = dask.delayed(work.oldest)
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir, observe=observe)
        for mmap in (False, True, False):
            db["y"].put_data(np.ones(10), mmap=mmap)
            assert (facts(db["y"]).compute() > 0) is mmap
            assert cache.flush(30)
        for name in ("x", "y"):
            os.utime(db[name].path, (1, 1))
            os.utime(db["x" if name == "y" else "y"].path, (2, 2))
            assert oldest(db).compute() == name
            assert cache.flush(30)


@pytest.mark.parametrize("observe", [True, False])
def test_a_task_that_writes_by_itself_is_not_served(db, work, cache_dir, observe):
    """Whether its system calls are heard or not."""
    dump = dask.delayed(work.dump)
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir, observe=observe)
        for _ in range(5):
            assert dump(db, 7).compute() == 7
            assert cache.flush(30)
            assert db["run-7"].get_data() == 7
            del db["run-7"]


def test_a_task_that_locks_is_not_served(db, work, cache):
    """It writes a lock file, and may write metadata: it runs each time."""
    locked = dask.delayed(work.locked_mean)
    for _ in range(2):
        assert locked(db["x"]).compute() == 499.5
    assert hits(cache, dask.delayed(work.noted)(db["x"]))[1] == 0
    assert hits(cache, dask.delayed(work.noted)(db["x"]))[1] == 0


def test_identity_by_hand(db):
    """What the functions that show identity say of entries."""
    before = sdc.value_checksum(db["x"])
    assert before == sdc.value_checksum(pickle.loads(pickle.dumps(db["x"])))
    assert before != sdc.value_checksum(db["y"])
    db["x"].put_data(np.arange(3))
    assert before != sdc.value_checksum(db["x"])
    assert sdc.value_checksum(db["nothing"]) == sdc.value_checksum(db["nothing"])
    assert sdc.value_checksum(db) == sdc.value_checksum(stores.dirdb(db.path))
