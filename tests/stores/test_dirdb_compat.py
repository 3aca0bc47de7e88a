"""Folders of the published dirdb 0.1.0 open here, and those written here open there."""

from __future__ import annotations

import pickle

import dirdb as published
import filelock
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamless_dask_cache import stores

NAMES = st.text(st.characters(codec="ascii", min_codepoint=33, exclude_characters="/\\\x7f"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
META = st.none() | st.dictionaries(st.text(), JSON, max_size=3)
DATASETS = st.dictionaries(
    NAMES.filter(lambda name: name not in ("", ".", "..")), st.tuples(JSON, META), max_size=4
)


@given(DATASETS)
@settings(deadline=None, max_examples=50)
def test_what_one_writes_the_other_reads(tmp_path_factory, datasets):
    """Data and metadata, in both directions, under all names that are allowed here."""
    folder = tmp_path_factory.mktemp("db")
    for write, read in ((stores, published), (published, stores)):
        path = folder / write.__name__
        db = write.dirdb(path)
        for name, (data, meta) in datasets.items():
            db[name].put_data(data, meta)
        other = read.dirdb(path)
        assert {entry.name for entry in other} == datasets.keys()
        for name, (data, meta) in datasets.items():
            assert other[name].get_data() == data and other[name].meta == (meta or {})


def test_the_example_of_its_readme(tmp_path):
    """Both go through the same session and leave files with the same content."""
    for module in (published, stores):
        db = module.dirdb(tmp_path / module.__name__)
        assert "foo" not in db
        entry = db["foo"]
        assert not entry
        entry.put_data(np.ones((5, 5)), meta={"shape": (5, 5)})
        assert entry.name in db and entry
        with entry:
            entry.meta = None
            entry.meta = {"test": [1, 2]}
            entry.meta.test.append(3)
        db["bar"].put_data([1] * 1000)
        with db["foo"] as again:
            assert again.meta == {"test": [1, 2, 3]} and again.get_data().sum() == 25
        assert {entry.name for entry in db} == {"foo", "bar"}
        assert db.get_data("bar") == [1] * 1000
        assert db.subdb("below").directory == (db.directory / "below")
    left, right = (tmp_path / module.__name__ for module in (published, stores))
    files = {"foo.pickle", "foo.json", "foo.lock", "bar.pickle"}
    assert files <= {path.name for path in left.iterdir()}
    assert files <= {path.name for path in right.iterdir()}
    assert (left / "foo.json").read_bytes() == (right / "foo.json").read_bytes()
    assert pickle.loads((left / "foo.pickle").read_bytes()).tolist() == (
        pickle.loads((right / "foo.pickle").read_bytes()).tolist()
    )


def test_both_have_one_lock(tmp_path):
    """Who holds it there keeps us out, and the other way round."""
    ours, theirs = stores.dirdb(tmp_path, timeout=0), published.dirdb(tmp_path)
    lock = filelock.FileLock(tmp_path / "x.lock", timeout=0)
    with theirs["x"]:
        held_elsewhere = _in_a_thread(lambda: ours["x"].put_data(1))
        assert isinstance(held_elsewhere, filelock.Timeout)
    with ours["x"]:
        assert isinstance(_in_a_thread(lock.acquire), filelock.Timeout)
    ours["x"].put_data(1)
    assert theirs["x"].get_data() == 1


def test_data_that_it_replaced_are_not_read_from_the_map(tmp_path):
    """A file to map that belongs to older data is left alone, until there are new ones."""
    ours, theirs = stores.dirdb(tmp_path), published.dirdb(tmp_path)
    ours["x"].put_data(np.zeros(10), mmap=True, checksum=True)
    theirs["x"].put_data(np.ones(10))
    assert ours["x"].get_data(mmap=True).sum() == 10
    with pytest.raises(ValueError, match="has checksum"):
        ours["x"].get_data(verify=True)
    ours["x"].put_data(np.full(10, 2.0))
    assert ours["x"].get_data(mmap=True, verify=True).sum() == 20
    assert not (tmp_path / "x.mmap").exists()


def _in_a_thread(call):
    """Return what a call raises or returns in another thread."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call)
        return future.exception() or future.result()
