"""A store: records by id, and by provenance."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from seamless_dask_cache import ConfigurationError
from seamless_dask_cache.stores import (
    GenomeStore,
    Provenance,
    ProvenanceStore,
    StoredGenome,
    StoredItem,
    StoredTrack,
    TrackStore,
    registry,
)

MADE = Provenance("read", params={"file": "a.bed"})
KINDS = [ProvenanceStore, TrackStore, GenomeStore]
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_an_item_is_found_by_its_id(kind):
    """Putting gives a random UUID, under which the item itself is kept."""
    store, item = kind(), ["an item"]
    id = store.put(item)
    assert uuid.UUID(id).version == 4
    assert store.get(id) is store[id]
    assert store[id].stored is item
    assert id in store
    assert list(store) == [id]
    assert len(store) == 1


@each_kind
def test_an_unknown_id_is_no_error_for_get(kind):
    """A miss is None; asked for with brackets, it is an error that names the id."""
    store = kind()
    assert store.get("nobody") is None
    assert "nobody" not in store
    with pytest.raises(KeyError, match="no record has the id 'nobody'"):
        store["nobody"]


@each_kind
def test_the_first_item_of_a_provenance_stays(kind):
    """A second put with an identical provenance gives the id of the first."""
    store = kind()
    first = store.put("first", provenance=MADE)
    assert store.put("second", provenance=Provenance("read", (), [("file", "a.bed")])) == first
    assert store[first].stored == "first"
    assert store.find(MADE) == first
    assert len(store) == 1
    assert store.put("third") != store.put("third")


@each_kind
def test_many_threads_get_one_id(kind):
    """Threads that put the same provenance at the same moment get the same id."""
    store = kind()
    for number in range(50):
        made = Provenance("read", params={"number": number})
        barrier = threading.Barrier(8)

        def put(name, made=made, barrier=barrier):
            barrier.wait(30)
            return store.put(name, provenance=made)

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(put, range(8)))) == 1
    assert len(store) == 50


@each_kind
def test_deleting_forgets_the_provenance(kind):
    """After a deletion, the same provenance is a new record."""
    store = kind()
    first = store.put("first", provenance=MADE)
    assert store.delete(first)
    assert not store.delete(first)
    assert store.find(MADE) is None
    assert store.get(first) is None
    second = store.put("second", provenance=MADE)
    assert second != first
    assert store[second].stored == "second"


def test_records_are_listed_by_creation(monkeypatch):
    """Times of creation are in UTC and increase, also when the clock is set back."""
    start = datetime(2026, 5, 1, tzinfo=timezone.utc)
    clock = iter([start, start, start - timedelta(days=1), start + timedelta(days=1)])

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            assert tz is timezone.utc
            return next(clock)

    monkeypatch.setattr(registry, "datetime", Clock)
    store = ProvenanceStore()
    ids = [store.put(number) for number in range(4)]
    records = store.list_all()
    assert [record.id for record in records] == ids == list(store)
    times = [record.created_at for record in records]
    assert times == sorted(set(times))
    assert times[0] == start
    assert times[-1] == start + timedelta(days=1)
    assert all(time.utcoffset() == timedelta(0) for time in times)


@pytest.mark.parametrize(
    ("kind", "record", "fields"),
    [
        (ProvenanceStore, StoredItem, "id item created_at provenance temp_file"),
        (
            TrackStore,
            StoredTrack,
            "id track track_type chroms created_at provenance temp_file",
        ),
        (GenomeStore, StoredGenome, "id genome created_at provenance temp_file"),
    ],
)
def test_records_have_these_fields_and_cannot_be_changed(kind, record, fields):
    """A record is frozen, and has exactly these fields."""
    store = kind()
    found = store[store.put({"chr1": "ACGT"}, provenance=MADE)]
    assert type(found) is record
    assert [field.name for field in dataclasses.fields(record)] == fields.split()
    assert found.provenance is MADE
    assert found.temp_file is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.id = "other"


# Temporary files ----------------------------------------------------------------------------------


@each_kind
def test_a_temporary_file_goes_with_its_record(kind, tmp_path):
    """Deleting a record removes the file that was handed over, and no other."""
    file, other = tmp_path / "a.bed", tmp_path / "b.bed"
    file.write_text("a")
    other.write_text("b")
    store = kind()
    id, second = store.put("a", temp_file=file), store.put("b", temp_file=str(other))
    assert store[id].temp_file == file
    assert store.delete(id)
    assert not file.exists()
    assert other.exists()
    assert store[second].temp_file == other


def test_a_file_that_is_gone_is_no_error(tmp_path):
    """Somebody else may have removed the file; it need never have been there."""
    store = ProvenanceStore()
    assert store.delete(store.put("a", temp_file=tmp_path / "never"))
    store.put("a", temp_file=tmp_path / "never")
    store.close()


def test_the_file_of_a_later_put_stays_the_callers(tmp_path):
    """Where the provenance is known, the store does not take the file over."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.touch()
    second.touch()
    with ProvenanceStore() as store:
        id = store.put("a", provenance=MADE, temp_file=first)
        assert store.put("b", provenance=MADE, temp_file=second) == id
        assert store[id].temp_file == first
    assert not first.exists()
    assert second.exists()


