"""Which intervals overlap a range: an index over two sorted columns.

Intervals are sorted by start, then by end. For a range [a, b), two binary searches give the run of
those that start within it: all of these are hits. The others are intervals that start before `a`
and end after it. They are found by a tree of block maxima of the ends: the greatest end of every 16
intervals, of every 16 such blocks, and so on. From the top down, only blocks are opened that hold a
hit, so that the time is bounded by the hits times a block, however intervals are nested. A running
maximum would be of no use behind a single interval that spans all others.

What has no length lies between two bases and touches both. The rule is that of bedtools (which
widens it by a base on either side) and of UCSC's bigBed for features: an interval of no length at p
overlaps [a, b) when a <= p <= b. The same holds the other way round for a range of no length.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seamless_dask_cache.stores.ranges import LAST

Array = np.ndarray[Any, Any]

BLOCK = 16
"""Intervals, or blocks, of which one maximum is kept."""


class Overlaps:
    """Finds intervals of one chromosome that overlap a range.

    Parameters
    ----------
    starts, ends : ndarray of int64, shape (n,)
        Sorted by (start, end). They are neither copied nor changed.

    Notes
    -----
    Nothing changes after the construction: any number of threads may ask at once.

    Examples
    --------
    >>> overlaps = Overlaps(np.array([0, 5, 20]), np.array([100, 6, 30]))
    >>> before, run = overlaps.find(10, 25)
    >>> before, run
    (array([0]), slice(2, 3, None))
    """

    def __init__(self, starts: Array, ends: Array):
        self._starts = starts
        self._ends = ends
        self._levels = _levels(ends)

    def find(self, start: int, end: int | None) -> tuple[Array, slice]:
        """Return where the hits are.

        Parameters
        ----------
        start, end : int
            Not negative; `end` is not before `start`, or None for no bound.

        Returns
        -------
        before : ndarray of int64, shape (k,)
            Positions of the hits that start before `start`, ascending.
        run : slice
            The hits that start within the range; they come after those in `before`.

        Examples
        --------
        >>> Overlaps(np.array([0, 5, 20]), np.array([100, 6, 30])).find(5, None)
        (array([0]), slice(1, 3, None))
        """
        if start > LAST:
            return np.empty(0, np.int64), slice(0, 0)
        first = self._first(start)
        stop = len(self._starts) if end is None else self._stop(start, min(end, LAST))
        # In a range without length, what ends where it starts is touched.
        threshold = start - 1 if end == start else start
        return self._spanning(threshold, first), slice(first, stop)

    def _first(self, start: int) -> int:
        return int(np.searchsorted(self._starts, np.int64(start)))

    def _stop(self, start: int, end: int) -> int:
        left = self._first(end)
        right = int(np.searchsorted(self._starts, np.int64(end), "right"))
        if start == end:
            return right
        # Of those that start at the end, intervals without length are the first.
        return left + int(np.searchsorted(self._ends[left:right], np.int64(end), "right"))

    def _spanning(self, threshold: int, stop: int) -> Array:
        """Give positions before `stop` of intervals that end after a threshold."""
        found = np.zeros(1 if stop else 0, np.int64)
        for depth in range(len(self._levels) - 1, -1, -1):
            maxima = self._levels[depth]
            # The last block may begin before `stop` and end after it.
            bound = -(-stop // BLOCK**depth)
            found = _children(found, bound) if maxima.size > 1 else found
            found = found[maxima[found] > threshold]
        return found


def _levels(ends: Array) -> list[Array]:
    """Give the ends, the maxima of blocks of them, of blocks of blocks, up to a single one."""
    levels = [ends]
    while levels[-1].size > 1:
        below = levels[-1]
        levels.append(np.maximum.reduceat(below, np.arange(0, below.size, BLOCK)))
    return levels


def _children(blocks: Array, bound: int) -> Array:
    """Give the positions below a bound that belong to some blocks, ascending."""
    positions = (blocks[:, None] * BLOCK + np.arange(BLOCK)).reshape(-1)
    # Only the last block can reach beyond the bound.
    return positions[: np.searchsorted(positions, bound)]
