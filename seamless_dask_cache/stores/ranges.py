"""Ranges of positions: 0-based, half-open, as in BED."""

from __future__ import annotations

import operator
from typing import SupportsIndex

LAST = 2**63 - 1
"""The largest position that a column of int64 holds."""


def checked_range(start: SupportsIndex, end: SupportsIndex | None) -> tuple[int, int | None]:
    """Return start and end of a range as ints.

    Parameters
    ----------
    start, end : int
        Any kind of integer, numpy's too. An `end` of None is left open.

    Returns
    -------
    start : int
    end : int or None

    Raises
    ------
    TypeError
        For what is no integer.
    ValueError
        For a negative position, and for an end before the start.

    Examples
    --------
    >>> checked_range(5, None)
    (5, None)
    >>> checked_range(5, 4)
    Traceback (most recent call last):
        ...
    ValueError: the range ends at 4, before it starts at 5
    """
    first = _position("start", start)
    if end is None:
        return first, None
    last = _position("end", end)
    if last < first:
        raise ValueError(f"the range ends at {last}, before it starts at {first}")
    return first, last


def _position(name: str, value: SupportsIndex) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, not {value!r:.80}") from None
    if number < 0:
        raise ValueError(f"{name} must not be negative, as {number} is")
    return number
