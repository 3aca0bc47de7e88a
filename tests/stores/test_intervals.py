"""Tracks of intervals: what they take, what they find, and what identifies them."""

from __future__ import annotations

import copy
import math
import pickle
import re
import subprocess
import sys
import threading
import tracemalloc
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seamless_dask_cache import value_checksum
from seamless_dask_cache.stores import (
    Interval,
    Intervals,
    IntervalTrack,
    TrackLabel,
    interval_columns,
)

LAST = 2**63 - 1
ROWS = [
    Interval("chr2", 5, 9, "b", 2.0, "+"),
    Interval("chr1", 7, 8),
    Interval("chr1", 0, 100, "a", math.nan, "-"),
    Interval("chr1", 7, 7, "", 0.5),
]
SORTED = [ROWS[2], ROWS[3], ROWS[1], ROWS[0]]
TRACK = IntervalTrack("genes", ROWS)

positions = st.one_of(st.integers(0, 40), st.integers(0, 3000), st.integers(LAST - 40, LAST))
spans = st.tuples(positions, positions).map(sorted)


def overlaps(start, end, first, last):
    """The rule by which bedtools and bigBed find features."""
    shares_a_base = start < last and end > first
    without_length = start == end or first == last
    return shares_a_base or (without_length and start <= last and end >= first)


def as_pairs(found):
    return list(zip(found.starts.tolist(), found.ends.tolist(), strict=True))


# Queries ------------------------------------------------------------------------------------------


@given(st.lists(spans, max_size=120), spans)
@example([[0, 3000], *([i, i + 1] for i in range(300))], [250, 260])
@example([[i, 3000 - i] for i in range(600)], [1400, 1401])
@example([[0, 3], [3, 5]], [3, 3])
@example([[0, LAST], [3, 3], [3, 3], [3, 9]], [3, 3])
@settings(max_examples=300, deadline=None)
def test_a_query_gives_what_looking_at_every_interval_gives(intervals, span):
    """Nested, repeated, huge and empty intervals; any range; in the order of the track."""
    track = IntervalTrack("t", [("c", *pair) for pair in intervals])
    if not intervals:
        assert track.chroms == () and len(track) == 0
        return
    expected = [pair for pair in sorted(map(tuple, intervals)) if overlaps(*pair, span[0], span[1])]
    assert as_pairs(track.query("c", *span)) == expected
    assert track.count("c", *span) == len(expected)
    open_end = [pair for pair in sorted(map(tuple, intervals)) if pair[1] > span[0]]
    open_end += [(s, e) for s, e in map(tuple, intervals) if s == e == span[0]]
    assert as_pairs(track.query("c", span[0])) == sorted(open_end)


def test_a_query_of_many_random_intervals():
    """An index of several levels finds what looking at all 100,000 finds."""
    generator = np.random.default_rng(1)
    starts = generator.integers(0, 1_000_000, 100_000)
    lengths = generator.choice([0, 1, 50, 5_000, 900_000], 100_000, p=[0.1, 0.3, 0.4, 0.19, 0.01])
    track = IntervalTrack("t", {"c": (starts, starts + lengths)})
    every = track["c"]
    for first in generator.integers(0, 1_000_000, 60).tolist():
        last = first + int(generator.choice([1, 100, 50_000]))
        shared = (every.starts < last) & (every.ends > first)
        edge = (every.starts == every.ends) & (every.starts <= last) & (every.ends >= first)
        hits = np.flatnonzero(shared | edge)
        found = track.query("c", first, last)
        assert found.starts.tolist() == every.starts[hits].tolist()
        assert found.ends.tolist() == every.ends[hits].tolist()


@pytest.mark.parametrize("kind", ["giant", "nested"])
def test_a_query_opens_few_blocks(kind, monkeypatch):
    """A giant interval at the front, or deep nesting, does not make a query look at all others."""
    from seamless_dask_cache.stores import overlaps as index

    number = 200_000
    starts, ends = np.arange(number), np.arange(number) + 1
    if kind == "giant":
        ends[0] = 2 * number
    else:
        ends = 2 * number - starts
    track = IntervalTrack("t", {"c": (starts, ends)})
    seen, children = [], index._children
    monkeypatch.setattr(
        index, "_children", lambda *args: seen.append(children(*args).size) or children(*args)
    )
    where = number - 10 if kind == "giant" else 2 * number - 5
    assert track.count("c", where, where + 1) <= 5
    assert sum(seen) <= 5 * 2 * index.BLOCK * 6


