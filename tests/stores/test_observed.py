"""What tasks do to datasets is told to whoever observes them, also where no call is heard."""

from __future__ import annotations

import pytest

from seamless_dask_cache import stores
from seamless_dask_cache.observation import Observation


@pytest.fixture
def entry(tmp_path):
    entry = stores.dirdb(tmp_path)["x"]
    entry.put_data(1, {"a": 1})
    return entry


def changed(entry):
    entry.meta.b = 2
    entry.update_meta()


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.put_data(2),
        lambda entry: setattr(entry, "meta", {"a": 2}),
        lambda entry: setattr(entry, "meta", None),
        lambda entry: entry.delete(),
        changed,
    ],
)
def test_a_change_is_an_effect(entry, change):
    """It comes before anything that is heard of files."""
    seen = Observation()
    seen.run(change, entry)
    assert seen.effect() == "write: it changes the dataset 'x'"


def test_sizes_and_times_make_a_result_uncertain(entry):
    """They are no part of what identifies a dataset; its data and metadata are."""
    for look in (
        lambda e: e.stat(),
        lambda e: e.store.sort("time"),
        lambda e: e.store.sort("size"),
    ):
        seen = Observation()
        seen.run(look, entry)
        assert seen.unstable == "it looks at sizes and times of the dataset 'x'"
    seen = Observation()
    seen.run(lambda e: (e.get_data(), e.meta, e.store.sort("a")), entry)
    assert seen.unstable is None and seen.effect() is None
