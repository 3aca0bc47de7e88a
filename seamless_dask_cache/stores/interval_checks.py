"""Columns of intervals from what people give: checked, and copied."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seamless_dask_cache.stores.interval_columns import NO_EXTRAS, Array, Columns
from seamless_dask_cache.stores.ranges import LAST

STRANDS = ("+", "-", ".")


def checked_columns(
    starts: Any,
    ends: Any,
    names: Any = None,
    scores: Any = None,
    strands: Any = None,
    extras: Mapping[str, Any] = NO_EXTRAS,
) -> Columns:
    """Return columns of what somebody gave, copied.

    Parameters
    ----------
    starts, ends : sequence of int, length n
    names : sequence of str, length n, optional
        None, NaN, "" and "." stand for no name.
    scores : sequence of float, length n, optional
        None, NaN and "." stand for no score.
    strands : sequence of str, length n, optional
        "+" or "-"; None, NaN, "" and "." stand for none.
    extras : mapping from str to sequence of str, length n

    Returns
    -------
    Columns

    Raises
    ------
    TypeError
        For values of another type, and for a position that is missing; the message names the first.
    ValueError
        For a negative position, an end before its start, an unknown strand, columns of different
        lengths and values that are masked; the message names the interval, counted from 0.

    Examples
    --------
    >>> checked_columns([1], [0])
    Traceback (most recent call last):
        ...
    ValueError: interval 0 ends at 0, before it starts at 1
    """
    columns = Columns(
        _positions("start", starts),
        _positions("end", ends),
        None if names is None else _names(names),
        None if scores is None else _scores(scores),
        None if strands is None else _strands(strands),
        {name: _texts(name, column) for name, column in extras.items()},
    )
    _check_lengths(columns)
    _check_order(columns)
    return columns.told().map(lambda column: column)


def _positions(name: str, values: Any) -> Array:
    values = _as_sequence(values)
    given = one_dimensional(f"{name}s", values)
    if given.size == 0:
        return np.empty(0, np.int64)
    if given.dtype.kind == "O":
        return _from_objects(name, given)
    if given.dtype.kind == "f":
        return _from_floats(name, values, given)
    if given.dtype.kind not in "iu":
        raise TypeError(f"{name}s must be integers, not {given.dtype}: {given[0]!r:.80}")
    if given.dtype.kind == "u" and int(given.max()) > LAST:
        raise ValueError(f"{name} {given.max()} does not fit into 63 bits")
    return np.array(given, np.int64)


def _from_floats(name: str, values: Any, given: Array) -> Array:
    missing = np.isnan(given)
    if missing.any():
        raise TypeError(f"{name}s must be integers; that of interval {missing.argmax()} is missing")
    if hasattr(values, "__array__"):
        raise TypeError(f"{name}s must be integers, not {given.dtype}: {given[0]!r}")
    # numpy makes floats of integers that no type of integers holds together.
    return _from_objects(name, values)


def _from_objects(name: str, values: Array | Sequence[Any]) -> Array:
    return np.fromiter((_integer(name, value) for value in values), np.int64, len(values))


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}s must be integers, not {value!r:.80}")
    number = operator.index(value)
    if abs(number) > LAST:
        raise ValueError(f"{name} {value!r:.80} does not fit into 63 bits")
    return number


def one_dimensional(name: str, values: Any) -> Array:
    """Return a column of values as an array, which may share memory with them.

    Parameters
    ----------
    name : str
        Of the column, for messages.
    values : iterable, length n

    Returns
    -------
    ndarray, shape (n,)

    Raises
    ------
    ValueError
        For what is no column, and for values that are masked.

    Examples
    --------
    >>> one_dimensional("ends", range(2, 4))
    array([2, 3])
    >>> one_dimensional("ends", [[2], [3]])
    Traceback (most recent call last):
        ...
    ValueError: ends must be one column, not an array of shape (2, 1)
    """
    values = _as_sequence(values)
    check_unmasked(name, values)
    given = np.asarray(values)
    if given.ndim != 1:
        raise ValueError(f"{name} must be one column, not an array of shape {given.shape}")
    return given


def check_unmasked(name: str, values: Any) -> None:
    """Check that no value is masked, as what is behind a mask is not meant.

    Parameters
    ----------
    name : str
        Of the values, for messages.
    values : object
        Only a masked array can have masked values.

    Raises
    ------
    ValueError
        When one is; the message names the row of the first.

    Examples
    --------
    >>> check_unmasked("ends", np.ma.array([5, 6], mask=[False, True]))
    Traceback (most recent call last):
        ...
    ValueError: ends are masked at 1: give an array without a mask
    """
    if np.ma.isMaskedArray(values) and np.ma.is_masked(values):
        row = int(np.argwhere(np.ma.getmaskarray(values))[0][0])
        raise ValueError(f"{name} are masked at {row}: give an array without a mask")


def _as_sequence(values: Any) -> Any:
    whole = hasattr(values, "__array__") or isinstance(values, Sequence)
    return values if whole else list(values)


def _objects(name: str, values: Any) -> list[Any]:
    if isinstance(values, str):
        raise TypeError(f"{name} must be a column of texts, not the text {values!r:.80}")
    if hasattr(values, "__array__"):
        values = one_dimensional(name, values)
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _is_missing(value: Any) -> bool:
    # pandas has a value that is neither equal nor unequal to itself.
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def _names(values: Any) -> Array:
    texts = _texts("name", values, missing="")
    texts[texts == "."] = ""
    return texts


def _texts(name: str, values: Any, missing: str | None = None) -> Array:
    items = _objects(name, values)
    if not set(map(type, items)) <= {str}:
        items = [_text(name, item, missing) for item in items]
    texts = np.empty(len(items), object)
    texts[:] = items
    return texts


def _text(name: str, value: Any, missing: str | None) -> str:
    if isinstance(value, str):
        return str(value)
    if missing is not None and _is_missing(value):
        return missing
    raise TypeError(f"{name} must be a str, not {value!r:.80}")


def _scores(values: Any) -> Array:
    values = _as_sequence(values)
    given = one_dimensional("scores", values)
    if given.dtype.kind not in "fiu":
        # Not of that array: one text among numbers makes texts of all.
        given = np.array([_score(value) for value in _objects("scores", values)], np.float64)
    # One NaN and one zero, so that equal scores have equal bytes.
    numbers = np.array(given, np.float64) + 0.0
    missing = np.isnan(numbers)
    numbers[missing] = math.nan
    return numbers


def _score(value: Any) -> float:
    if _is_missing(value) or value == ".":
        return math.nan
    if isinstance(value, (str, bytes, bool)) or not hasattr(value, "__float__"):
        raise TypeError(f"scores must be numbers, not {value!r:.80}")
    return float(value)


def _strands(values: Any) -> Array:
    items = _objects("strands", values)
    known: dict[Any, str] = {}
    for value in dict.fromkeys(items):
        strand = "." if _is_missing(value) or value == "" else value
        if strand not in STRANDS:
            raise ValueError(f'a strand is "+", "-" or ".", not {value!r:.80}')
        known[value] = str(strand)
    return np.array([known[item] for item in items], "U1")


def _check_lengths(columns: Columns) -> None:
    for column in columns.listed():
        if column is not None and len(column) != len(columns):
            raise ValueError(
                f"columns differ in length: {len(columns)} starts beside {len(column)} values"
            )


def _check_order(columns: Columns) -> None:
    negative = columns.starts < 0
    if negative.any():
        where = int(negative.argmax())
        raise ValueError(f"interval {where} starts at {columns.starts[where]}, before 0")
    wrong = columns.ends < columns.starts
    if wrong.any():
        where = int(wrong.argmax())
        start, end = columns.starts[where], columns.ends[where]
        raise ValueError(f"interval {where} ends at {end}, before it starts at {start}")