@pytest.mark.parametrize(
    ("span", "found"),
    [((10, 20), True), ((0, 10), True), ((15, 20), False), ((10, 10), True), ((9, 10), True)],
)
def test_an_interval_of_no_length_touches_both_of_its_bases(span, found):
    """It is found by ranges that begin or end where it is, as with bedtools and bigBed."""
    track = IntervalTrack("insertions", [("c", 10, 10)])
    assert bool(track.count("c", *span)) is found
    assert not track.count("c", 0, 9) and not track.count("c", 11)


def test_what_a_query_gives_is_a_view_and_can_be_asked_everything():
    """Columns, items, slices, iteration; what is contiguous in the track is not copied."""
    found = TRACK.query("chr1", 7, 8)
    assert isinstance(found, Intervals) and len(found) == 3 and found.chrom == "chr1"
    assert list(found) == SORTED[:3] and found[0] == SORTED[0] and found[-1] == SORTED[2]
    assert list(found[1:]) == SORTED[1:3] and found[1:] == TRACK.query("chr1", 7, 8)[1:]
    assert found.names.tolist() == ["a", "", ""] and found.strands.tolist() == ["-", ".", "."]
    assert found.scores[1] == 0.5 and np.isnan(found.scores[0])
    contiguous = TRACK.query("chr2", 0)
    assert np.shares_memory(contiguous.starts, TRACK.columns.starts)
    with pytest.raises(IndexError):
        _ = found[3]
    with pytest.raises(ValueError, match="sorted"):
        _ = found[::-1]


def test_hits_before_and_within_the_range_keep_all_their_columns():
    """Every column of a hit belongs to it, on a chromosome that is not the first."""
    rows = [("a", 1, 2, "other", 9.0, "-")] + [
        ("b", start, end, f"{start}", float(start), "+")
        for start, end in [(0, 50), (1, 2), (3, 30), (10, 20), (12, 13)]
    ]
    found = IntervalTrack("t", rows).query("b", 10, 20)
    assert [(i.start, i.name, i.score) for i in found] == [
        (0, "0", 0.0),
        (3, "3", 3.0),
        (10, "10", 10.0),
        (12, "12", 12.0),
    ]


def test_an_unknown_chromosome_is_an_error_that_names_the_known_ones():
    """An empty answer for "1" in place of "chr1" would mislead."""
    for ask in (TRACK.query, TRACK.count, TRACK.__getitem__):
        with pytest.raises(KeyError, match=r"no chromosome '1'; there are chr1, chr2"):
            ask("1")
    assert "chr1" in TRACK and "1" not in TRACK and ["chr1"] not in TRACK


def test_a_chromosome_that_is_no_text_is_an_error_that_says_so():
    for ask in (TRACK.query, TRACK.count, TRACK.__getitem__):
        for name in (["chr1"], 1):
            with pytest.raises(TypeError, match=re.escape(f"chromosome is a str, not {name!r}")):
                ask(name)


def test_iterating_makes_objects_of_a_few_rows_at_a_time():
    """Whoever looks at the first interval of a million does not pay for all."""
    starts = np.arange(1_000_000)
    track = IntervalTrack("t", {"c": (starts, starts + 1)})
    tracemalloc.start()
    try:
        assert next(iter(track)) == Interval("c", 0, 1)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("at_once", [1, 2, 3, 4, 5])
def test_where_iteration_pauses_does_not_show(at_once, monkeypatch):
    """Every interval once, with all of its columns."""
    monkeypatch.setattr(interval_columns, "_ROWS_AT_ONCE", at_once)
    assert list(TRACK) == SORTED and list(TRACK.query("chr1", 7, 8)) == SORTED[:3]


@pytest.mark.parametrize(
    ("span", "error"),
    [((-1, 5), ValueError), ((5, 4), ValueError), ((1.0, 5), TypeError), (("1", 5), TypeError)],
)
def test_a_range_that_makes_no_sense_is_refused(span, error):
    with pytest.raises(error, match=r"-1|4|1.0|'1'"):
        TRACK.query("chr1", *span)


def test_a_range_may_reach_beyond_every_position():
    """What is too large for a column is no error, and finds what there is."""
    track = IntervalTrack("t", [("c", 5, 9), ("c", LAST, LAST)])
    assert track.count("c", 5, 2**70) == track.count("c") == 2
    assert track.count("c", 2**70) == track.count("c", 2**70, 2**71) == 0


