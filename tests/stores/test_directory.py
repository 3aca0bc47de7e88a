"""A folder of named datasets, used by hand."""

from __future__ import annotations

import json
import math
import os
import pickle
import threading

import cloudpickle
import numpy as np
import pytest

from seamless_dask_cache import (
    ConfigurationError,
    CorruptDatasetError,
    DatasetError,
    DatasetNameError,
    MissingDatasetError,
    stores,
)


@pytest.fixture
def db(tmp_path):
    return stores.dirdb(tmp_path / "db")


def test_the_folder_is_made(tmp_path):
    """A folder that is missing is made, with those above it, unless that is not wanted."""
    db = stores.dirdb(str(tmp_path / "a" / "b"))
    assert db.path.is_dir() and len(db) == 0 and list(db) == []
    with pytest.raises(ConfigurationError, match="no folder"):
        stores.dirdb(tmp_path / "c", create_ok=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="file"):
        stores.dirdb(tmp_path / "file")
    with pytest.raises(ConfigurationError, match="dump and load"):
        stores.dirdb(tmp_path, pickler=object())


def test_an_entry_is_false_until_it_has_data(db):
    """Looking at a name makes no dataset."""
    entry = db["x"]
    assert not entry and not entry.has_data() and "x" not in db and entry.name == "x"
    with pytest.raises(MissingDatasetError, match="'x'"):
        entry.get_data()
    with pytest.raises(KeyError):
        entry.stat()
    with pytest.raises(FileNotFoundError):
        entry.delete()
    with pytest.raises(MissingDatasetError):
        del db["x"]
    entry.put_data(None)
    assert entry and entry.has_data() and "x" in db and entry.get_data() is None


def test_names_come_sorted_and_by_pattern(db):
    """Whatever the order in which they were made."""
    for name in ("run-10", "b", "run-2", "B", "a.b", ".hidden"):
        db[name] = name
    assert db.names() == [".hidden", "B", "a.b", "b", "run-10", "run-2"]
    assert db.names("run-*") == ["run-10", "run-2"] and db.names("b") == ["b"]
    assert [entry.name for entry in db] == db.names()
    assert [entry.get_data() for entry in db.entries("?")] == ["B", "b"]
    assert len(db) == 6 and bool(stores.dirdb(db.path / "empty"))


def test_other_files_are_no_datasets(db):
    """Files of metadata alone, locks, folders and what is under construction do not count."""
    db["x"] = 1
    db["only meta"].meta = {"a": 1}
    (db.path / ".x.pickle.part").write_bytes(b"half")
    (db.path / "notes.txt").write_text("")
    (db.path / ".pickle").write_bytes(b"")
    assert db.names() == ["x"]


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "a/b", "/a", "../a", "a\\b", "a\0b", "a\nb"),
        *("x" * 241, "é" * 121, "\ud800", None, 3, b"a"),
    ],
)
def test_names_that_are_no_file_names_are_refused(db, name):
    """A name never becomes a path."""
    with pytest.raises(DatasetNameError, match="name") as caught:
        db[name]
    assert isinstance(caught.value, ValueError)
    assert name not in db
    with pytest.raises(DatasetNameError):
        db[name] = 1
    assert list(db.path.parent.iterdir()) == [db.path] and not list(db.path.iterdir())


@pytest.mark.parametrize("name", ["x" * 240, "é" * 120, "a b", "10:30", "*", ".a", "x.pickle"])
def test_names_that_are_file_names_are_taken(db, name):
    """Nothing else is refused; the longest name leaves room for hidden files."""
    db[name].put_data(1, meta={"a": 2}, mmap=True)
    assert db.names() == [name] and db[name].get_data() == 1 and db[name].meta.a == 2


def test_deleting(db):
    """Data and metadata go; the lock file stays for those who wait."""
    db["x"].put_data(1, meta={"a": 1}, mmap=True)
    db["y"] = 2
    del db["x"]
    assert db.names() == ["y"] and db["x"].meta == {}
    db["y"].delete()
    assert sorted(path.name for path in db.path.iterdir()) == ["x.lock", "y.lock"]
    db["z"].meta = {"a": 1}
    db["z"].delete()
    assert not (db.path / "z.json").exists()


# Metadata -----------------------------------------------------------------------------------------


def on_disk(entry):
    return json.loads(entry.path.with_name(f"{entry.name}.json").read_text())


