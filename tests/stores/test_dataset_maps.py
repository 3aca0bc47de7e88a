"""Data that are mapped into memory, and checksums of data."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from seamless_dask_cache import CellTypeError, CorruptDatasetError, stores
from seamless_dask_cache.stores.dataset_files import DatasetFiles

BIG = 1 << 18


@pytest.fixture
def db(tmp_path):
    return stores.dirdb(tmp_path)


def is_mapped(array, path):
    """Whether the memory of an array is a map of a file."""
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, _, end = line.split()[0].partition("-")
        if int(start, 16) <= address < int(end, 16):
            return line.endswith(str(path))
    return False


def values():
    array = np.arange(BIG, dtype="float64").reshape(2, -1)
    table = pa.table({"x": array[0], "y": pa.array(np.arange(BIG // 2))})
    return {
        "array": array,
        "fortran": np.asfortranarray(array),
        "structured": np.zeros(BIG // 2, [("a", "<i4"), ("b", ">f8")]),
        "dict": {"x": array, "n": 3, "more": [array[0].copy()]},
        "table": table,
        "frame": pd.DataFrame({"x": array[0], "y": array[1]}),
    }


def arrays_of(kind, value):
    if kind == "dict":
        return [value["x"], *value["more"]]
    if kind == "table":
        return [value["x"].chunk(0).to_numpy(), value["y"].chunk(0).to_numpy()]
    return [value["x"].to_numpy(), value["y"].to_numpy()] if kind == "frame" else [value]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("kind", values())
def test_arrays_live_in_the_file(db, kind):
    """Aligned, equal to what was saved, and writing into them leaves the file as it is."""
    value = values()[kind]
    db["x"].put_data(value, mmap=True)
    before = (db.path / "x.mmap").read_bytes()
    loaded = db["x"].get_data(mmap=True)
    assert type(loaded) is type(value)
    pairs = zip(arrays_of(kind, loaded), arrays_of(kind, value), strict=True)
    for array, original in pairs:
        assert array.dtype == original.dtype and array.flags.forc == original.flags.forc
        np.testing.assert_array_equal(array, original)
        assert is_mapped(array, db.path / "x.mmap")
        assert array.__array_interface__["data"][0] % 64 == 0
    if kind == "array":
        loaded[0, 0] = -1
        assert (db.path / "x.mmap").read_bytes() == before
        assert db["x"].get_data(mmap=True)[0, 0] == 0
    del loaded, array, pairs


def test_an_array_is_a_npy_file(db):
    """So that every program that knows numpy can map it."""
    db["x"].put_data(np.arange(10), mmap=True)
    assert np.load(db.path / "x.mmap", mmap_mode="r").tolist() == list(range(10))


@given(hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))
@settings(deadline=None, max_examples=60)
def test_both_files_give_the_same(tmp_path_factory, array):
    """Whatever is asked for; and replacing data replaces both."""
    db = stores.dirdb(tmp_path_factory.mktemp("db"))
    db["x"].put_data("old", mmap=True)
    db["x"].put_data(array, mmap=True)
    by_numpy = pickle.loads(pickle.dumps(array, 5))  # which forgets the byte order of some dates
    for found, expected in ((db["x"].get_data(), by_numpy), (db["x"].get_data(mmap=True), array)):
        assert found.dtype == expected.dtype and found.shape == expected.shape
        assert found.tobytes() == expected.tobytes()


def test_without_a_file_to_map_the_pickle_is_loaded(db):
    """Asking for a map never costs the data."""
    db["x"].put_data(np.arange(3))
    assert db["x"].get_data(mmap=True).tolist() == [0, 1, 2] and not (db.path / "x.mmap").exists()


def test_a_file_to_map_goes_with_its_data(db):
    """Data without one remove it; so does deleting."""
    db["x"].put_data(np.arange(3), mmap=True)
    db["x"].put_data(np.arange(4))
    assert not (db.path / "x.mmap").exists()
    db["x"].put_data(np.arange(3), mmap=True)
    del db["x"]
    assert os.listdir(db.path) == ["x.lock"]


def test_only_the_same_time_makes_a_file_belong(db, tmp_path):
    """A copy with its times is mapped, one without is not, nor where times have no fractions."""
    db["x"].put_data(np.arange(3), mmap=True)
    mapped = db.path / "x.mmap"
    with mapped.open("wb") as file:
        np.save(file, np.array([7, 7, 7]))  # tells which file was read
    written = (db.path / "x.pickle").stat().st_mtime_ns
    os.utime(mapped, ns=(written, written))
    copy = stores.dirdb(shutil.copytree(tmp_path, tmp_path / "copy", copy_function=shutil.copy2))
    assert copy["x"].get_data(mmap=True).tolist() == [7, 7, 7]
    assert copy["x"].get_data().tolist() == [0, 1, 2]
    os.utime(mapped, ns=(written, written + 1))
    assert db["x"].get_data(mmap=True).tolist() == [0, 1, 2]
    for path in (mapped, db.path / "x.pickle"):
        os.utime(path, ns=(10**18, 10**18))
    assert db["x"].get_data(mmap=True).tolist() == [0, 1, 2]


def test_times_are_drawn(db, monkeypatch):
    """Two datasets written in the same tick of the clock have other times; both are near now."""
    times = []
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    for name in map(str, range(20)):
        db[name].put_data(0, mmap=True)
        pair = {(db.path / f"{name}.{suffix}").stat().st_mtime_ns for suffix in ("pickle", "mmap")}
        assert len(pair) == 1
        times += pair
    drawn = {t % 10**6 for t in times}
    assert len(drawn) > 15 and 0 not in drawn
    assert max(abs(t - now) for t in times) <= 10**6


def test_a_file_to_map_that_goes_away_just_now_is_not_missed(db, monkeypatch):
    """Somebody replaces the data between looking and loading."""
    db["x"].put_data([1])
    monkeypatch.setattr(DatasetFiles, "can_be_mapped", lambda self: True)
    assert db["x"].get_data(mmap=True) == [1]


def test_what_cannot_be_mapped_is_refused(db):
    """Before the old data are touched; it can be saved without."""

    class Local:
        pass

    db["x"] = "old"
    with pytest.raises(CellTypeError, match="Local"):
        db["x"].put_data(Local(), mmap=True)
    assert db["x"].get_data() == "old" and sorted(os.listdir(db.path)) == ["x.lock", "x.pickle"]


# Checksums ----------------------------------------------------------------------------------------


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_checksum_is_kept_and_verified(db):
    """For each of both files; and it follows the data from then on."""
    entry = db["x"]
    entry.put_data(np.arange(BIG), meta={"a": 1}, checksum=True, mmap=True)
    assert entry.meta.checksum == sha256(db.path / "x.pickle") == entry.stat().checksum
    assert entry.meta.mmap_checksum == sha256(db.path / "x.mmap") and entry.meta.a == 1
    for mmap in (False, True):
        assert entry.get_data(verify=True, mmap=mmap).sum() == np.arange(BIG).sum()
    entry.put_data([1])
    assert db["x"].meta == {"a": 1, "checksum": sha256(db.path / "x.pickle")}
    assert db["x"].get_data(verify=True) == [1]
    entry.put_data([2], {"b": 2})
    assert db["x"].meta == {"b": 2, "checksum": sha256(db.path / "x.pickle")}
    entry.put_data([3], checksum=False)
    assert db["x"].meta == {"b": 2}


def test_checksums_that_the_user_gives_stay(db):
    """They may be those of something else."""
    mine = {"checksum": "a" * 64, "mmap_checksum": "b" * 64}
    db["x"].put_data(0, mine)
    assert db["x"].meta == mine
    db["x"].put_data(1, {"checksum": "c" * 64})
    assert db["x"].meta == {"checksum": "c" * 64}
    db["x"].put_data(2, checksum=True)
    assert db["x"].get_data(verify=True) == 2


@pytest.mark.parametrize("mmap", [False, True])
def test_a_changed_byte_is_noticed_on_request(db, mmap):
    """Where it is: in the file that is read."""
    db["x"].put_data(np.zeros(BIG), checksum=True, mmap=True)
    path = db.path / ("x.mmap" if mmap else "x.pickle")
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(-1000, os.SEEK_END)
        file.write(b"\x01")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(CorruptDatasetError, match=path.name):
        db["x"].get_data(verify=True, mmap=mmap)
    assert db["x"].get_data(verify=True, mmap=not mmap).sum() == 0
    assert db["x"].get_data(mmap=mmap).sum() != 0


def test_without_a_checksum_nothing_is_verified(db):
    """Asking for it is an error that says how to have one."""
    db["x"].put_data(1, meta={"checksum": "mine"})
    with pytest.raises(CorruptDatasetError, match="mine"):
        db["x"].get_data(verify=True)
    db["x"].put_data(2)
    assert db["x"].meta.checksum == "mine", "what is no checksum of ours stays"
    db["x"].meta = None
    with pytest.raises(CorruptDatasetError, match="checksum=True"):
        db["x"].get_data(verify=True)
    with db["x"] as entry:
        entry.put_data(np.arange(3), checksum=True, mmap=True)
        del entry.meta["mmap_checksum"]
    with pytest.raises(CorruptDatasetError, match="no 'mmap_checksum'"):
        db["x"].get_data(mmap=True, verify=True)


def test_a_damaged_map_is_named(db):
    """A file that is shorter than it says."""
    db["x"].put_data({"x": np.zeros(BIG)}, mmap=True)
    path = db.path / "x.mmap"
    written = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes()[:-10])
    os.utime(path, ns=(written, written))
    with pytest.raises(CorruptDatasetError, match=r"x\.mmap"):
        db["x"].get_data(mmap=True)
    assert db["x"].get_data()["x"].sum() == 0