def test_threads_may_make_the_index_together():
    """All get the same hits, and one index."""
    starts = np.arange(50_000)
    track = IntervalTrack("t", {"c": (starts, starts + 10)})
    barrier, found = threading.Barrier(8), []

    def ask():
        barrier.wait()
        found.append((track.count("c", 100, 200), id(track._index("c", slice(0, 50_000)))))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1 and found[0][0] == 109


# What tracks are made of --------------------------------------------------------------------------


def test_intervals_are_sorted_and_those_that_are_equal_keep_their_order():
    """By chromosome, start and end; stable."""
    assert list(TRACK) == SORTED and len(TRACK) == 4 and TRACK.chroms == ("chr1", "chr2")
    for last in (9, LAST):
        same = IntervalTrack("t", [("c", 5, last), *(("c", 1, 2, name) for name in "bac")])
        assert [interval.name for interval in same] == ["b", "a", "c", ""]
    assert str(TRACK.label) == "genes" and TRACK.track_type == "interval"


class Gene(NamedTuple):
    """The fields of an interval in another order."""

    name: str
    strand: str
    chrom: str
    start: int
    end: int
    score: float


def _table():
    names = ["chrom", "start", "end", "name", "score", "strand"]
    return pd.DataFrame([tuple(row) for row in ROWS], columns=names)


def _by_chromosome():
    return {
        "chr2": {"start": [5], "end": [9], "name": ["b"], "score": [2], "strand": ["+"]},
        "chr1": {
            "starts": np.array([7, 0, 7], np.uint8),
            "ends": [8, 100, 7],
            "names": ["", "a", "."],
            "scores": [None, math.nan, 0.5],
            "strands": [None, "-", ""],
        },
        "chr3": [],
    }


@pytest.mark.parametrize(
    "make",
    [
        lambda: iter(ROWS),
        lambda: [list(row) for row in ROWS],
        lambda: [SimpleNamespace(**row._asdict()) for row in ROWS],
        lambda: [Gene(row.name, row.strand, *row[:3], row.score) for row in ROWS],
        lambda: TRACK,
        lambda: {chrom: TRACK[chrom] for chrom in ("chr2", "chr1")},
        _by_chromosome,
        _table,
        lambda: _table().rename(columns={"chrom": "Chromosome", "start": "Start", "end": "End"}),
        lambda: _table().convert_dtypes(),
        lambda: pa.Table.from_pandas(_table()),
        lambda: pa.RecordBatch.from_pandas(_table()),
        lambda: pa.Table.from_pandas(_table().astype({"chrom": "category"})),
        lambda: dict(iter(_table().groupby("chrom"))),
        lambda: {
            chrom: pa.Table.from_pandas(rows, preserve_index=False)
            for chrom, rows in _table().groupby("chrom")
        },
        lambda: [(*row[:4], "." if math.isnan(row.score) else row.score, row[5]) for row in ROWS],
        lambda: _table().astype({"chrom": "category", "strand": "category"}),
    ],
)
def test_a_track_is_the_same_however_it_is_made(make):
    """Tuples, objects, tables, mappings: equal tracks, with one identity and one pickle."""
    made = IntervalTrack(TrackLabel("genes"), make())
    assert made == TRACK and list(made) == SORTED
    assert value_checksum(made) == value_checksum(TRACK)
    assert pickle.dumps(made) == pickle.dumps(TRACK)


@pytest.mark.parametrize(
    "given",
    [
        {"c": ([1, 3], [2, 4])},
        {"c": [(1, 2), (3, 4)]},
        {"c": np.array([[1, 2], [3, 4]], ">i4")},
        {"c": np.array([[3, 4], [1, 2]], np.uint64)},
        {"c": ([1, np.uint64(3)], [np.uint64(2), 4])},
        {"c": [(1, np.uint64(2)), (3, 4)]},
        {"c": np.ma.array([[1, 2], [3, 4]], mask=False)},
        {"c": pd.DataFrame({"end": [2, 4], "chromStart": [1, 3]})},
    ],
)
def test_pairs_and_columns_of_a_chromosome(given):
    """A tuple is a pair of columns; anything else is rows."""
    track = IntervalTrack("t", given)
    assert as_pairs(track["c"]) == [(1, 2), (3, 4)]
    assert track["c"].names is track["c"].scores is track["c"].strands is None


