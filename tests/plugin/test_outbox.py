"""The outbox: whatever fails in between, the database ends as if all had been written in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seamless_dask_cache.scheduler_plugin import outbox as module
from seamless_dask_cache.scheduler_plugin.outbox import Batch, Outbox

names = st.sampled_from("abc")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("store"), names),
        st.tuples(st.just("forget"), names),
        st.tuples(st.sampled_from(["deliver", "fail", "lose the answer"]), st.none()),
    )
)


def apply(database, batch):
    for name in batch.forgets:
        database.pop(name, None)
    for item in batch.items:
        database.setdefault(item["transformation"], item["n"])


@given(steps)
def test_the_end_is_that_of_the_order_in_which_all_was_queued(steps):
    """Failed and repeated deliveries change nothing of what is there in the end."""
    outbox, database, expected = Outbox(), {}, {}
    for n, (step, name) in enumerate(steps):
        if step == "store":
            outbox.store({"transformation": name, "n": n})
            expected.setdefault(name, n)
        elif step == "forget":
            outbox.forget(name)
            expected.pop(name, None)
        else:
            batch = outbox.take()
            if step != "fail":
                apply(database, batch)
            if step != "deliver":
                outbox.give_back(batch)
    while outbox:
        apply(database, outbox.take())
    assert database == expected


def test_batches_are_bounded_and_in_order():
    """Many records leave in several batches, numbered in their order."""
    outbox = Outbox()
    for n in range(2 * module.MAX_BATCH + 5):
        outbox.store({"n": n})
    batches = [outbox.take() for _ in range(3)]
    assert [len(batch.items) for batch in batches] == [module.MAX_BATCH, module.MAX_BATCH, 5]
    assert [item["n"] for batch in batches for item in batch.items] == list(range(4005))
    assert sorted(batches, key=lambda batch: batch.number) == batches


def test_too_many_records_lose_the_oldest(monkeypatch):
    """Memory is bounded, and what is dropped is counted."""
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    outbox = Outbox()
    for n in range(13):
        outbox.store({"n": n})
    batch = outbox.take()
    assert [item["n"] for item in batch.items] == list(range(3, 13))
    outbox.store({"n": 13})
    outbox.give_back(batch)
    assert [item["n"] for item in outbox.take().items] == list(range(4, 14))
    assert outbox.dropped == 4


def test_costs_are_added_up():
    """What one code cost is one row, also when its writing failed in between."""
    outbox = Outbox()
    outbox.note_cost("a", (1, 0.5, 10, 0, 0))
    batch = outbox.take()
    outbox.note_cost("a", (1, 1.5, 20, 1, 2))
    outbox.note_cost("b", (1, 1, 1, 1, 1))
    outbox.give_back(batch)
    assert outbox.take().costs == {"a": [2, 2.0, 30, 1, 2], "b": [1, 1, 1, 1, 1]}


def test_hints_are_bounded(monkeypatch):
    """Beyond the bound they are dropped: the oldest rows, the newest codes."""
    monkeypatch.setattr(module, "MAX_HINTS", 3)
    outbox = Outbox()
    outbox._cutoffs = type(outbox._cutoffs)(maxlen=3)
    for n in range(5):
        outbox.note_cutoff((n,))
        outbox.note_cost(str(n), (n,))
    batch = outbox.take()
    assert batch.cutoffs == [(2,), (3,), (4,)]
    assert list(batch.costs) == ["0", "1", "2"]
    outbox.note_cutoff((5,))
    outbox.give_back(batch)
    assert outbox.take().cutoffs == [(3,), (4,), (5,)]


def test_records_leave_without_hints_where_these_are_not_wanted():
    """The spool takes records only."""
    outbox = Outbox()
    outbox.store({"n": 1})
    outbox.note_cutoff((1,))
    assert not outbox.take(hints=False).hints
    assert outbox.records == 0
    assert outbox.take() == Batch(3, cutoffs=[(1,)])


@pytest.mark.parametrize(
    "batch",
    [
        Batch(forgets=["a", "b", "c"], items=[{"n": n} for n in range(5)], cutoffs=[(1,)]),
        Batch(items=[{"n": 1}], costs={"a": [1]}),
        Batch(forgets=["a"], items=[{"n": 1}]),
    ],
)
def test_a_batch_divides_into_what_cannot_be_divided(batch):
    """Dividing ends, keeps everything, and keeps removals before records."""

    def atoms(batch):
        parts = batch.parts()
        return [atom for part in parts for atom in atoms(part)] if parts else [batch]

    found = atoms(batch)
    assert [name for part in found for name in part.forgets] == batch.forgets
    assert [item for part in found for item in part.items] == batch.items
    assert all(len(part.forgets) + len(part.items) <= 1 for part in found)
    assert [part.hints for part in found if part.hints] == [batch.hints] * bool(batch.hints)
