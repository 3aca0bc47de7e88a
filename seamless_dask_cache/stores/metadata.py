"""Metadata of datasets: dictionaries with attributes, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from seamless_dask_cache.errors import CorruptDatasetError


class Metadata(dict[str, Any]):
    """A dict whose items are attributes, too; the dicts in it are such dicts again.

    Parameters
    ----------
    *args, **kwargs
        As for dict.

    Raises
    ------
    TypeError
        For a key that is no str, and a value that JSON cannot hold; numpy's scalars and arrays are
        kept as they are until they are saved, as Python's numbers and lists.

    Notes
    -----
    What is put in is copied where it is a dict or a list. A name that dict has a method for, such
    as ``items``, is reached as an item only.

    Examples
    --------
    >>> meta = Metadata(shape=[5, 5], stats={"mean": 0.5})
    >>> meta.stats.mean, meta["shape"]
    (0.5, [5, 5])
    >>> meta.stats.worst = 2.0
    >>> meta
    {'shape': [5, 5], 'stats': {'mean': 0.5, 'worst': 2.0}}
    """

    __slots__ = ()

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()
        self.update(*args, **kwargs)

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"a key of metadata is a str, not {key!r}: JSON would make it one")
        own = _with_attributes(value)
        _check(key, own)
        super().__setitem__(key, own)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Take items over, as dict does."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Give an item, after having made it if it is missing."""
        if key not in self:
            self[key] = default
        return self[key]

    def copy(self) -> Metadata:
        """Copy the items, those of dicts and lists in it too."""
        return Metadata(self)

    def __ior__(self, other: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Metadata:  # type: ignore[override]
        self.update(other)
        return self

    def __or__(self, other: Mapping[str, Any]) -> Metadata:  # type: ignore[override]
        both = self.copy()
        both.update(other)
        return both

    def become(self, other: Mapping[str, Any]) -> None:
        """Take over all items of another dict, and lose one's own.

        A dict or list that is in both stays the same object: somebody may be about to change it.

        Examples
        --------
        >>> meta = Metadata(stats={"mean": 1})
        >>> stats = meta.stats
        >>> meta.become({"unit": "m", "stats": {"std": 2}})
        >>> stats.mean = 3
        >>> meta
        {'unit': 'm', 'stats': {'std': 2, 'mean': 3}}
        """
        items = {key: _kept(self.get(key), value) for key, value in other.items()}
        self.clear()
        super().update(items)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            known = ", ".join(map(repr, self)) or "nothing"
            raise AttributeError(f"no {name!r} in the metadata, which has {known}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(dict, name):
            raise AttributeError(f"{name!r} is a method of dict: use meta[{name!r}] = ...")
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"no {name!r} in the metadata") from None


def dump_metadata(meta: Mapping[str, Any]) -> str:
    """Return metadata as JSON, as Python's own ``json`` writes it; numpy's values as Python's.

    Raises
    ------
    TypeError, ValueError
        When JSON cannot hold them.
    """
    return json.dumps(meta, default=_as_plain)


def load_metadata(text: str | bytes, source: object) -> Metadata:
    """Read metadata.

    Parameters
    ----------
    text : str or bytes
    source : object
        What the message of an error names.

    Raises
    ------
    CorruptDatasetError
        When it is no JSON object.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise CorruptDatasetError(f"{source} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise CorruptDatasetError(f"{source} holds no object, but {found!r:.80}")
    return Metadata(found)


def merged(base: Mapping[str, Any], mine: Mapping[str, Any], theirs: Metadata) -> Metadata:
    """Bring what I changed into what others have written meanwhile.

    Parameters
    ----------
    base : mapping
        What I started from.
    mine : mapping
        What I made of it.
    theirs : Metadata
        What is there now; changed in place.

    Returns
    -------
    Metadata
        `theirs`, with each item that I added, changed or removed, in the dicts in it as well.

    Examples
    --------
    >>> merged({"a": {"x": 1}}, {"a": {"x": 1, "mine": 2}}, Metadata(a={"x": 5}))
    {'a': {'x': 5, 'mine': 2}}
    """
    for key in {**base, **mine}:
        if key not in mine:
            theirs.pop(key, None)
        elif key not in base or not _same(base[key], mine[key]):
            versions = [base.get(key), mine[key], theirs.get(key)]
            all_dicts = all(isinstance(version, dict) for version in versions)
            theirs[key] = merged(*versions) if all_dicts else mine[key]
    return theirs


def _with_attributes(value: Any) -> Any:
    if isinstance(value, dict):
        return Metadata(value)
    if isinstance(value, tuple):
        return tuple(map(_with_attributes, value))
    return [_with_attributes(item) for item in value] if type(value) is list else value


def _kept(mine: Any, new: Any) -> Any:
    """Give what somebody may hold already, with the content of something new."""
    if isinstance(mine, Metadata) and isinstance(new, dict):
        mine.become(new)
        return mine
    if _same(mine, new):
        return mine
    own = _with_attributes(new)
    if type(mine) is list and type(own) is list:
        mine[:] = own
        return mine
    return own


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, default=_as_plain) == json.dumps(other, default=_as_plain)


def _check(key: str, value: Any) -> None:
    try:
        json.dumps(value, default=_as_plain)
    except (TypeError, ValueError) as error:
        raise TypeError(f"the metadata {key!r} cannot be {value!r:.80}: {error}") from error


def _as_plain(value: Any) -> Any:
    # Statistics are numpy's scalars more often than not.
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        plain = value.tolist()
        if type(plain) is not type(value):
            return plain
    raise TypeError(f"JSON has no {type(value).__qualname__}")
