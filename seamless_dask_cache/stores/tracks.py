"""A labelled set of intervals on chromosomes, with fast queries by range."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, SupportsIndex

import numpy as np

from seamless_dask_cache.stores.chromosomes import chromosome
from seamless_dask_cache.stores.derived import own_state
from seamless_dask_cache.stores.interval_columns import Columns, Packed, sort_order
from seamless_dask_cache.stores.interval_sources import Rows, rows_of
from seamless_dask_cache.stores.intervals import Interval, Intervals
from seamless_dask_cache.stores.labels import TrackLabel, checked_label
from seamless_dask_cache.stores.overlaps import Overlaps
from seamless_dask_cache.stores.ranges import checked_range


class IntervalTrack:
    """Intervals under a label; it never changes.

    Parameters
    ----------
    label : TrackLabel or str
    intervals : iterable, mapping or table
        One of

        - an iterable of :class:`Interval`, of tuples in that order, or of any objects with the
          attributes `chrom`, `start`, `end` and, if they like, `name`, `score` and `strand`;
        - a mapping from chromosome to an array of shape (n, 2), to a list of tuples (start, end),
          to a tuple (starts, ends), or to a table or mapping of columns (`starts`, `ends`, `names`,
          `scores`, `strands`, and any other text);
        - a pandas DataFrame, an Arrow table, or another one with the names of its columns in
          `column_names` or `columns`: `chrom`, `start`, `end`, optionally `name`, `score`,
          `strand`, under these or other usual names; other columns of text are kept as `extras`;
        - another track, or what a query of one gave.

        All but the first take seconds for 10,000,000 intervals.

    Raises
    ------
    TypeError, ValueError
        For what is none of these, and for two lists of two, which may be two intervals or starts
        and ends; for a position that is negative, missing or masked and an end before its start.
        The message names the interval, counted from 0.

    Notes
    -----
    Positions are 0-based and half-open, as in BED. Chromosomes are sorted by name, the intervals of
    each by start and end; those that are equal in both stay in the order in which they were given.
    A chromosome without intervals is not there. Any number of threads may use one track.

    Tracks are equal when label and intervals are, and so are their identities and their pickles:
    these do not depend on how a track was put together.

    Examples
    --------
    >>> track = IntervalTrack("exons", [("chr1", 30, 40, "b"), ("chr1", 5, 10, "a")])
    >>> [interval.name for interval in track]
    ['a', 'b']
    >>> track["chr1"].starts
    array([ 5, 30])
    >>> track.count("chr1", 9, 30)
    1
    """

    track_type = "interval"

    __slots__ = ("_columns", "_label", "_lock", "_overlaps", "_slices")

    def __init__(self, label: TrackLabel | str, intervals: Any = ()):
        own = isinstance(intervals, IntervalTrack)
        rows = intervals._rows() if own else _sorted_rows(rows_of(intervals))
        self._take(checked_label(label), rows)

    def _take(self, label: TrackLabel, rows: Rows) -> None:
        """Become the track of sorted rows."""
        chroms, bounds = rows.chroms, np.searchsorted(rows.codes, np.arange(len(rows.chroms) + 1))
        self._label = label
        self._columns = rows.columns
        self._slices = {
            chrom: slice(int(start), int(end))
            for chrom, start, end in zip(chroms, bounds[:-1], bounds[1:], strict=True)
        }
        self._overlaps: dict[str, Overlaps] = {}
        self._lock = threading.Lock()

    @property
    def label(self) -> TrackLabel:
        """What it is called."""
        return self._label

    @property
    def chroms(self) -> tuple[str, ...]:
        """The chromosomes that have intervals, sorted by name."""
        return tuple(self._slices)

    @property
    def extras(self) -> tuple[str, ...]:
        """The names of further columns."""
        return tuple(self._columns.extras)

    @property
    def columns(self) -> Columns:
        """The columns of all chromosomes, one after the other."""
        return self._columns

    def query(
        self, chrom: str, start: SupportsIndex = 0, end: SupportsIndex | None = None
    ) -> Intervals:
        """Return the intervals that overlap a range, in their order.

        Parameters
        ----------
        chrom : str
        start, end : int
            0-based, half-open; to the end of the chromosome by default.

        Returns
        -------
        Intervals
            Those that share a base with the range. What has no length, interval or range, lies
            between two bases and overlaps what it touches or lies in, as for bedtools and bigBed:
            an interval [p, p) is found for start <= p <= end.

        Raises
        ------
        KeyError
            For an unknown chromosome; the message names the known ones.
        TypeError, ValueError
            For a chromosome that is no str, a position that is no integer, a negative one, an end
            before the start.

        Notes
        -----
        An index is made at the first query of a chromosome. The time of a query is bounded by the
        number of hits that start before the range, and by the logarithm of the rest.

        Examples
        --------
        >>> track = IntervalTrack("t", [("chr1", 0, 10), ("chr1", 10, 20), ("chr1", 20, 20)])
        >>> track.query("chr1", 10, 20).starts
        array([10, 20])
        """
        first, last = checked_range(start, end)
        where = self._where(chrom)
        before, run = self._index(chrom, where).find(first, last)
        run = slice(run.start + where.start, run.stop + where.start)
        return Intervals(chrom, self._columns, before + where.start, run)

    def count(self, chrom: str, start: SupportsIndex = 0, end: SupportsIndex | None = None) -> int:
        """Return how many intervals `query` gives.

        Parameters
        ----------
        chrom : str
        start, end : int
            As for `query`.

        Returns
        -------
        int

        Raises
        ------
        KeyError, TypeError, ValueError
            As `query` does.

        Examples
        --------
        >>> IntervalTrack("t", {"chr1": [(0, 10), (5, 20)]}).count("chr1", 10)
        1
        """
        return len(self.query(chrom, start, end))

    def __getitem__(self, chrom: str) -> Intervals:
        return Intervals(chrom, self._columns, None, self._where(chrom))

    def __contains__(self, chrom: object) -> bool:
        return isinstance(chrom, str) and chrom in self._slices

    def __len__(self) -> int:
        return len(self._columns)

    def __iter__(self) -> Iterator[Interval]:
        for chrom in self._slices:
            yield from self[chrom]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IntervalTrack):
            return NotImplemented
        same = self._label == other._label and self._slices == other._slices
        return same and self._columns.equal(other._columns)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<IntervalTrack {self._label}: {len(self)} intervals, {len(self.chroms)} chroms>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), *self.__seamless_identity__()), own_state(self)

    def __seamless_identity__(self) -> tuple[str, tuple[tuple[str, int], ...], Packed]:
        ends = tuple((chrom, where.stop) for chrom, where in self._slices.items())
        return self._label.name, ends, self._columns.packed()

    def _where(self, chrom: str) -> slice:
        found = self._slices.get(chrom) if isinstance(chrom, str) else None
        return self._slices[chromosome(chrom, self._slices)] if found is None else found

    def _index(self, chrom: str, where: slice) -> Overlaps:
        found = self._overlaps.get(chrom)
        if found is not None:
            return found
        with self._lock:
            if chrom not in self._overlaps:
                columns = self._columns
                self._overlaps[chrom] = Overlaps(columns.starts[where], columns.ends[where])
            return self._overlaps[chrom]

    def _rows(self) -> Rows:
        lengths = [where.stop - where.start for where in self._slices.values()]
        codes = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        return Rows(self.chroms, codes, self._columns)


def _sorted_rows(rows: Rows) -> Rows:
    """Sort rows by chromosome, start and end, and forget chromosomes that have none."""
    present = np.bincount(rows.codes, minlength=len(rows.chroms))
    chroms = sorted(chrom for chrom, number in zip(rows.chroms, present, strict=True) if number)
    rank = {chrom: number for number, chrom in enumerate(chroms)}
    ranks = np.array([rank.get(chrom, 0) for chrom in rows.chroms], np.int32)
    codes = ranks[rows.codes] if len(rows.codes) else rows.codes
    # Lengths sort as ends do among equal starts, and have fewer bits.
    lengths = rows.columns.ends - rows.columns.starts
    order = sort_order((codes, rows.columns.starts, lengths))
    if order is None:
        return Rows(tuple(chroms), codes, rows.columns)
    return Rows(tuple(chroms), codes[order], rows.columns.select(order))


def _rebuilt(
    kind: type[IntervalTrack], label: str, ends: tuple[tuple[str, int], ...], packed: Packed
) -> IntervalTrack:
    track = kind.__new__(kind)
    lengths = np.diff([0, *(end for _, end in ends)])
    codes = np.repeat(np.arange(len(ends), dtype=np.int32), lengths)
    chroms = tuple(chrom for chrom, _ in ends)
    track._take(TrackLabel(label), Rows(chroms, codes, Columns.unpacked(packed)))
    return track