def test_a_file_of_two_records_stays_until_the_second_goes(tmp_path):
    """The same path can be handed over twice."""
    file = tmp_path / "shared"
    file.touch()
    store = ProvenanceStore()
    ids = [store.put("a", temp_file=file), store.put("b", temp_file=file)]
    assert store.delete(ids[0])
    assert file.exists()
    assert store.delete(ids[1])
    assert not file.exists()


def test_a_relative_path_stays_the_same_file(tmp_path, monkeypatch):
    """A change of the working folder changes nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "here").touch()
    store = ProvenanceStore()
    id = store.put("a", temp_file="here")
    monkeypatch.chdir(tmp_path / "sub")
    store.delete(id)
    assert not (tmp_path / "here").exists()
    assert (tmp_path / "sub" / "here").exists()


def test_closing_removes_all_files_and_keeps_the_records(tmp_path):
    """One file that cannot be removed is told after the others are; closing again is no error."""
    files = [tmp_path / name for name in "abc"]
    store = ProvenanceStore()
    ids = [store.put(file.name, temp_file=file) for file in files]
    files[0].touch()
    (files[1] / "not a file any more").mkdir(parents=True)
    files[2].touch()
    with pytest.raises(OSError):
        store.close()
    assert not files[0].exists()
    assert not files[2].exists()
    store.close()
    assert [store[id].stored for id in ids] == list("abc")
    assert store.delete(ids[0])


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"provenance": "read"}, TypeError, "must be a Provenance, not 'read'"),
        ({"temp_file": 5}, TypeError, "must be the path of a file, not 5"),
        ({"temp_file": "/"}, ValueError, "not the folder /"),
    ],
)
@each_kind
def test_what_cannot_be_put_is_named(kind, options, error, text):
    """A bad argument gives an error, and nothing is kept."""
    store = kind()
    with pytest.raises(error, match=text):
        store.put("item", **options)
    assert len(store) == 0


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"database": "a folder"}, ValueError, "must be a URL .* not 'a folder'"),
        ({"database": 5}, ValueError, "not 5"),
        ({"linked": ["a store"]}, TypeError, "only stores can be linked, not 'a store'"),
        ({"linked": ProvenanceStore()}, TypeError, r"such as \[store\]"),
    ],
)
@each_kind
def test_what_no_store_can_be_made_with_is_named(kind, options, error, text):
    """A bad argument gives an error."""
    with pytest.raises(error, match=text):
        kind(**options)


# Against a model ----------------------------------------------------------------------------------


class StoreMachine(RuleBasedStateMachine):
    """A store does what a dict of records and one of provenances do."""

    def __init__(self):
        super().__init__()
        self.store = ProvenanceStore()
        self.items = {}
        self.ids = {}
        self.gone = set()

    @rule(item=st.integers(), number=st.none() | st.integers(0, 4))
    def put(self, item, number):
        made = None if number is None else Provenance("make", params={"number": number})
        id = self.store.put(item, provenance=made)
        if made in self.ids:
            assert id == self.ids[made]
            return
        assert id not in self.items.keys() | self.gone
        self.items[id] = item
        if made is not None:
            self.ids[made] = id

    @rule(position=st.integers(0, 9))
    def delete(self, position):
        if position >= len(self.items):
            assert not self.store.delete("nobody")
            return
        id = list(self.items)[position]
        assert self.store.delete(id)
        del self.items[id]
        self.gone.add(id)
        self.ids = {made: other for made, other in self.ids.items() if other != id}

    @invariant()
    def agrees(self):
        assert {record.id: record.item for record in self.store.list_all()} == self.items
        assert list(self.store) == list(self.items)
        assert all(self.store.find(made) == id for made, id in self.ids.items())
        assert not any(id in self.store for id in self.gone)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


def test_one_file_under_several_paths_is_one(tmp_path):
    """It goes with the last of its records; a link is a file of its own."""
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    file, target = tmp_path / "a" / "f", tmp_path / "target"
    file.write_text(""), target.write_text("")
    (tmp_path / "to").symlink_to(target)
    store = ProvenanceStore()
    paths = (file, tmp_path / "link" / "f", tmp_path / "a" / ".." / "a" / "f")
    ids = [store.put(1, temp_file=path) for path in paths]
    for id in ids:
        assert file.exists()
        store.delete(id)
    assert not file.exists()
    store.delete(store.put(1, temp_file=tmp_path / "to"))
    assert target.exists() and not (tmp_path / "to").is_symlink()


def test_what_lies_there_after_closing_is_somebody_elses(tmp_path):
    """Closing removes the files; who deletes a record later removes no other one."""
    file = tmp_path / "f"
    store = ProvenanceStore()
    first = store.put(1, temp_file=file)
    store.close()
    file.write_text("somebody's")
    store.delete(first)
    assert file.exists()
    first = store.put(1, temp_file=file)
    store.close()
    file.write_text("again")
    second = store.put(2, temp_file=file)
    store.delete(first)
    assert file.exists()
    store.delete(second)
    assert not file.exists()


def test_a_store_cannot_be_copied(tmp_path):
    """Two that share their records would forget for each other."""
    store = ProvenanceStore()
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="lives in its process"):
            attempt(store)


@pytest.mark.parametrize("url", ["http://", "http://h:port", "http://h:99999", "ftp://h", "h:1", 5])
def test_a_url_that_is_none_is_refused_at_once(url):
    """Not only when something is computed."""
    with pytest.raises(ConfigurationError, match="database must be a URL"):
        ProvenanceStore(database=url)
