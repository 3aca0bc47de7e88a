"""Small plain values as they stand in a recipe, readable and at little cost.

A short list, tuple or dict of plain values stands in the recipe itself, as a container that has
inputs inside does, and so does a slice::

    {"tuple": [{"slice": [0, 10, null]}, {"slice": [10, 40, null]}]}

Whether it does depends on the value alone. Everything else is named by the checksum of its
canonical encoding.
"""

from __future__ import annotations

from typing import Any

MAX_ITEMS = 16
MAX_DEPTH = 2
MAX_LENGTH = 200

INLINED = frozenset({tuple, slice, list, dict})
"""The types, exactly these, whose values may stand in a recipe."""

_AS_IT_IS = frozenset({int, bool, type(None)})


class _NotPlainError(Exception):
    """A value does not stand in a recipe."""


def inlined(value: Any, strings: list[str]) -> dict[str, Any] | None:
    """Return how a container or a slice stands in a recipe.

    Parameters
    ----------
    value : list, tuple, dict or slice
        Of exactly one of these types.
    strings : list of str
        Gets the strings inside, which may name files.

    Returns
    -------
    dict or None
        None for more than 16 items, containers more than two deep, long strings and items of other
        types; then `strings` is left as it was.
    """
    found: list[str] = []
    try:
        entry = _container(value, 0, found)
    except _NotPlainError:
        return None
    strings += found
    return entry


def _container(value: Any, depth: int, strings: list[str]) -> dict[str, Any]:
    kind = type(value)
    if kind is slice:
        return {"slice": _items((value.start, value.stop, value.step), MAX_DEPTH, strings)}
    if depth >= MAX_DEPTH or len(value) > MAX_ITEMS:
        raise _NotPlainError
    if kind is tuple:
        return {"tuple": _items(value, depth, strings)}
    if kind is list:
        return {"list": _items(value, depth, strings)}
    pairs = [part for pair in value.items() for part in pair]
    return {"dict": _items(pairs, depth, strings)}


def _items(values: Any, depth: int, strings: list[str]) -> list[Any]:
    if _AS_IT_IS.issuperset(map(type, values)):
        return list(values)
    return [_item(value, depth, strings) for value in values]


def _item(value: Any, depth: int, strings: list[str]) -> Any:
    kind = type(value)
    if kind in _AS_IT_IS:
        return value
    if kind is str and len(value) <= MAX_LENGTH:
        strings.append(value)
        return value
    if kind is float and value == value:
        return {"float": value.hex()}
    if kind in INLINED:
        return _container(value, depth + 1, strings)
    raise _NotPlainError
