"""pandas values as canonical bytes: by class, dtype and content, column by column."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import getattr_static
from typing import Any

import numpy as np
import pandas as pd

from .encoder import Encoder, Handler, located
from .literals import text
from .nodes import Piece
from .reduction import encode_attributes

_INTERNAL = {
    *("_mgr", "_item_cache", "_attrs", "_flags", "_is_copy", "_cacher", "_name", "name"),
    *("_metadata", "_typ", "_cache", "_data", "_names", "_id", "_range"),
}


def find_handler(kind: type) -> Handler | None:
    """Give the handler of a pandas type.

    Parameters
    ----------
    kind : type
        A class whose module begins with ``pandas``.

    Returns
    -------
    callable or None
        ``None`` for types that the general rule handles, such as offsets.
    """
    for base, handler in _HANDLERS:
        if issubclass(kind, base):
            return handler
    return None


def _contained(fill: Handler) -> Handler:
    def handler(encoder: Encoder, value: Any, out: list[Piece]) -> None:
        encoder.container(value, out, fill)

    return handler


def _header(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("pandas"))
    encoder.encode(type(value), out)


def _frame(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    _header(encoder, value, out)
    _encode_extras(encoder, value, out)
    encoder.items((value.columns, value.index), out)
    for position in range(value.shape[1]):
        with located(f"[{value.columns[position]!r}]"):
            encode_values(encoder, value.iloc[:, position].array, out)


def _series(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    _header(encoder, value, out)
    _encode_extras(encoder, value, out)
    encoder.items((value.name, value.index), out)
    encode_values(encoder, value.array, out)


def _encode_extras(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    encoder.encode(dict(value.attrs), out)
    encoder.encode(value.flags.allows_duplicate_labels, out)
    own = {name: getattr(value, name, None) for name in value._metadata if name != "_name"}
    own.pop("name", None)
    encoder.attributes(own.items(), out)
    encode_attributes(encoder, value, {*_INTERNAL, *own, *_accessors(value)}, out)


def _accessors(value: Any) -> Iterator[str]:
    """Yield the names under which pandas keeps accessors that have been used."""
    for name in value.__dict__:
        if "Accessor" in type(getattr_static(type(value), name, None)).__name__:
            yield name


def _index(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    _header(encoder, value, out)
    encoder.encode(list(value.names), out)
    if isinstance(value, pd.MultiIndex):
        levels = [encoder.encoded(level) for level in value.levels]
        for pieces in levels:
            out.extend(pieces)
        encoder.items((*map(np.asarray, value.codes), value.sortorder), out)
    elif isinstance(value, pd.RangeIndex):
        encoder.items((value.start, value.stop, value.step), out)
    else:
        encoder.encode(getattr(value, "freq", None), out)
        encode_values(encoder, value.array, out)


def encode_values(encoder: Encoder, values: Any, out: list[Piece]) -> None:
    """Append the values of a column or an index.

    Parameters
    ----------
    encoder : Encoder
        For items that are objects.
    values : pandas.api.extensions.ExtensionArray
        As ``Series.array`` gives it.
    out : list
        The pieces so far.
    """
    arrays = pd.arrays
    _encode_dtype(encoder, values.dtype, out)
    if isinstance(values, (arrays.NumpyExtensionArray, arrays.StringArray)) and not _is_arrow(
        values
    ):
        _encode_plain(encoder, values.to_numpy(), out)
    elif _is_arrow(values):
        encoder.encode(values.__arrow_array__(), out)
    elif isinstance(values, pd.Categorical):
        encoder.encode(np.asarray(values.codes), out)
    elif isinstance(values, (arrays.DatetimeArray, arrays.TimedeltaArray, arrays.PeriodArray)):
        encoder.encode(np.asarray(values.asi8), out)
    elif isinstance(values, arrays.IntervalArray):
        encoder.items((values.left, values.right), out)
    elif hasattr(values, "_mask") and hasattr(values, "_data"):
        _encode_masked(encoder, values, out)
    else:
        encoder.encode(type(values), out)
        encoder.encode(values.__reduce_ex__(4), out)


def _is_arrow(values: Any) -> bool:
    return hasattr(values, "_pa_array")


def _encode_plain(encoder: Encoder, content: Any, out: list[Piece]) -> None:
    # Columns of one frame share a block; whether they do is no property of the content.
    encoder.encode(np.ascontiguousarray(content) if content.ndim == 1 else content, out)


def _encode_masked(encoder: Encoder, values: Any, out: list[Piece]) -> None:
    mask = np.asarray(values._mask)
    data = np.where(mask, np.zeros((), dtype=values._data.dtype), values._data)
    encoder.items((np.ascontiguousarray(mask), data), out)


def _encode_dtype(encoder: Encoder, dtype: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("pandas dtype") + text(type(dtype).__name__))
    if isinstance(dtype, pd.CategoricalDtype):
        encoder.items((dtype.categories, dtype.ordered), out)
    elif isinstance(dtype, pd.StringDtype):
        out.append(text(str(dtype.storage)) + text(repr(getattr(dtype, "na_value", None))))
    elif isinstance(dtype, pd.ArrowDtype):
        encoder.encode(dtype.pyarrow_dtype, out)
    elif isinstance(dtype, np.dtype):
        encoder.encode(dtype, out)
    elif isinstance(dtype, pd.DatetimeTZDtype):
        encoder.items((dtype.unit, dtype.tz), out)
    elif isinstance(dtype, pd.PeriodDtype):
        encoder.encode(dtype.freq, out)
    elif isinstance(dtype, pd.SparseDtype):
        encoder.items((dtype.subtype, dtype.fill_value), out)
    elif type(dtype).__module__.partition(".")[0] != "pandas":
        encoder.encode(type(dtype), out)
        encoder.items((str(dtype), *(getattr(dtype, name) for name in dtype._metadata)), out)
        encode_attributes(encoder, dtype, {"_cache"}, out)  # filled when first asked
    else:
        out.append(text(str(dtype)))


def _dtype(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    _encode_dtype(encoder, value, out)


def _values(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    _header(encoder, value, out)
    encode_values(encoder, value, out)


def _missing(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text(f"pandas {value!r}"))


def _moment(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    _header(encoder, value, out)
    parts = (value._value, getattr(value, "unit", None), getattr(value, "tz", None))
    encoder.items((*parts, getattr(value, "fold", 0)), out)


def _period(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    _header(encoder, value, out)
    encoder.items((value.ordinal, value.freqstr), out)


def _interval(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    _header(encoder, value, out)
    encoder.items((value.left, value.right, value.closed), out)


_HANDLERS: tuple[tuple[Any, Handler], ...] = (
    (type(pd.NaT), _missing),
    (type(pd.NA), _missing),
    (pd.DataFrame, _contained(_frame)),
    (pd.Series, _contained(_series)),
    (pd.Index, _contained(_index)),
    (pd.api.extensions.ExtensionArray, _contained(_values)),
    (pd.api.extensions.ExtensionDtype, _dtype),
    (pd.Timestamp, _moment),
    (pd.Timedelta, _moment),
    (pd.Period, _period),
    (pd.Interval, _interval),
)