def test_further_columns_of_text_are_kept():
    """They follow the sorting, come with queries, and are part of the identity."""
    table = pd.DataFrame({"chr": ["c", "c"], "start": [5, 1], "end": [6, 2], "gene": ["x", "y"]})
    track = IntervalTrack("t", table)
    assert track.extras == ("gene",) and track["c"].extras["gene"].tolist() == ["y", "x"]
    assert track.query("c", 5).extras["gene"].tolist() == ["x"]
    assert pickle.loads(pickle.dumps(track)) == track
    for changed in (table.assign(gene=["x", "z"]), table.rename(columns={"gene": "exon"})):
        other = IntervalTrack("t", changed)
        assert track != other and value_checksum(track) != value_checksum(other)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([("c", 5, 4)], ValueError, "interval 0 ends at 4, before it starts at 5"),
        ([("c", 1, 2), ("c", -1, 4)], ValueError, "interval 1 starts at -1"),
        ([("c", 1.0, 4)], TypeError, "starts must be integers"),
        ([("c", "1", 4)], TypeError, "'?1'?"),
        ([("c", True, 4)], TypeError, "starts must be integers"),
        ([("c", None, 4)], TypeError, "not None"),
        ({"c": (np.array([True], object), [4])}, TypeError, "not True"),
        ([("c", 1, 2**63)], ValueError, "63 bits"),
        ([("c", 1)], ValueError, r"chrom, start, end.*\('c', 1\)"),
        ([("c", 1, 2, "n", 1.0, "+", "more")], ValueError, "more"),
        ([("", 1, 2)], ValueError, "empty"),
        ([(1, 1, 2)], TypeError, "not 1"),
        ([("c", 1, 2, 5)], TypeError, "name must be a str, not 5"),
        ([("c", 1, 2, "n", "5")], TypeError, "scores must be numbers, not '5'"),
        ([("c", 1, 2, "n", 5, "*")], ValueError, r"strand is .* not '\*'"),
        ([object()], TypeError, "is no interval"),
        ("chr1", TypeError, "not 'chr1'"),
        (5, TypeError, "not 5"),
        ({"c": ([1, 2], [3])}, ValueError, "c: columns differ in length: 2 starts beside 1"),
        ({"c": [1, 2, 3]}, ValueError, r"c: expected .*shape \(3,\)"),
        ({"c": {"start": [1]}}, ValueError, "c: no column 'ends'"),
        ({"c": ([1.5], [2])}, TypeError, "c: starts must be integers, not 1.5"),
        (
            {"c": (np.array([1.5]), [2])},
            TypeError,
            "c: starts must be integers, not float64: .*1.5",
        ),
        ({"c": {"start": [1], "end": [2], "gene": [3]}}, TypeError, "gene must be a str, not 3"),
        ({"c": {"start": [1], "starts": [1], "end": [2]}}, ValueError, "two columns for 'starts'"),
        (pd.DataFrame({"chrom": ["c"], "start": [1]}), ValueError, "needs 'end'"),
        ({"c": (np.array([2**63], np.uint64), [2])}, ValueError, "63 bits"),
        ({"c": ([1, 2**63], [2, 3])}, ValueError, "start 9223372036854775808 does not fit"),
        ({"c": [(1, 2), (3, 2**63)]}, ValueError, "end 9223372036854775808 does not fit"),
        ({"c": pd.DataFrame({"start": [5], "length": [10]})}, ValueError, "c: no column 'ends'"),
        ({"c": {"start": [5], "end": [6], "chr": ["d"]}}, ValueError, "interval of 'd' among"),
        ({"c": (pd.Series([1, None], dtype="Int64"), [2, 3])}, TypeError, "interval 1 is missing"),
        ({"c": ([1, math.nan], [2, 3])}, TypeError, "interval 1 is missing"),
        ({"c": ([1, pd.NA], [2, 3])}, TypeError, "not <NA>"),
        (pa.table({"chrom": ["c"], "start": [1]}), ValueError, "'end'; its columns are chrom, st"),
        (
            pa.table({"chrom": ["c"], "start": [1], "end": pa.nulls(1, pa.int64())}),
            TypeError,
            "mis",
        ),
        ({"c": (np.ma.array([1, 2], mask=[0, 1]), [3, 4])}, ValueError, "starts are masked at 1"),
        ({"c": np.ma.array([[1, 2], [3, 4]], mask=[[0, 0], [0, 1]])}, ValueError, "masked at 1"),
        (
            {"c": {"start": [1], "end": [2], "score": np.ma.array([1.0], mask=[1])}},
            ValueError,
            "scores are masked at 0",
        ),
        ({"c": 5}, TypeError, "c: expected an array .*, not 5"),
        ({"c": "ab"}, TypeError, "c: expected an array .*, not 'ab'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_value(given, error, message):
    with pytest.raises(error, match=message):
        IntervalTrack("t", given)


@pytest.mark.parametrize(("label", "error"), [("", ValueError), (None, TypeError), (5, TypeError)])
def test_a_label_is_a_text(label, error):
    """It has a name, and cannot be changed."""
    with pytest.raises(error):
        IntervalTrack(label, [])
    with pytest.raises(AttributeError):
        TrackLabel("t").name = "u"


# One thing, that never changes --------------------------------------------------------------------


def test_a_track_never_changes():
    """It shares nothing with what it was made of, and its arrays cannot be written to."""
    starts, ends = np.array([1, 5]), np.array([2, 6])
    track = IntervalTrack("t", {"c": {"start": starts, "end": ends, "score": np.ones(2)}})
    before = value_checksum(track)
    starts[0] = ends[0] = 2
    assert value_checksum(track) == before and track["c"].starts[0] == 1
    restored = pickle.loads(pickle.dumps(track))
    for one in (track, restored):
        for column in (one["c"].starts, one.query("c", 1).scores, one.columns.ends):
            with pytest.raises(ValueError, match="read-only"):
                column[0] = 0
    with pytest.raises(AttributeError):
        track.label = "u"
    with pytest.raises(TypeError, match="unhashable"):
        hash(track)


names = st.text(st.characters(codec="utf-8"), max_size=5)
rows = st.tuples(
    st.sampled_from(["chr1", "chr2", "é"]),
    spans,
    names,
    st.floats(),
    st.sampled_from("+-."),
).map(lambda row: (row[0], *row[1], *row[2:]))


@given(st.lists(rows, max_size=8))
@settings(deadline=None)
def test_pickles_give_back_equal_tracks(given):
    """Exactly, with or without an index, and queries too."""
    track = IntervalTrack("t", given)
    back = pickle.loads(pickle.dumps(track, 5))
    assert back == track and list(back) == list(track)
    assert pickle.dumps(back) == pickle.dumps(track)
    for chrom in track.chroms:
        found = track.query(chrom, 20)
        again = pickle.loads(pickle.dumps(found))
        assert again == found and list(again) == list(back.query(chrom, 20))


def test_a_track_of_a_result_does_not_keep_the_whole_track_in_memory():
    track = IntervalTrack("t", {"c": (np.arange(9), np.arange(9) + 1)})
    part = IntervalTrack("u", track.query("c", 5, 7))
    assert len(part) == 2 and not np.shares_memory(part["c"].starts, track["c"].starts)


def test_the_result_of_a_query_is_pickled_without_its_track():
    starts = np.arange(100_000)
    track = IntervalTrack("t", {"c": (starts, starts + 1)})
    assert len(pickle.dumps(track.query("c", 5, 10))) < 2_000


@given(st.lists(rows, max_size=6), spans)
@settings(deadline=None)
def test_what_queries_give_can_be_a_track_again(given, span):
    """Equal to that of the same intervals, though there the whole track has names and here none."""
    track = IntervalTrack("t", given)
    found = {chrom: track.query(chrom, *span) for chrom in track.chroms}
    again, one_by_one = (
        IntervalTrack("u", intervals)
        for intervals in (found, [one for hits in found.values() for one in hits])
    )
    assert again == one_by_one and value_checksum(again) == value_checksum(one_by_one)
    for chrom in again.chroms:
        assert found[chrom] == again[chrom] == IntervalTrack("v", found[chrom])[chrom]
        assert pickle.dumps(found[chrom]) == pickle.dumps(again[chrom])


class Exons(IntervalTrack):
    """A class of somebody else, with an attribute of its own."""

    depth = 0


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda track: pickle.loads(pickle.dumps(track))],
)
def test_copies_keep_the_class_and_what_it_added(again):
    exons = Exons("genes", ROWS)
    exons.depth = 30
    found = again(exons)
    assert type(found) is Exons and found == exons and found.depth == 30
    assert found.query("chr1", 7, 8) == exons.query("chr1", 7, 8)
    assert type(again(TRACK)) is IntervalTrack


