"""Which values a provenance can have as parameters: hashable and ordered, all the way down."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Set
from typing import Any, TypeAlias

from seamless_dask_cache.errors import RefusedError

Params: TypeAlias = Mapping[str, Any] | Iterable[tuple[str, Any]]
"""Parameters by name, or pairs of name and value."""

DEEPEST = 100
"""How many values may lie in one another."""

_INSTEAD = {
    "a list": "a tuple",
    "a dict": "a tuple of pairs, or one parameter for each key",
    "a bytearray": "bytes",
    "an array": "a tuple, such as tuple(array.tolist()), or its checksum",
    "a set": "a tuple, such as tuple(sorted(...))",
    "a dataclass": "a frozen one",
}


def sorted_params(params: Params) -> tuple[tuple[str, Any], ...]:
    """Return parameters as pairs, sorted by name.

    Parameters
    ----------
    params : mapping or iterable of (str, object)

    Raises
    ------
    RefusedError
        For a value that cannot be hashed or has no order, and for a set of pairs.
    TypeError
        For what is neither a mapping nor made of pairs, and for a name that is no str.
    ValueError
        For a name that is there twice.

    Examples
    --------
    >>> sorted_params({"width": 5, "by": ("chr1", "chr2")})
    (('by', ('chr1', 'chr2')), ('width', 5))
    """
    named: dict[str, Any] = {}
    for name, value in map(_pair, _items(params)):
        if name in named:
            raise ValueError(f"the parameter {name!r} is there twice")
        check_value(value, f"parameter {name!r}")
        named[name] = value
    return tuple(sorted(named.items(), key=lambda pair: pair[0]))


def check_value(value: Any, where: str) -> None:
    """Refuse a value that cannot be hashed or has no order, itself or inside of tuples.

    Parameters
    ----------
    value : object
        Tuples and dataclasses are looked into.
    where : str
        For the message.

    Raises
    ------
    RefusedError
        The message names the value, and what to give instead.

    Examples
    --------
    >>> check_value((1, ("a", 2.5)), "here")
    >>> check_value((1, [2]), "parameter 'by'")
    Traceback (most recent call last):
    ...
    seamless_dask_cache.errors.RefusedError: parameter 'by' has a list in it, [2], which cannot be \
hashed; give a tuple instead (at parameter 'by' -> [1])
    """
    # A list of what is left to look at, for values may be nested deeper than Python's own stack.
    waiting = [(value, where, 0)]
    while waiting:
        found, path, depth = waiting.pop()
        if depth > DEEPEST:
            raise RefusedError(f"{where} is nested more than {DEEPEST} deep; flatten it")
        parts = _parts(found)
        if parts is None:
            _check_leaf(found, where, path)
        else:
            waiting += [(part, f"{path} -> {name}", depth + 1) for name, part in parts]


def _items(params: Params) -> Iterable[Any]:
    if isinstance(params, set | frozenset):
        raise RefusedError(f"params are a set, {shown(params)}, which has no order; give a dict")
    if isinstance(params, Mapping):
        return params.items()
    if isinstance(params, str | bytes) or not isinstance(params, Iterable):
        raise TypeError(f"params must be a mapping or pairs of name and value, not {shown(params)}")
    return params


def _pair(item: Any) -> tuple[str, Any]:
    if not isinstance(item, list | tuple) or len(item) != 2:
        raise TypeError(f"params must be pairs of name and value, not {shown(item)}")
    name, value = item
    if not isinstance(name, str):
        raise TypeError(f"the name of a parameter must be a str, not {shown(name)}")
    return str.__str__(name), value


def _parts(value: Any) -> list[tuple[str, Any]] | None:
    """Give what lies in a value, by name; None for one that is not looked into."""
    if isinstance(value, tuple):
        return [(f"[{position}]", part) for position, part in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and _is_frozen(value):
        names = [field.name for field in dataclasses.fields(value)]
        return [(name, getattr(value, name)) for name in names if hasattr(value, name)]
    return None


def _is_frozen(value: Any) -> bool:
    return bool(type(value).__dataclass_params__.frozen)


def _check_leaf(value: Any, where: str, path: str) -> None:
    if isinstance(value, Set):
        raise _refused(value, where, path, "has no order")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        raise _refused(value, where, path, "can be changed")
    try:
        hash(value)
    except (TypeError, ValueError):
        raise _refused(value, where, path, "cannot be hashed") from None


def _refused(value: Any, where: str, path: str, reason: str) -> RefusedError:
    kind = _kind(value)
    instead = _INSTEAD.get(kind, "a value that is hashable and ordered, or a checksum of it")
    is_itself = path == where
    what = f"is {kind}" if is_itself else f"has {kind} in it"
    text = f"{where} {what}, {shown(value)}, which {reason}; give {instead} instead"
    return RefusedError(text, "" if is_itself else path)


def _kind(value: Any) -> str:
    if isinstance(value, Set):
        return "a set"
    for base in (list, dict, bytearray):
        if isinstance(value, base):
            return f"a {base.__name__}"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return "an array"
    if dataclasses.is_dataclass(value):
        return "a dataclass"
    return f"of type {type(value).__qualname__}"


def shown(value: Any) -> str:
    """Return the representation of a value for a message: short, and never an error.

    Examples
    --------
    >>> shown("x" * 100)[-10:]
    'xxxxxxx...'
    """
    try:
        text = repr(value)
    except Exception as error:  # a number of very many digits, or code of the user
        return f"<{type(value).__qualname__} that cannot be shown: {type(error).__name__}>"
    return text if len(text) <= 80 else f"{text[:77]}..."
