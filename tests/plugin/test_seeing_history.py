"""History, and the columns and charts that are made of it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seamless_dask_cache.scheduler_plugin.history import FIELDS, OTHER, Amounts, History
from seamless_dask_cache.scheduler_plugin.seeing.charts import (
    nice_ticks,
    stacked_areas,
    stacked_bars,
)
from seamless_dask_cache.scheduler_plugin.seeing.columns import (
    per_prefix,
    seconds_text,
    share_text,
    so_far,
)


def test_what_is_noted_can_be_asked_by_second_and_by_prefix():
    """Amounts of one second add up, and so do those of one prefix."""
    history = History()
    history.note(100.2, "inc", hits=2, seconds_saved=1.5)
    history.note(100.9, "add", misses=1)
    history.note(103.0, "inc", hits=1)
    assert [(p.start, p.stop, p.amounts.hits, p.amounts.misses) for p in history.series()] == [
        (100.0, 101.0, 2, 1),
        (103.0, 104.0, 1, 0),
    ]
    assert history.by_prefix() == {
        "inc": Amounts(hits=3, seconds_saved=1.5),
        "add": Amounts(misses=1),
    }
    assert history.totals() == Amounts(hits=3, misses=1, seconds_saved=1.5)


def test_an_unknown_amount_is_an_error():
    """A misspelt amount is not dropped in silence."""
    with pytest.raises(AttributeError):
        History().note(0.0, "inc", hitz=1)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(st.integers(-5, 50), max_size=60),
    max_points=st.integers(2, 10),
    prefixes=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8),
)
def test_memory_is_bounded_and_nothing_is_lost(steps, max_points, prefixes):
    """Whatever is noted when: few points, in order, few prefixes, and exact totals."""
    moments = [1_000 + moment for moment in itertools.accumulate(steps)]
    history = History(max_points=max_points, max_prefixes=3)
    for i, moment in enumerate(moments):
        history.note(moment, prefixes[i % len(prefixes)], hits=1, bytes_saved=i)
    points = history.series()
    assert len(points) <= max_points
    assert all(a.stop <= b.start for a, b in itertools.pairwise(points))
    assert len(history.by_prefix()) <= 3
    total = Amounts(hits=len(moments), bytes_saved=sum(range(len(moments))))
    assert history.totals() == total
    assert sum(amounts.hits for amounts in history.by_prefix().values()) == total.hits


def test_the_recent_past_keeps_its_seconds():
    """After a day of something every second, the last minutes can be told apart by second."""
    history = History(max_points=100)
    for second in range(86_400):
        history.note(second, "inc", hits=1)
    points = history.series()
    assert all(point.stop - point.start == 1 for point in points[-50:])
    assert points[0].start == 0
    assert points[-1].stop == 86_400
    assert history.totals().hits == 86_400


def test_a_clock_that_is_set_back_counts_for_the_last_point():
    """Time that goes backwards neither disorders the points nor loses an amount."""
    history = History()
    history.note(1_000.0, "inc", hits=1)
    history.note(10.0, "inc", hits=1)
    assert [(point.start, point.amounts.hits) for point in history.series()] == [(1_000.0, 2)]


def test_prefixes_and_reasons_beyond_the_limit_are_other():
    """The first ones keep their names, the rest share one."""
    history = History(max_prefixes=3)
    for name in "abcde":
        history.note(0.0, name, refused=1)
    assert {name: a.refused for name, a in history.by_prefix().items()} == {
        "a": 1,
        "b": 1,
        OTHER: 3,
    }
    history.note_refusals({f"reason {i}": 1 for i in range(1_000)})
    history.note_refusals({"reason 0": 5})
    refusals = history.refusals()
    assert len(refusals) == 200
    assert refusals[OTHER] == 1_000 - 199
    assert refusals["reason 0"] == 6


def test_everything_is_plain_data():
    """What is sent to a client has columns of equal length, and events with their time."""
    import msgpack

    history = History()
    history.note(5.0, "inc", hits=1)
    history.note_event(6.0, {"action": "healed", "key": "x"})
    data = history.as_dict()
    assert {len(column) for column in data["series"].values()} == {1}
    assert set(data["series"]) == {"start", "stop", *FIELDS}
    assert data["events"] == [{"when": 6.0, "action": "healed", "key": "x"}]
    assert msgpack.unpackb(msgpack.packb(data)) == data


def test_the_version_tells_that_something_is_new():
    """Whoever draws can see that nothing changed."""
    history = History()
    versions = [history.version]
    for note in (
        lambda: history.note(0.0, "inc", hits=1),
        lambda: history.note_all(0.0, {"inc": Amounts(hits=1)}),
        lambda: history.note_refusals({"clock": 1}),
        lambda: history.note_event(0.0, {"action": "healed"}),
    ):
        note()
        versions.append(history.version)
    assert versions == sorted(set(versions))


def test_running_totals_stay_between_points():
    """A total grows within a point, and is level until the next one."""
    history = History()
    history.note(10.0, "inc", hits=2)
    history.note(20.0, "inc", hits=3)
    columns = so_far(history.as_dict()["series"], ["hits"])
    assert columns == {"time": [10.0, 11.0, 20.0, 21.0], "hits": [0.0, 2.0, 2.0, 5.0]}


def test_rows_are_the_first_prefixes():
    """A bar chart takes the prefixes with the most tasks."""
    history = History()
    history.note(0.0, "few", hits=1)
    history.note(0.0, "many", misses=5)
    rows = per_prefix(history.as_dict()["prefixes"], 1)
    assert rows["prefix"] == ["many"]
    assert rows["misses"] == [5]
    assert per_prefix({}) == {"prefix": []}


def test_areas_stand_on_each_other():
    """The lower edge of a layer is the upper edge of the one below; the top fits the axis."""
    chart = stacked_areas([0.0, 10.0], [[0.0, 60.0], [0.0, 40.0]])
    assert chart.ticks[-1].value == 100
    assert chart.paths[0] == "M0.0,180.0 L640.0,72.0 L640.0,180.0 L0.0,180.0 Z"
    assert chart.paths[1] == "M0.0,180.0 L640.0,0.0 L640.0,72.0 L0.0,180.0 Z"


def test_nothing_makes_no_chart():
    """Without amounts there is no axis to draw."""
    assert stacked_areas([], [[], []]) is None
    assert stacked_areas([1.0, 2.0], [[0.0, 0.0]]) is None
    assert stacked_bars({"prefix": []}, ["hits"]) is None


def test_bars_end_at_the_edge():
    """The longest bar takes the width, and parts follow each other."""
    rows = {"prefix": ["a", "b"], "hits": [3, 1], "misses": [1, 0]}
    chart = stacked_bars(rows, ["hits", "misses"])
    (first, second), (third, _) = (bar.parts for bar in chart.bars)
    assert first == (200.0, 330.0, 3)
    assert second == (530.0, 110.0, 1)
    assert third == (200.0, 110.0, 1)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.floats(1e-9, 1e15))
def test_ticks_are_few_and_reach_the_top(top):
    """Whatever the amount, some round numbers from 0 on cover it."""
    ticks = nice_ticks(top)
    assert ticks[0] == 0
    assert ticks[-1] >= top * (1 - 1e-6)
    assert 3 <= len(ticks) <= 6


def test_texts():
    """Numbers are written as people read them."""
    assert seconds_text(90) == "90.0 s"
    assert seconds_text(600) == "10.0 min"
    assert seconds_text(36_000) == "10.0 h"
    assert share_text({"hits": 1, "misses": 2, "refused": 1}) == "25 %"
    assert share_text({"hits": 0, "misses": 0, "refused": 0}) == "-"
