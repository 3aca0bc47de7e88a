"""The columns of intervals: in one form, as arrays that nobody can write to."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

Array = np.ndarray[Any, Any]
Packed: TypeAlias = tuple[Any, ...]

_ROWS_AT_ONCE = 1 << 16
"""Whoever looks at a few rows does not wait for objects of all."""

NO_EXTRAS: Mapping[str, Array] = MappingProxyType({})


@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
    """Intervals as columns of equal length n.

    Parameters
    ----------
    starts, ends : ndarray of int64, shape (n,)
    names : ndarray of str objects, shape (n,), optional
        Empty where there is no name.
    scores : ndarray of float64, shape (n,), optional
        NaN where there is no score.
    strands : ndarray of ``<U1``, shape (n,), optional
        "+", "-", or "." for none.
    extras : mapping from str to ndarray of str objects, shape (n,)
        More columns of text.

    Notes
    -----
    In a track, a column that says nothing is None, so that equal tracks have equal columns.

    Examples
    --------
    >>> columns = Columns(np.array([1, 5]), np.array([3, 9]), np.array(["a", ""], object))
    >>> list(columns.rows())
    [(1, 3, 'a', nan, '.'), (5, 9, '', nan, '.')]
    """

    starts: Array
    ends: Array
    names: Array | None = None
    scores: Array | None = None
    strands: Array | None = None
    extras: Mapping[str, Array] = dataclasses.field(default_factory=lambda: NO_EXTRAS)

    def __len__(self) -> int:
        return len(self.starts)

    def select(self, which: slice | Array) -> Columns:
        """Return some of the rows; those of a slice are views.

        Parameters
        ----------
        which : slice or ndarray of integers or bools

        Returns
        -------
        Columns

        Examples
        --------
        >>> Columns(np.array([1, 5]), np.array([3, 9])).select(slice(1, None)).ends
        array([9])
        """
        return self.map(lambda column: column[which])

    def map(self, change: Any) -> Columns:
        """Return what a function makes of each column that is there.

        Parameters
        ----------
        change : callable
            From a column to another, which nobody can write to from then on.

        Returns
        -------
        Columns

        Examples
        --------
        >>> Columns(np.array([1, 5]), np.array([3, 9])).map(np.copy).ends
        array([3, 9])
        """

        def changed(column: Array | None) -> Array | None:
            return None if column is None else _frozen(change(column))

        extras = {name: _frozen(change(column)) for name, column in self.extras.items()}
        return Columns(
            _frozen(change(self.starts)),
            _frozen(change(self.ends)),
            changed(self.names),
            changed(self.scores),
            changed(self.strands),
            MappingProxyType(extras),
        )

    def told(self) -> Columns:
        """Return the same without columns that say nothing, so that equal intervals are equal.

        Examples
        --------
        >>> Columns(np.array([1]), np.array([3]), scores=np.array([np.nan])).told().scores is None
        True
        """
        names = None if self.names is None else none_if(self.names, "")
        silent = self.scores is None or bool(np.isnan(self.scores).all())
        strands = None if self.strands is None else none_if(self.strands, ".")
        scores = None if silent else self.scores
        return dataclasses.replace(self, names=names, scores=scores, strands=strands)

    def packed(self) -> Packed:
        """Return plain values that are equal if and only if the columns are.

        Texts are packed into one: neither the identity of str objects nor how many there are shows
        in a pickle, and packing takes a fraction of the time that pickling them does.

        Examples
        --------
        >>> Columns(np.array([1]), np.array([3]), np.array(["a"], object)).packed()[2]
        (b'a', array([1]))
        """
        names = None if self.names is None else _pack(self.names)
        extras = tuple((name, *_pack(column)) for name, column in self.extras.items())
        strands = None if self.strands is None else self.strands.astype("S1").tobytes()
        return self.starts, self.ends, names, self.scores, strands, extras

    @classmethod
    def unpacked(cls, packed: Packed) -> Columns:
        """Return the columns that `packed` gave.

        Examples
        --------
        >>> columns = Columns(np.array([1]), np.array([3]), np.array(["a"], object))
        >>> Columns.unpacked(columns.packed()).equal(columns)
        True
        """
        starts, ends, names, scores, strands, extras = packed
        # What pickle restores has a type object of its own, which shows in the next pickle.
        columns = cls(
            starts.view(np.int64),
            ends.view(np.int64),
            None if names is None else _unpack(*names),
            None if scores is None else scores.view(np.float64),
            None if strands is None else np.frombuffer(strands, "S1").astype("U1"),
            {name: _unpack(*texts) for name, *texts in extras},
        )
        return columns.map(lambda column: column)

    def listed(self) -> list[Array | None]:
        """Return all columns in their order, None for one that is not there.

        Examples
        --------
        >>> Columns(np.array([1]), np.array([3])).listed()
        [array([1]), array([3]), None, None, None]
        """
        optional = [self.names, self.scores, self.strands]
        return [self.starts, self.ends, *optional, *self.extras.values()]

    def equal(self, other: Columns) -> bool:
        """Tell whether all columns are equal; a missing score equals a missing score.

        Examples
        --------
        >>> one = Columns(np.array([1]), np.array([3]), scores=np.array([np.nan]))
        >>> one.equal(one.map(np.copy)), one.equal(one.told())
        (True, False)
        """
        ours, theirs = self.listed(), other.listed()
        return list(self.extras) == list(other.extras) and all(
            _equal(one, another) for one, another in zip(ours, theirs, strict=True)
        )

    def rows(self) -> Iterator[tuple[int, int, str, float, str]]:
        """Yield start, end, name, score and strand of each.

        Examples
        --------
        >>> list(Columns(np.array([1, 5]), np.array([3, 9])).rows())
        [(1, 3, '', nan, '.'), (5, 9, '', nan, '.')]
        """
        for start in range(0, len(self), _ROWS_AT_ONCE):
            yield from self.select(slice(start, start + _ROWS_AT_ONCE))._rows_at_once()

    def _rows_at_once(self) -> Iterator[tuple[int, int, str, float, str]]:
        absent: list[Any] = ["", math.nan, "."]
        optional = [
            itertools.repeat(missing) if column is None else column.tolist()
            for missing, column in zip(absent, (self.names, self.scores, self.strands), strict=True)
        ]
        for start, end, name, score, strand in zip(
            self.starts.tolist(), self.ends.tolist(), *optional, strict=False
        ):
            # Tuples are equal that hold the same NaN, not those that hold two.
            yield start, end, name, math.nan if score != score else score, strand


def none_if(column: Array, nothing: str) -> Array | None:
    """Return a column, or None if it says nothing anywhere.

    Parameters
    ----------
    column : ndarray, shape (n,)
    nothing : str
        The value that says nothing.

    Returns
    -------
    ndarray or None

    Examples
    --------
    >>> none_if(np.array([".", "."]), ".") is None
    True
    """
    return None if bool(np.all(column == nothing)) else column


def concatenated(parts: Sequence[Columns]) -> Columns:
    """Return the rows of several parts, one after the other.

    Parameters
    ----------
    parts : sequence of Columns

    Returns
    -------
    Columns
        A single part is given back as it is.

    Raises
    ------
    ValueError
        When parts have different extra columns.

    Examples
    --------
    >>> one = Columns(np.array([1]), np.array([2]))
    >>> concatenated([one, one]).starts
    array([1, 1])
    """
    if len(parts) == 1:
        return parts[0]
    names = list(parts[0].extras) if parts else []
    for part in parts:
        if list(part.extras) != names:
            raise ValueError(f"extra columns differ: {names} and {list(part.extras)}")
    extras = {name: np.concatenate([part.extras[name] for part in parts]) for name in names}
    columns = Columns(
        np.concatenate([np.empty(0, np.int64), *(part.starts for part in parts)]),
        np.concatenate([np.empty(0, np.int64), *(part.ends for part in parts)]),
        _joined([part.names for part in parts], parts, ""),
        _joined([part.scores for part in parts], parts, math.nan),
        _joined([part.strands for part in parts], parts, "."),
        extras,
    )
    return columns.map(lambda column: column)


def _joined(columns: list[Array | None], parts: Sequence[Columns], missing: Any) -> Array | None:
    there = next((column for column in columns if column is not None), None)
    if there is None:
        return None
    kind = there.dtype
    filled = [
        np.full(len(part), missing, kind) if column is None else column
        for column, part in zip(columns, parts, strict=True)
    ]
    return np.concatenate(filled)


def _frozen(column: Array) -> Array:
    column.flags.writeable = False
    return column


def _equal(one: Array | None, other: Array | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


def _pack(texts: Array) -> tuple[bytes, Array]:
    items = texts.tolist()
    lengths = np.fromiter(map(len, items), np.int64, len(items))
    return "".join(items).encode("utf-8", "surrogatepass"), lengths


def _unpack(packed: bytes, lengths: Array) -> Array:
    text = packed.decode("utf-8", "surrogatepass")
    ends = np.cumsum(lengths).tolist()
    texts = np.empty(len(ends), object)
    texts[:] = [text[start:end] for start, end in itertools.pairwise([0, *ends])]
    return texts


def sort_order(keys: Iterable[Array]) -> Array | None:
    """Return a stable order by several keys, the first one first; None if they are in order.

    Parameters
    ----------
    keys : iterable of ndarray of integers, shape (n,)
        Not negative.

    Returns
    -------
    ndarray of int64, shape (n,), or None

    Examples
    --------
    >>> sort_order([np.array([1, 0, 1]), np.array([5, 9, 4])])
    array([1, 2, 0])
    >>> sort_order([np.array([0, 0, 1])]) is None
    True
    """
    listed = list(keys)
    ordered = np.ones(max(len(listed[0]) - 1, 0), bool)
    for key in reversed(listed):
        ordered &= key[1:] == key[:-1]
        ordered |= key[1:] > key[:-1]
    if ordered.all():
        return None
    packed = _one_key(listed)
    return np.lexsort(listed[::-1]) if packed is None else np.argsort(packed, kind="stable")


def _one_key(keys: list[Array]) -> Array | None:
    """Pack keys into one, which is sorted in a third of the time, where 63 bits are enough."""
    bits = [int(key.max()).bit_length() for key in keys]
    if sum(bits) > 63:
        return None
    packed = keys[0].astype(np.int64)
    for key, room in zip(keys[1:], bits[1:], strict=True):
        packed <<= room
        packed |= key
    return packed