def test_a_huge_value_is_not_shown_whole():
    for huge in ("x" * 10_000, {"c": [("y" * 10_000, 1)]}, [("c",) * 10_000]):
        with pytest.raises((TypeError, ValueError)) as error:
            IntervalTrack("t", huge)
        assert len(str(error.value)) < 300


def test_whether_there_is_an_index_is_not_seen():
    """Neither in the identity nor in the pickle."""
    track = IntervalTrack("genes", ROWS)
    identity, pickled = value_checksum(track), pickle.dumps(track)
    track.query("chr1", 5)
    assert value_checksum(track) == identity and pickle.dumps(track) == pickled


@pytest.mark.parametrize(
    "other",
    [
        IntervalTrack("other", ROWS),
        IntervalTrack("genes", ROWS[:3]),
        IntervalTrack("genes", [ROWS[0]._replace(start=4), *ROWS[1:]]),
        IntervalTrack("genes", [ROWS[0]._replace(end=10), *ROWS[1:]]),
        IntervalTrack("genes", [ROWS[0]._replace(chrom="chr3"), *ROWS[1:]]),
        IntervalTrack("genes", [ROWS[0]._replace(name="c"), *ROWS[1:]]),
        IntervalTrack("genes", [ROWS[0]._replace(score=2.5), *ROWS[1:]]),
        IntervalTrack("genes", [ROWS[0]._replace(strand="-"), *ROWS[1:]]),
        IntervalTrack("genes", [row._replace(strand=".") for row in ROWS]),
        IntervalTrack("genes"),
    ],
)
def test_any_difference_makes_tracks_and_identities_differ(other):
    assert other != TRACK and value_checksum(other) != value_checksum(TRACK)


