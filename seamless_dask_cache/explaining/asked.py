"""What people hand to ``explain``: collections, calls and futures, alone or in containers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

_DEEPEST = 50


class Asked(NamedTuple):
    """What is to be explained.

    Attributes
    ----------
    collections : tuple
        Dask collections.
    futures : tuple of key
        Keys of futures.
    """

    collections: tuple[Any, ...]
    futures: tuple[Any, ...]


def asked_for(things: Iterable[Any]) -> Asked:
    """Sort out what is to be explained.

    Parameters
    ----------
    things : iterable
        Dask collections, futures, bound calls of cached functions; lists, tuples, sets and values
        of dictionaries of them.

    Raises
    ------
    TypeError
        For anything else, and for nothing at all.
    """
    collections: list[Any] = []
    futures: list[Any] = []
    for thing in _flat(things, 0):
        if _is_collection(thing):
            collections.append(thing)
        elif _is_bound_call(thing):
            collections.append(thing.function.delayed(*thing.args, **thing.kwargs))
        elif _is_future(thing):
            futures.append(thing.key)
        else:
            raise TypeError(f"explain takes Dask collections, not {type(thing).__name__}")
    if not (collections or futures):
        raise TypeError("explain takes Dask collections, and there are none")
    return Asked(tuple(collections), tuple(futures))


def names_of(collections: Iterable[Any], keys: Iterable[Any]) -> dict[Any, Any]:
    """Tell under which key each collection is computed.

    Parameters
    ----------
    collections : iterable
        Dask collections.
    keys : iterable
        The keys that computing them asks for, one of each, in their order.

    Returns
    -------
    dict
        Key of a collection, of one of its partitions, or its name, to the key that is computed.
        Empty where there is not one for each.
    """
    collections, keys = list(collections), list(keys)
    if len(collections) != len(keys):
        return {}
    pairs = zip(collections, keys, strict=True)
    return {name: key for collection, key in pairs for name in keys_of(collection)}


def keys_of(collection: Any) -> Iterator[Any]:
    """Yield the name of a collection and the keys of its partitions."""
    from dask.core import flatten

    for key in flatten(collection.__dask_keys__()):
        yield key
        if isinstance(key, tuple):
            yield key[0]


def _flat(things: Any, depth: int) -> Iterator[Any]:
    for thing in things:
        if type(thing) in (list, tuple, set, frozenset) and depth < _DEEPEST:
            yield from _flat(thing, depth + 1)
        elif isinstance(thing, Mapping) and not _is_collection(thing) and depth < _DEEPEST:
            yield from _flat(thing.values(), depth + 1)
        else:
            yield thing


def _is_collection(thing: Any) -> bool:
    from dask.base import is_dask_collection

    return bool(is_dask_collection(thing))


def _is_future(thing: Any) -> bool:
    from distributed import Future

    return isinstance(thing, Future)


def _is_bound_call(thing: Any) -> bool:
    from seamless_dask_cache.decorator import BoundCall

    return isinstance(thing, BoundCall)
