"""A labelled value per base, or per bin of some bases, along chromosomes."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np

from seamless_dask_cache.stores.chromosomes import checked_chrom, chromosome
from seamless_dask_cache.stores.derived import own_state
from seamless_dask_cache.stores.interval_checks import check_unmasked
from seamless_dask_cache.stores.interval_columns import Array
from seamless_dask_cache.stores.labels import TrackLabel, checked_label
from seamless_dask_cache.stores.ranges import checked_range


class SignalTrack:
    """Numbers along chromosomes, under a label; it never changes.

    Parameters
    ----------
    label : TrackLabel or str
    values : mapping from str to sequence of numbers
        For each chromosome one value per `step` bases, from its first base on; floats, or integers.
        Their type is kept.
    step : int
        Bases per value, at least 1.

    Raises
    ------
    TypeError, ValueError
        For what is no mapping of columns of numbers, for integers too large for any type of them,
        for values that are masked, and for a step that is not positive.

    Notes
    -----
    Chromosomes stay in the order of `values`. Tracks are equal when label, step, order, types and
    values are; NaN equals NaN.

    Examples
    --------
    >>> track = SignalTrack("coverage", {"chr1": [0.5, 1.5, 2.5]}, step=10)
    >>> track.query("chr1", 5, 15)
    array([0.5, 1.5])
    """

    track_type = "signal"

    __slots__ = ("_label", "_step", "_values")

    def __init__(self, label: TrackLabel | str, values: Mapping[str, Any], step: SupportsIndex = 1):
        self._label = checked_label(label)
        self._step = _checked_step(step)
        if not isinstance(values, Mapping):
            raise TypeError(f"a signal is a mapping from chromosome to values, not {values!r:.80}")
        self._values = {checked_chrom(chrom): _numbers(chrom, values[chrom]) for chrom in values}

    @property
    def label(self) -> TrackLabel:
        """What it is called."""
        return self._label

    @property
    def step(self) -> int:
        """Bases per value."""
        return self._step

    @property
    def chroms(self) -> tuple[str, ...]:
        """The chromosomes, in their order."""
        return tuple(self._values)

    def query(
        self, chrom: str, start: SupportsIndex = 0, end: SupportsIndex | None = None
    ) -> Array:
        """Return the values of the bins that overlap a range.

        Parameters
        ----------
        chrom : str
        start, end : int
            0-based, half-open; to the last bin by default.

        Returns
        -------
        ndarray, shape (bins,)
            A view that cannot be written to. Empty for a range without length.

        Raises
        ------
        KeyError
            For an unknown chromosome.
        TypeError
            For a chromosome that is no str, and a position that is no integer.
        ValueError
            For a negative position, an end before the start, and a range that reaches beyond the
            last bin: what is there is not known to be 0.

        Examples
        --------
        >>> SignalTrack("s", {"chr1": [1, 2]}).query("chr1", 1, 3)
        Traceback (most recent call last):
            ...
        ValueError: the values of chr1 end at 2; the range is [1, 3)
        """
        values = self[chrom]
        covered = len(values) * self._step
        first, given = checked_range(start, end)
        last = covered if given is None else given
        if max(first, last) > covered:
            raise ValueError(
                f"the values of {chrom} end at {covered}; the range is [{first}, {last})"
            )
        stop = -(-last // self._step) if last > first else 0
        return values[first // self._step : stop]

    def __getitem__(self, chrom: str) -> Array:
        return self._values[chromosome(chrom, self._values)]

    def __contains__(self, chrom: object) -> bool:
        return isinstance(chrom, str) and chrom in self._values

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SignalTrack):
            return NotImplemented
        same = (self._label, self._step, self.chroms) == (other._label, other._step, other.chroms)
        return same and all(_equal(self[chrom], other[chrom]) for chrom in self._values)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<SignalTrack {self._label}: {len(self._values)} chroms, step {self._step}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self._label, self._values, self._step), own_state(self)

    def __seamless_identity__(self) -> tuple[str, tuple[tuple[str, Array], ...], int]:
        return self._label.name, tuple(self._values.items()), self._step


def _rebuilt(
    kind: type[SignalTrack], label: TrackLabel, values: Mapping[str, Array], step: int
) -> SignalTrack:
    track = kind.__new__(kind)
    SignalTrack.__init__(track, label, values, step)
    return track


def _checked_step(step: SupportsIndex) -> int:
    if isinstance(step, bool) or not hasattr(step, "__index__"):
        raise TypeError(f"step must be an int, not {step!r:.80}")
    if operator.index(step) < 1:
        raise ValueError(f"step must be at least 1, not {step!r:.80}")
    return operator.index(step)


def _numbers(chrom: str, values: Any) -> Array:
    check_unmasked(f"{chrom}: values", values)
    given = np.asarray(values)
    if given.ndim != 1:
        raise ValueError(f"{chrom}: expected one column of values, not shape {given.shape}")
    if given.dtype.kind not in "fiu":
        raise TypeError(f"{chrom}: values must be floats or integers, not {given.dtype}")
    if given.dtype.kind == "f" and not hasattr(values, "__array__"):
        _check_digits(chrom, values, given)
    # A copy, in native byte order, so that nobody else can write to it.
    numbers = given.astype(given.dtype.newbyteorder("="))
    numbers.flags.writeable = False
    return numbers


def _check_digits(chrom: str, values: Sequence[Any], numbers: Array) -> None:
    # Among floats, and where no type of integers holds all, numpy makes floats of integers.
    pairs = zip(values, numbers.tolist(), strict=True)
    integers = [(operator.index(one), number) for one, number in pairs if hasattr(one, "__index__")]
    all_of_them = len(integers) == len(numbers)
    lost = [integer for integer, number in integers if all_of_them or integer != number]
    if lost:
        worst = max(lost, key=abs)
        raise ValueError(f"{chrom}: {worst!r:.80} does not fit: give an array of one type")


def _equal(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and bool(
        np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    )
