"""Rows of intervals out of whatever people have."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any

import numpy as np

from seamless_dask_cache.stores.chromosomes import checked_chrom
from seamless_dask_cache.stores.interval_checks import check_unmasked, checked_columns
from seamless_dask_cache.stores.interval_columns import Array, Columns, concatenated
from seamless_dask_cache.stores.intervals import Intervals

_USUAL = {
    "chrom": ("chrom", "chromosome", "chr", "seqname", "seqnames", "seqid"),
    "starts": ("start", "starts", "chromstart"),
    "ends": ("end", "ends", "chromend"),
    "names": ("name", "names"),
    "scores": ("score", "scores"),
    "strands": ("strand", "strands"),
}
_MEANING = {usual: meaning for meaning, names in _USUAL.items() for usual in names}
_FIELDS = ("chrom", "start", "end", "name", "score", "strand")
_ABSENT = (None, None, None)
_EXPECTED = (
    "expected an array of shape (n, 2), a tuple (starts, ends), a table or a mapping of columns"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Intervals of several chromosomes.

    Parameters
    ----------
    chroms : tuple of str, length k
    codes : ndarray of int32, shape (n,)
        Where in `chroms` the chromosome of each interval is.
    columns : Columns, length n

    Examples
    --------
    >>> rows_of([("chr2", 1, 2), ("chr1", 3, 4)]).chroms
    ('chr2', 'chr1')
    """

    chroms: tuple[str, ...]
    codes: Array
    columns: Columns


def rows_of(intervals: Any) -> Rows:
    """Return the rows of anything that a track can be made of.

    Parameters
    ----------
    intervals : iterable, mapping or table
        As for IntervalTrack.

    Returns
    -------
    Rows
        In the order in which they are given.

    Raises
    ------
    TypeError, ValueError
        As IntervalTrack does.

    Examples
    --------
    >>> rows_of({"chr1": ([1, 5], [2, 6])}).columns.ends
    array([2, 6])
    """
    if isinstance(intervals, Rows):
        return intervals
    if isinstance(intervals, Intervals):
        return _by_chromosome({intervals.chrom: intervals})
    if isinstance(intervals, Mapping):
        return _by_chromosome(intervals)
    names = _column_names(intervals)
    if names is not None:
        return _of_table(names, intervals)
    if isinstance(intervals, (str, bytes)) or not isinstance(intervals, Iterable):
        raise TypeError(f"intervals are an iterable, a mapping or a table, not {intervals!r:.80}")
    return _of_items(intervals)


def coded(chroms: Iterable[Any]) -> tuple[tuple[str, ...], Array]:
    """Return the different chromosomes of a column, and the number of each row's.

    Parameters
    ----------
    chroms : iterable of str, length n

    Returns
    -------
    chroms : tuple of str, length k
        In the order in which they are met.
    codes : ndarray of int32, shape (n,)

    Raises
    ------
    TypeError, ValueError
        For what is no str, and for an empty one.

    Examples
    --------
    >>> coded(["b", "a", "b"])
    (('b', 'a'), array([0, 1, 0], dtype=int32))
    """
    numbers: dict[Any, int] = {}
    codes = [numbers.setdefault(chrom, len(numbers)) for chrom in chroms]
    return tuple(checked_chrom(chrom) for chrom in numbers), np.array(codes, np.int32)


# One by one ---------------------------------------------------------------------------------------


def _of_items(items: Iterable[Any]) -> Rows:
    rows = [_fields_of(item) for item in items]
    chroms, *columns = zip(*rows, strict=True) if rows else [()] * 6
    return Rows(*coded(chroms), checked_columns(*columns))


def _fields_of(item: Any) -> tuple[Any, ...]:
    # Named tuples may have their fields in any order.
    if hasattr(item, "chrom") or not isinstance(item, (tuple, list)):
        return _attributes_of(item)
    if 3 <= len(item) <= len(_FIELDS):
        return (*item, *_ABSENT[: len(_FIELDS) - len(item)])
    raise ValueError(f"an interval has {', '.join(_FIELDS)}; the last three may lack: {item!r:.80}")


def _attributes_of(item: Any) -> tuple[Any, ...]:
    try:
        must = item.chrom, item.start, item.end
    except AttributeError as error:
        raise TypeError(f"{item!r:.80} is no interval: {error}") from None
    return (*must, *(getattr(item, field, None) for field in _FIELDS[3:]))


# Columns ------------------------------------------------------------------------------------------


