"""Orders of datasets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from seamless_dask_cache.stores.entry import DatasetEntry
from seamless_dask_cache.stores.observed import note_times


def _status(entry: DatasetEntry) -> os.stat_result:
    note_times(entry.name)
    return entry.path.stat()


_BY_FILE: dict[str, Callable[[DatasetEntry], Any]] = {
    "name": lambda entry: entry.name,
    "size": lambda entry: _status(entry).st_size,
    "time": lambda entry: _status(entry).st_mtime_ns,
}
_MISSING = object()


def order_of(
    entries: Iterable[DatasetEntry], by: str | Callable[[DatasetEntry], Any], reverse: bool
) -> list[DatasetEntry]:
    """Sort entries; see `DirectoryStore.sort`."""
    if not (isinstance(by, str) or callable(by)):
        raise TypeError(f"datasets are sorted by a name or by a function, not by {by!r}")
    value_of = by if callable(by) else _BY_FILE.get(by) or _field(by.removeprefix("meta."))
    values = [(_value(value_of, entry), entry) for entry in entries]
    known = [pair for pair in values if pair[0] is not _MISSING]
    try:
        known.sort(key=lambda pair: pair[0], reverse=reverse)
    except TypeError as error:
        raise TypeError(f"datasets cannot be sorted by {by!r}: {error}") from error
    return [entry for _, entry in known] + [entry for value, entry in values if value is _MISSING]


def _value(value_of: Callable[[DatasetEntry], Any], entry: DatasetEntry) -> Any:
    try:
        value = value_of(entry)
    except FileNotFoundError:  # deleted meanwhile
        return _MISSING
    # NaN has no place among numbers.
    return value if value == value else _MISSING


def _field(path: str) -> Callable[[DatasetEntry], Any]:
    def value_of(entry: DatasetEntry) -> Any:
        found: Any = entry.meta
        for name in path.split("."):
            if not isinstance(found, dict) or name not in found:
                return _MISSING
            found = found[name]
        return found

    return value_of
