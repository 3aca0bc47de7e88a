"""What a program has put into the classes of installed libraries: accessors and monkeypatches.

A function that says ``frame.geo.area`` does not say where ``geo`` comes from. The classes that are
commonly extended are looked through in each pass, and what the user put there counts wherever
code, a string in it or a string among the arguments of a call names such an attribute. That
installed code calls an attribute that was patched is not seen.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from operator import is_
from typing import Any
from weakref import WeakKeyDictionary

from .installed import is_users

_EXTENDED = (
    ("pandas", "DataFrame Series Index Timestamp Timedelta"),
    ("pandas.core.groupby", "DataFrameGroupBy SeriesGroupBy"),
    ("xarray", "Dataset DataArray DataTree Variable"),
    ("polars", "DataFrame Series LazyFrame Expr"),
    ("dask.array", "Array"),
    ("dask.dataframe", "DataFrame Series Index"),
    ("dask.bag", "Bag"),
    ("networkx", "Graph DiGraph"),
    ("pathlib", "Path PurePath"),
    ("json", "JSONEncoder JSONDecoder"),
)

# What a class held when it was last looked through, and what of that was the user's.
_known: dict[type, tuple[list[Any], dict[str, Any]]] = {}
_of_pass: WeakKeyDictionary[Any, dict[str, list[tuple[str, Any]]]] = WeakKeyDictionary()


def patches(current: Any, names: frozenset[str]) -> list[tuple[str, Any]]:
    """Give the user's own attributes of installed classes that have one of some names.

    Parameters
    ----------
    current : object
        Stands for the pass, in which nothing changes.
    names : frozenset of str
        Attributes that code names.

    Returns
    -------
    list of (str, object)
        Dotted names for people and what stands there, in a fixed order.
    """
    found = _found(current)
    return [pair for name in sorted(names & found.keys()) for pair in found[name]]


def _found(current: Any) -> dict[str, list[tuple[str, Any]]]:
    found = _of_pass.get(current)
    if found is None:
        found = _of_pass[current] = _all_patches()
    return found


def patches_named(current: Any, *texts: Iterable[str]) -> list[tuple[str, Any]]:
    """Give the user's own attributes of installed classes that strings name.

    Parameters
    ----------
    current : object
        Stands for the pass.
    *texts : iterable of str
        Such as the arguments of ``getattr`` and ``operator.attrgetter``.

    Returns
    -------
    list of (str, object)
        As `patches` gives them.
    """
    if not _found(current):  # as in most programs
        return []
    return patches(current, parts_of(chain(*texts)))


def parts_of(texts: Iterable[str]) -> frozenset[str]:
    """Give the names that strings consist of, as ``operator.attrgetter`` takes them apart."""
    return frozenset(part for text in texts for part in text.split("."))


def _all_patches() -> dict[str, list[tuple[str, Any]]]:
    found: dict[str, list[tuple[str, Any]]] = {}
    for kind in _classes():
        for name, value in _of_the_user(kind).items():
            label = f"{kind.__module__}.{kind.__qualname__}.{name}"
            found.setdefault(name, []).append((label, value))
    return found


def _classes() -> Iterator[type]:
    seen: dict[type, None] = {}
    for module, names in _EXTENDED:
        place = vars(sys.modules[module]) if module in sys.modules else {}
        for name in names.split():
            kind = place.get(name)
            if isinstance(kind, type):
                seen.update(dict.fromkeys(kind.__mro__[:-1]))
    yield from seen


def _of_the_user(kind: type) -> dict[str, Any]:
    values = list(vars(kind).values())
    known = _known.get(kind)
    # An unchanged class costs microseconds.
    if known is None or len(known[0]) != len(values) or not all(map(is_, known[0], values)):
        own = {name: item for name, item in tuple(vars(kind).items()) if is_users(item)}
        known = _known[kind] = values, own
    return known[1]