def test_metadata_have_attributes_at_every_depth(db):
    """Attributes are items; what is missing is named."""
    entry = db["x"]
    entry.meta = {"stats": {"mean": 1.5}, "list": [{"a": {"b": 1}}]}
    assert entry.meta.stats.mean == entry.meta["stats"]["mean"] == 1.5
    assert entry.meta.list[0].a.b == 1
    entry.meta.new = {"deep": {"er": 1}}
    entry.meta.new.deep.er += 1
    del entry.meta.stats.mean
    assert entry.meta == {"stats": {}, "list": [{"a": {"b": 1}}], "new": {"deep": {"er": 2}}}
    with pytest.raises(AttributeError, match="'mean'"):
        _ = entry.meta.stats.mean
    with pytest.raises(AttributeError, match="'gone'"):
        del entry.meta.gone
    with pytest.raises(AttributeError, match=r"meta\['items'\]"):
        entry.meta.items = 3
    entry.meta |= {"more": {"a": 1}}
    entry.meta.setdefault("rest", {}).b = 2
    assert entry.meta.more.a == 1 and entry.meta.rest == {"b": 2}
    copy = entry.meta.copy()
    copy.more.a = 9
    assert entry.meta.more.a == 1
    assert pickle.loads(pickle.dumps(entry.meta)).more.a == 1


def test_metadata_are_empty_at_first(db):
    """Looking at metadata that are not there makes no file."""
    with db["x"] as entry:
        assert entry.meta == {}
    assert not (db.path / "x.json").exists()
    db["x"].put_data(1)
    assert not (db.path / "x.json").exists()


def test_assigning_metadata_saves_them(db):
    """None deletes the file; an empty dict is saved."""
    entry = db["x"]
    entry.meta = {"a": 1}
    assert on_disk(entry) == {"a": 1}
    entry.meta = {}
    assert on_disk(entry) == {}
    entry.meta = None
    assert not (db.path / "x.json").exists() and entry.meta == {}
    entry.meta = None  # once more does no harm


def test_changes_in_place_are_saved_at_the_end_of_the_block(db):
    """And not before."""
    entry = db["x"]
    entry.put_data([1], meta={"test": [1, 2]})
    with entry:
        entry.meta.test.append(3)
        assert on_disk(entry) == {"test": [1, 2]}
    assert on_disk(entry) == {"test": [1, 2, 3]} and db["x"].meta.test == [1, 2, 3]


def test_changes_in_place_are_saved_when_the_block_raises(db):
    """Also then; the error comes out, and the lock is free."""
    entry = db["x"]
    with pytest.raises(ZeroDivisionError), entry:
        entry.meta.a = 1
        1 / 0  # noqa: B018
    assert on_disk(entry) == {"a": 1} and not entry.lock.is_locked


def test_changes_outside_of_a_block_wait_for_the_next_save(db):
    """They are not lost: a block, new data or `update_meta` saves them."""
    entry = db["x"]
    entry.meta.a = 1
    with entry:
        pass
    assert on_disk(entry) == {"a": 1}
    entry.meta.b = 2
    entry.put_data(0)
    assert on_disk(entry) == {"a": 1, "b": 2}
    del entry.meta.a
    entry.update_meta()
    assert on_disk(entry) == {"b": 2}
    db.update_meta("x", {"c": 3})
    assert on_disk(entry) == {"b": 2, "c": 3}


def test_what_others_changed_is_not_overwritten(db):
    """A block reads anew; changes of both sides are brought together."""
    mine, theirs = db["x"], db["x"]
    mine.meta = {"a": 1, "b": 1, "d": 1}
    held = mine.meta
    theirs.meta.c = 3
    theirs.meta.b = 2
    theirs.update_meta()
    mine.meta.a = 9
    del mine.meta["d"]
    with mine:
        assert mine.meta == {"a": 9, "b": 2, "c": 3}
        held.late = True
    assert on_disk(mine) == {"a": 9, "b": 2, "c": 3, "late": True}
    assert held is mine.meta


def test_what_somebody_holds_stays_a_part_of_the_metadata(db):
    """Nested dicts and lists that were taken before a save, a block or a deletion are not lost."""
    entry = db["x"]
    entry.put_data(0, {"stats": {"n": [1]}})
    stats, numbers = entry.meta.stats, entry.meta.stats.n
    with entry:
        stats.mean = 1
        entry.put_data(1)
        stats.std = 2
        with entry:
            pass
        numbers.append(2)
    assert on_disk(entry) == {"stats": {"n": [1, 2], "mean": 1, "std": 2}}
    db["x"].meta = {"stats": {"n": [5], "theirs": True}}
    with entry:
        stats.mine = True
        numbers.append(6)
    assert on_disk(entry) == {"stats": {"n": [5, 6], "theirs": True, "mine": True}}
    with entry:
        meta = entry.meta
        entry.meta = None
        meta.b = 2
    assert on_disk(entry) == {"b": 2}


