"""One interval, and the columns of those of one chromosome."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, SupportsIndex, overload

import numpy as np

from seamless_dask_cache.stores.interval_columns import Array, Columns, Packed


class Interval(NamedTuple):
    """A stretch of a chromosome; the fields are in the order of BED.

    Parameters
    ----------
    chrom : str
    start, end : int
        0-based; the base at `end` is the first that does not belong to it.
    name : str
        Empty for none.
    score : float
        NaN for none.
    strand : str
        "+", "-", or "." for none.

    Notes
    -----
    A track checks what it is given; an interval on its own may be anything.

    Examples
    --------
    >>> Interval("chr1", 100, 200, "exon")
    Interval(chrom='chr1', start=100, end=200, name='exon', score=nan, strand='.')
    """

    chrom: str
    start: int
    end: int
    name: str = ""
    score: float = math.nan
    strand: str = "."

    def __reduce__(self) -> tuple[Any, ...]:
        return _interval, tuple(self)


def _interval(chrom: str, start: int, end: int, name: str, score: float, strand: str) -> Interval:
    # Tuples are equal that hold the same NaN, not those that hold two.
    return Interval(chrom, start, end, name, math.nan if score != score else score, strand)


class Intervals:
    """Intervals of one chromosome, as columns, sorted by start and end.

    They come from a track, by ``track[chrom]`` or `track.query`. What a query found is kept as
    positions; a column is put together when it is asked for.

    Examples
    --------
    >>> from seamless_dask_cache.stores import IntervalTrack
    >>> track = IntervalTrack("genes", [("chr1", 5, 9, "b"), ("chr1", 0, 8, "a")])
    >>> found = track.query("chr1", 8)
    >>> len(found), found.starts, list(found.names)
    (1, array([5]), ['b'])
    """

    __slots__ = ("_before", "_chosen", "_chrom", "_columns", "_run")

    def __init__(
        self,
        chrom: str,
        columns: Columns,
        before: Array | None = None,
        run: slice | None = None,
    ):
        self._chrom = chrom
        self._columns = columns
        self._before = np.empty(0, np.int64) if before is None else before
        self._run = slice(0, len(columns)) if run is None else run
        self._chosen: Columns | None = None

    @property
    def chrom(self) -> str:
        """The chromosome of all of them."""
        return self._chrom

    @property
    def starts(self) -> Array:
        """int64, shape (n,)."""
        return self.columns.starts

    @property
    def ends(self) -> Array:
        """int64, shape (n,)."""
        return self.columns.ends

    @property
    def names(self) -> Array | None:
        """Objects of type str, shape (n,), empty where there is none; None if no interval of the
        track has a name."""
        return self.columns.names

    @property
    def scores(self) -> Array | None:
        """float64, shape (n,), NaN where there is none; None if no interval of the track has a
        score."""
        return self.columns.scores

    @property
    def strands(self) -> Array | None:
        """``<U1``, shape (n,): "+", "-" or "."; None if no interval of the track has a strand."""
        return self.columns.strands

    @property
    def extras(self) -> Mapping[str, Array]:
        """More columns of text, by name: such as ``blockSizes``, from BED files."""
        return MappingProxyType(dict(self.columns.extras))

    @property
    def columns(self) -> Columns:
        """All of the columns; put together once."""
        # Two threads may both do it: they get equal columns, and the later stay.
        if self._chosen is None:
            self._chosen = self._choose()
        return self._chosen

    def _choose(self) -> Columns:
        before, run = self._before, self._run
        if not before.size:
            return self._columns.select(run)
        return self._columns.map(lambda column: np.concatenate((column[before], column[run])))

    def __len__(self) -> int:
        return self._before.size + self._run.stop - self._run.start

    def __iter__(self) -> Iterator[Interval]:
        for row in self.columns.rows():
            yield Interval(self._chrom, *row)

    @overload
    def __getitem__(self, which: SupportsIndex) -> Interval: ...
    @overload
    def __getitem__(self, which: slice) -> Intervals: ...
    def __getitem__(self, which: SupportsIndex | slice) -> Interval | Intervals:
        if isinstance(which, slice):
            if which.step not in (None, 1):
                raise ValueError(f"intervals stay sorted: no step of {which.step!r:.80}")
            return Intervals(self._chrom, self.columns.select(which))
        at = range(len(self))[which]
        return next(iter(self[at : at + 1]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Intervals):
            return NotImplemented
        return self._chrom == other._chrom and self.columns.told().equal(other.columns.told())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} intervals of {self._chrom}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # Not the track behind them: a query's result is sent as what it is.
        return _rebuilt, self.__seamless_identity__()

    def __seamless_identity__(self) -> tuple[str, Packed]:
        return self._chrom, self.columns.told().packed()


def _rebuilt(chrom: str, packed: Packed) -> Intervals:
    return Intervals(chrom, Columns.unpacked(packed))