def _column_names(table: Any) -> list[Any] | None:
    """Give the names of the columns of a table, None for what is no table."""
    # The `columns` of an Arrow table are what is in them.
    names = getattr(table, "column_names", getattr(table, "columns", None))
    if not isinstance(names, Iterable) or not hasattr(table, "__getitem__"):
        return None
    return list(names)


def _of_table(names: list[Any], table: Any) -> Rows:
    columns = _by_meaning(names, table)
    for needed in ("chrom", "starts", "ends"):
        if needed not in columns:
            known = ", ".join(map(str, names))
            raise ValueError(f"a table needs {_USUAL[needed][0]!r}; its columns are {known:.200}")
    chroms, codes = coded(_values(columns.pop("chrom")))
    return Rows(chroms, codes, _checked(columns))


def _by_chromosome(given: Mapping[Any, Any]) -> Rows:
    chroms = tuple(checked_chrom(chrom) for chrom in given)
    parts = [_part(chrom, given[chrom]) for chrom in given]
    codes = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts])
    return Rows(chroms, codes, concatenated(parts))


def _part(chrom: str, given: Any) -> Columns:
    try:
        return _columns_of(chrom, given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{chrom}: {error}") from error


def _columns_of(chrom: str, given: Any) -> Columns:
    if isinstance(given, Intervals):
        # A copy: a view would keep the whole track in memory that it is of.
        return given.columns.told().map(np.copy)
    names = list(given) if isinstance(given, Mapping) else _column_names(given)
    if names is not None:
        return _checked(_without_chrom(chrom, _by_meaning(names, given)))
    if isinstance(given, tuple) and len(given) == 2:
        _refuse_two_pairs(given)
        return checked_columns(*given)
    if hasattr(given, "__array__"):
        return _of_pairs(given)
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"{_EXPECTED}, not {given!r:.80}")
    return _of_pairs(list(given))


def _without_chrom(chrom: str, columns: dict[str, Any]) -> dict[str, Any]:
    """Drop a column that says again of which chromosome the rows are."""
    others = [other for other in _values(columns.pop("chrom", ())) if other != chrom]
    if others:
        raise ValueError(f"there is an interval of {others[0]!r:.80} among those of {chrom!r:.80}")
    return columns


def _of_pairs(given: Any) -> Columns:
    check_unmasked("intervals", given)
    if isinstance(given, list):
        _refuse_two_pairs(given)
    pairs = np.asarray(given)
    if pairs.size == 0:
        return checked_columns([], [])
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"{_EXPECTED}, not an array of shape {pairs.shape}")
    # numpy makes floats of integers that no type of integers holds together.
    by_item = isinstance(given, list) and pairs.dtype.kind == "f"
    return checked_columns(*(zip(*given, strict=True) if by_item else pairs.T))


def _refuse_two_pairs(given: Sequence[Any]) -> None:
    # ((0, 10), (5, 20)): two intervals, or two starts and two ends? Nobody should have to guess.
    if len(given) != 2 or not all(isinstance(part, Sized) and len(part) == 2 for part in given):
        return
    # A list of tuples is intervals, a tuple of lists is columns.
    if all(isinstance(part, tuple) for part in given) != isinstance(given, list):
        raise ValueError(
            f"{given!r:.80} may be two intervals or starts and ends: give a list of tuples "
            "(start, end), or a tuple of lists (starts, ends)"
        )


def _by_meaning(names: list[Any], table: Any) -> dict[str, Any]:
    """Give the columns of a table by what they mean, others under their own names."""
    columns: dict[str, Any] = {}
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"the name of a column is a str, not {name!r:.80}")
        meaning = _MEANING.get(name.lower(), name)
        if meaning in columns:
            raise ValueError(f"two columns for {meaning!r:.80}: one of them is {name!r:.80}")
        columns[meaning] = table[name]
    return columns


def _checked(columns: dict[str, Any]) -> Columns:
    missing = [name for name in ("starts", "ends") if name not in columns]
    if missing:
        raise ValueError(f"no column {missing[0]!r}; there are {', '.join(columns):.200}")
    starts, ends = columns.pop("starts"), columns.pop("ends")
    names, scores, strands = (columns.pop(name, None) for name in ("names", "scores", "strands"))
    return checked_columns(starts, ends, names, scores, strands, columns)


def _values(column: Any) -> Iterable[Any]:
    # Of numpy and pandas, and of Arrow.
    as_list = getattr(column, "tolist", getattr(column, "to_pylist", None))
    values: Iterable[Any] = column if as_list is None else as_list()
    return values
