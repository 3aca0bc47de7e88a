"""Tracks of signals: a value per bin along chromosomes."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamless_dask_cache import value_checksum
from seamless_dask_cache.stores import SignalTrack, TrackLabel

TRACK = SignalTrack("s", {"chr2": np.arange(5.0), "chr1": [1, 2]}, 10)


@given(st.integers(1, 7), st.integers(0, 12), st.data())
@settings(deadline=None)
def test_a_query_gives_the_bins_that_overlap(step, number, data):
    """Those that share a base with the range, and no other."""
    track = SignalTrack("s", {"c": np.arange(number)}, step)
    start = data.draw(st.integers(0, number * step))
    end = data.draw(st.integers(start, number * step))
    bins = [i for i in range(number) if start < (i + 1) * step and i * step < end and start < end]
    assert track.query("c", start, end).tolist() == bins
    assert track.query("c", start).tolist() == track.query("c", start, number * step).tolist()


def test_what_a_query_gives_is_a_view_that_cannot_be_written_to():
    found = TRACK.query("chr2", 10, 30)
    assert np.shares_memory(found, TRACK["chr2"]) and found.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 5
    with pytest.raises(ValueError, match="read-only"):
        pickle.loads(pickle.dumps(TRACK))["chr2"][0] = 5


def test_what_a_track_tells_of_itself():
    assert TRACK.label == TrackLabel("s") and TRACK.step == 10 and TRACK.track_type == "signal"
    assert TRACK.chroms == ("chr2", "chr1") and "chr1" in TRACK and "1" not in TRACK
    assert TRACK["chr1"].dtype == np.int64


def test_a_track_shares_nothing_with_what_it_was_made_of():
    values = np.zeros(3)
    track = SignalTrack("s", {"c": values})
    values[0] = 1
    assert track["c"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("span", "message"),
    [((0, 51), "end at 50"), ((60,), "end at 50"), ((-1, 5), "-1"), ((5, 4), "4")],
)
def test_a_range_beyond_what_is_known_is_an_error(span, message):
    with pytest.raises(ValueError, match=message):
        TRACK.query("chr2", *span)


def test_an_unknown_chromosome_is_an_error_that_names_the_known_ones():
    with pytest.raises(KeyError, match="'2'; there are chr2, chr1"):
        TRACK.query("2")


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        (("", {}), ValueError, "label"),
        (("s", [1, 2]), TypeError, "mapping"),
        (("s", {"c": [[1]]}), ValueError, r"c: .*shape \(1, 1\)"),
        (("s", {"c": ["1"]}), TypeError, "c: values"),
        (("s", {"c": [True]}), TypeError, "bool"),
        (("s", {1: [1]}), TypeError, "not 1"),
        (("s", {}, 0), ValueError, "not 0"),
        (("s", {}, 1.5), TypeError, "not 1.5"),
        (("s", {"c": [np.uint64(3), -1]}), ValueError, "c: 3 does not fit"),
        (("s", {"c": [1, 2**63]}), ValueError, "c: 9223372036854775808 does not fit"),
        (("s", {"c": [0.5, 2**53 + 1]}), ValueError, "c: 9007199254740993 does not fit"),
        (
            ("s", {"c": np.ma.array([1.0, 2.0], mask=[0, 1])}),
            ValueError,
            "values are masked at 1",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_value(args, error, message):
    with pytest.raises(error, match=message):
        SignalTrack(*args)


@pytest.mark.parametrize(
    "other",
    [
        SignalTrack("t", {"c": [1.0, np.nan]}),
        SignalTrack("s", {"c": [1.0, np.nan]}, 2),
        SignalTrack("s", {"d": [1.0, np.nan]}),
        SignalTrack("s", {"c": [1.0, 2.0]}),
        SignalTrack("s", {"c": np.array([1.0, np.nan], np.float32)}),
        SignalTrack("s", {"c": [1.0, np.nan], "d": []}),
    ],
)
def test_tracks_are_equal_by_content_and_so_are_their_identities(other):
    """Label, step, chromosomes, types and values; byte order is none of it."""
    track = SignalTrack("s", {"c": [1.0, np.nan]})
    same = SignalTrack("s", {"c": np.array([1.0, np.nan], ">f8")})
    assert track == same == pickle.loads(pickle.dumps(track)) != other
    assert value_checksum(track) == value_checksum(same) != value_checksum(other)
    with pytest.raises(TypeError, match="unhashable"):
        hash(track)


class Coverage(SignalTrack):
    """A class of somebody else, with an attribute of its own."""

    depth = 0


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda track: pickle.loads(pickle.dumps(track))],
)
def test_copies_keep_the_class_and_what_it_added(again):
    coverage = Coverage("c", {"a": [1, 2]}, 5)
    coverage.depth = 30
    found = again(coverage)
    assert type(found) is Coverage and found == coverage and found.depth == 30


def test_integers_among_floats_and_large_integers_are_kept_where_there_is_room():
    """Exactly: what does not fit is refused."""
    track = SignalTrack("s", {"a": [0.5, 2**53], "b": [2**63, 2**64 - 1], "c": []})
    assert track["a"].tolist() == [0.5, 2**53] and track["b"].tolist() == [2**63, 2**64 - 1]
    assert track["b"].dtype == np.uint64 and len(track["c"]) == 0