def test_changes_of_both_sides_are_merged_at_every_depth(db):
    """Not only whole items of the top level."""
    mine = db["x"]
    mine.meta = {"stats": {"a": 1, "b": 2}}
    mine.meta.stats.mean = 1
    del mine.meta.stats["b"]
    db["x"].meta = {"stats": {"a": 5, "b": 2, "std": 2}}
    mine.update_meta()
    assert on_disk(mine) == {"stats": {"a": 5, "std": 2, "mean": 1}} == mine.meta


def test_a_value_that_cannot_be_saved_is_refused_at_once(db):
    """It names the item; what was set before is saved; the error of a block stays the one."""
    entry = db["x"]
    with pytest.raises(TypeError, match=r"'b' cannot be <object"), entry:
        entry.meta.a = 1
        entry.meta.b = object()
    assert on_disk(entry) == {"a": 1}
    with pytest.raises(TypeError, match=r"a str, not 3"):
        entry.meta[3] = 1
    with pytest.raises(TypeError, match="'deep' cannot be"):
        entry.meta.stats = {"deep": {1, 2}}
    entry.meta.list = []
    with pytest.raises(ZeroDivisionError), entry:
        entry.meta.list.append(object())  # nobody sees this
        1 / 0  # noqa: B018
    with pytest.raises(TypeError, match="JSON has no object"):
        entry.update_meta()
    for bad in (5, "abc", [("a", 1)]):
        with pytest.raises(TypeError, match="mapping"):
            entry.put_data(1, bad)
    assert not entry


def test_metadata_hold_what_json_holds_and_numpy_scalars(db):
    """Statistics come from numpy; what JSON cannot hold is refused before anything is written."""
    x = np.arange(4, dtype="float32")
    entry = db["x"]
    entry.meta = {"mean": x.mean(), "n": np.int64(4), "ok": np.bool_(True), "x": x, "nan": math.nan}
    assert on_disk(entry) | {"nan": 0} == {
        **{"mean": 1.5, "n": 4, "ok": True},
        **{"x": [0.0, 1.0, 2.0, 3.0], "nan": 0},
    }
    assert math.isnan(db["x"].meta.nan)
    for bad in ({"a": object()}, {"a": {1, 2}}, {(1, 2): 3}):
        with pytest.raises(TypeError):
            entry.meta = bad
        with pytest.raises(TypeError):
            entry.put_data("new", meta=bad)
    assert not entry and on_disk(entry)["n"] == 4
    assert sorted(path.name for path in db.path.iterdir()) == ["x.json", "x.lock"]


@pytest.mark.parametrize("text", ["[1]", "{", "", "3", "\xff"])
def test_damaged_metadata_are_named_and_can_be_replaced(db, text):
    """They are no reason not to read the data, and new ones replace them."""
    entry = db["x"]
    entry.put_data(5)
    (db.path / "x.json").write_text(text, encoding="latin-1")
    assert db["x"].get_data() == 5
    with pytest.raises(CorruptDatasetError, match=r"x\.json"):
        _ = db["x"].meta
    db["x"].put_data(6, meta={"a": 1})
    assert db["x"].meta == {"a": 1}


# Data ---------------------------------------------------------------------------------------------


def test_putting_with_metadata(db):
    """New metadata replace the old ones; without, the old ones stay."""
    entry = db["x"]
    entry.put_data(1, meta={"a": 1})
    entry.put_data(2)
    assert on_disk(entry) == {"a": 1}
    entry.put_data(3, {"b": 2})
    assert on_disk(entry) == {"b": 2} and entry.meta == {"b": 2}
    db.save_data("y", 4, {"c": 1})
    assert db.get_data("y") == 4 and db["y"].meta.c == 1


def test_what_cannot_be_pickled_leaves_the_old_data(db):
    """And nothing under construction."""
    entry = db["x"]
    entry.put_data("old", {"a": 1})
    for how in ({}, {"mmap": True}):
        with pytest.raises((TypeError, ValueError)):
            entry.put_data([b"x" * 10_000, threading.Lock()], {"a": 2}, **how)
    assert db["x"].get_data() == "old" and db["x"].meta == {"a": 1}
    assert sorted(os.listdir(db.path)) == ["x.json", "x.lock", "x.pickle"]