def test_scores_that_are_equal_have_one_identity():
    """Zero has no sign, and a missing score is one however it was computed."""
    odd = np.array([0xFFF8000000000001, 0x8000000000000000, 0x3FF0000000000000], np.uint64)
    one, other = (
        IntervalTrack("t", {"c": {"start": [1, 2, 3], "end": [4, 5, 6], "score": scores}})
        for scores in (odd.view(np.float64), [math.nan, 0.0, 1.0])
    )
    assert one == other and value_checksum(one) == value_checksum(other)
    assert pickle.dumps(one) == pickle.dumps(other)


def test_names_are_not_run_together():
    """Neither equality nor identity nor pickles take "ab", "" for "a", "b"."""
    one, other = (
        IntervalTrack("t", [("c", 1, 2, first), ("c", 1, 2, second)])
        for first, second in (("ab", ""), ("a", "b"))
    )
    assert one != other and value_checksum(one) != value_checksum(other)


def test_identities_are_equal_in_every_process():
    code = (
        "from seamless_dask_cache.stores import Interval, IntervalTrack\n"
        "from seamless_dask_cache import value_checksum\n"
        "from math import nan\n"
        f"print(value_checksum(IntervalTrack('genes', {ROWS!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == value_checksum(TRACK)


@pytest.mark.parametrize(
    "pairs",
    [
        ((0, 10), (5, 20)),
        [[0, 10], [5, 20]],
        [(0, 10), [5, 20]],
        [np.array([0, 10]), np.array([5, 20])],
    ],
)
def test_two_pairs_are_not_guessed(pairs):
    """They could be two intervals, or two starts and two ends; tuples in a list say which."""
    with pytest.raises(ValueError, match=r"chr1: .* may be two intervals"):
        IntervalTrack("t", {"chr1": pairs})


@pytest.mark.parametrize(
    ("pairs", "ends"),
    [
        ([(0, 10), (5, 20)], [10, 20]),
        (np.array([[0, 10], [5, 20]]), [10, 20]),
        ([[0, 10], [5, 20], [6, 7]], [10, 20, 7]),
        (([0, 10], [5, 20]), [5, 20]),
        ([[0, 10]], [10]),
    ],
)
def test_pairs_that_mean_one_thing_are_taken(pairs, ends):
    """Rows of an array, tuples in a list, three and more lists, lists in a tuple."""
    assert IntervalTrack("t", {"chr1": pairs})["chr1"].ends.tolist() == ends