def test_a_damaged_pickle_is_named(db):
    """An incomplete file is told from a missing one."""
    db["x"] = list(range(1000))
    content = (db.path / "x.pickle").read_bytes()
    for damaged in (b"", content[:-1], content[:100], b"no pickle"):
        (db.path / "x.pickle").write_bytes(damaged)
        with pytest.raises(CorruptDatasetError, match=r"x\.pickle"):
            db["x"].get_data()


class Raising:
    """Cannot be put together again."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        return _raise, (self.error,)


def _raise(error):
    raise error


def test_an_error_of_loading_names_the_file(db):
    """Also one that looks as if the file were missing; what the code lacks comes out as it is."""
    for error in (FileNotFoundError("other"), ValueError("bad"), UnicodeError("x")):
        db["x"] = Raising(error)
        with pytest.raises(CorruptDatasetError, match=r"x\.pickle"):
            db["x"].get_data()
    db["x"] = Raising(ModuleNotFoundError("no such module"))
    with pytest.raises(ModuleNotFoundError):
        db["x"].get_data()


class PutsItself:
    def __init__(self, entry):
        self.entry = entry

    def __reduce__(self):
        self.entry.put_data("inner")
        return str, ("outer",)


def test_writing_does_not_change_the_same_dataset_meanwhile(db):
    """What pickling does may not replace what is being written; other datasets it may."""
    db["x"] = "old"
    with pytest.raises(RuntimeError, match="'x'"):
        db["x"].put_data(PutsItself(db["x"]))
    assert db["x"].get_data() == "old"
    db["x"].put_data(PutsItself(db["y"]))
    assert db["x"].get_data() == "outer" and db["y"].get_data() == "inner"


def test_a_folder_that_is_gone_is_not_made_again(db):
    """It may be on a machine that has not mounted it; neither by a lock nor by unpickling."""
    text = pickle.dumps(db["x"])
    db.path.rmdir()
    for attempt in (lambda: db["x"].put_data(1), lambda: db["x"].__enter__()):
        with pytest.raises(DatasetError, match="is not there"):
            attempt()
    with pytest.raises(ConfigurationError, match="no folder"):
        pickle.loads(text)
    assert not db.path.exists()


def test_names_that_dirdb_allows_and_this_does_not_are_told(db, caplog):
    """Once; the others are there."""
    (db.path / "a\\b.pickle").write_bytes(b"")
    db["ok"] = 1
    assert db.names() == db.names() == ["ok"]
    assert caplog.text.count("rename its files") == 1 and "a\\\\b" in caplog.text


def test_names_that_are_no_utf8(db):
    """As old file systems have them."""
    name = os.fsdecode(b"caf\xe9")
    db[name].put_data(1, {"a": 1}, mmap=True)
    assert db.names() == [name] and db[name].meta.a == 1
    assert not [path for path in os.listdir(db.path) if path.endswith(".part")]


def test_folders_and_dead_links_are_no_datasets(db):
    """Whoever is asked."""
    (db.path / "folder.pickle").mkdir()
    (db.path / "dead.pickle").symlink_to("nowhere")
    assert db.names() == [] and "folder" not in db and "dead" not in db
    with pytest.raises(IsADirectoryError, match=r"folder\.pickle"):
        db["folder"].put_data(1, {"a": 1})
    db["y"].put_data(1)
    (db.path / "y.json").mkdir()
    with pytest.raises(IsADirectoryError, match=r"y\.json"):
        db["y"].put_data(2, {"a": 1})
    assert db["y"].get_data() == 1


@pytest.mark.parametrize("timeout", [-1, "abc", True, [1]])
def test_a_limit_is_a_number_of_seconds(db, timeout):
    """Also that of a single block."""
    with pytest.raises(ValueError, match="timeout"):
        stores.dirdb(db.path, timeout=timeout)
    with pytest.raises(ValueError, match="timeout"):
        db["x"].locked(timeout).__enter__()


def test_a_pickler_of_ones_own(tmp_path):
    """What the module pickle cannot do, another one can."""
    db = stores.dirdb(tmp_path, pickler=cloudpickle)
    db["f"] = lambda x: x + 1
    assert db["f"].get_data()(1) == 2
    again = pickle.loads(pickle.dumps(db["f"]))
    assert again == db["f"] and again.get_data()(2) == 3
    with pytest.raises((AttributeError, pickle.PicklingError)):
        stores.dirdb(tmp_path)["f"].put_data(lambda: 1)


def test_a_link_stays_a_link(db, tmp_path):
    """Data that somebody has put on another disk stay there."""
    (tmp_path / "other").mkdir()
    (db.path / "x.pickle").symlink_to(tmp_path / "other" / "big")
    db["x"].put_data([1, 2], meta={"a": 1})
    assert (db.path / "x.pickle").is_symlink()
    assert pickle.loads((tmp_path / "other" / "big").read_bytes()) == [1, 2]
    assert os.listdir(tmp_path / "other") == ["big"]


def test_facts(db):
    """Sizes, times and the checksum, without loading anything."""
    entry = db["x"]
    entry.put_data(np.zeros(1000), meta={"a": 1}, mmap=True)
    facts = entry.stat()
    files = {suffix: db.path / f"x.{suffix}" for suffix in ("pickle", "json", "mmap")}
    sizes = [files[suffix].stat().st_size for suffix in files]
    assert [facts.size, facts.meta_size, facts.mmap_size] == sizes
    assert facts.modified.timestamp() == pytest.approx(files["pickle"].stat().st_mtime, abs=1e-5)
    assert facts.meta_modified.timestamp() == pytest.approx(files["json"].stat().st_mtime, abs=1e-5)
    import hashlib

    assert facts.checksum == hashlib.sha256(files["pickle"].read_bytes()).hexdigest()
    entry.put_data(np.ones(1000))
    entry.meta = None
    changed = entry.stat()
    assert changed.checksum != facts.checksum
    assert changed.meta_modified is None and changed.meta_size == changed.mmap_size == 0


def test_sorting(db):
    """By name, size, time, a field or a function; what has no value comes last."""
    for position, (name, size, rank) in enumerate([("b", 30, 2), ("a", 10, 10), ("c", 20, None)]):
        meta = {} if rank is None else {"stats": {"rank": rank}, "size": -rank}
        db[name].put_data(b"x" * size, meta=meta)
        os.utime(db[name].path, ns=(0, (3 - position) * 10**9))

    def names(*args, **kwargs):
        return [entry.name for entry in db.sort(*args, **kwargs)]

    assert names() == ["a", "b", "c"] and names(reverse=True) == ["c", "b", "a"]
    assert names("size") == ["a", "c", "b"] and names("time") == ["c", "a", "b"]
    assert names("stats.rank") == ["b", "a", "c"]
    assert names("stats.rank", reverse=True) == ["a", "b", "c"]
    assert names("meta.size") == ["a", "b", "c"]
    assert names(lambda entry: entry.get_data()[:1] + entry.name[::-1].encode()) == ["a", "b", "c"]
    assert names("nothing.here") == ["a", "b", "c"]
    with pytest.raises(TypeError, match="not by 3"):
        names(3)
    for name, value in (("a", math.nan), ("b", 3.0), ("c", 1.0)):
        db.update_meta(name, {"number": value})
    assert names("number") == ["c", "b", "a"] == names("number", reverse=False)
    db["a"].meta = {"stats": {"rank": "first"}}
    with pytest.raises(TypeError, match=r"stats\.rank"):
        names("stats.rank")


def test_what_is_deleted_while_it_is_sorted_comes_last(db, monkeypatch):
    """Sorting is no snapshot."""
    db["b"], db["c"] = "long" * 10, "short"
    monkeypatch.setattr(type(db), "names", lambda self, pattern: ["a", "b", "c"])
    for by in ("size", "time"):
        assert db.sort(by)[-1].name == "a"


def test_folders_below(db):
    """A folder of the folder is such a store, too."""
    below = db.subdb("deep")
    below["x"] = 1
    assert [sub.path.name for sub in db.subdirs()] == ["deep"] and below.path == db.path / "deep"
    assert db.names() == [] and next(db.subdirs())["x"].get_data() == 1
    with pytest.raises(DatasetNameError):
        db.subdb("../other")


def test_equality_and_order(db, tmp_path):
    """Entries are equal when they stand for the same dataset, and sort by folder and name."""
    other = stores.dirdb(tmp_path / "other")
    assert db["x"] == stores.dirdb(db.path)["x"] != other["x"]
    assert len({db["x"], db["x"], db["y"], other["x"]}) == 3
    assert sorted([other["a"], db["b"], db["a"]]) == [db["a"], db["b"], other["a"]]
    assert db == stores.DirectoryStore(str(db.path)) != other and "x" in repr(db["x"])
    with pytest.raises(TypeError):
        _ = db["x"] < 3
