"""Shallow checksums: transformations whose inputs are named by their content.

A deep checksum names the inputs of a task by the transformations that make them, and is known for
a whole graph before anything runs. A shallow one names them by what they are, so it is known only
once they exist; but it is the same however they were made. It is the checksum of the recipe with
``{"result": checksum}`` in the place of ``{"transformation": checksum}``.

The *skeleton* of a recipe leaves its inputs blank: all shallow recipes of one call share it. What
is installed enters it: a recipe names no version of what a task only meets in its inputs, such as
that of the library whose method it calls.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Container, Mapping
from functools import lru_cache
from typing import Any

import orjson

from seamless_dask_cache.identity.distributions import PYTHON, owners_on
from seamless_dask_cache.identity.recipe import PLAIN, Identity, dump_recipe

Entry = Any
Document = dict[str, Any]

_ORDERED = ("list", "tuple", "dict")
_MARK = b'"transformation"'
_BLANK: Entry = {"transformation": None}


class UnknownContentError(LookupError):
    """The content of an input is not known."""


def shallow_checksum(
    recipe: bytes, contents: Mapping[str, str], inner: Mapping[str, Identity]
) -> str | None:
    """Return the shallow transformation checksum of a task.

    Parameters
    ----------
    recipe : bytes
        Its recipe document, with deep checksums.
    contents : mapping
        Transformation checksum to result checksum, of the inputs of the task.
    inner : mapping
        Transformation checksum to identity of tasks inside fused ones; some may be inputs as well.

    Returns
    -------
    str or None
        None where the content of an input is not known.
    """

    def named(checksum: str) -> Entry:
        result = contents.get(checksum)
        if result is not None:
            return {"result": result}
        known = inner.get(checksum)
        if known is None or not known.recipe:
            raise UnknownContentError(checksum)
        return {"transformation": _checksum(known.recipe, named)}

    try:
        return _checksum(recipe, named)
    except UnknownContentError:
        return None


def skeleton_checksum(
    recipe: bytes,
    inputs: Container[str],
    inner: Mapping[str, Identity],
    versions: str = "exact",
) -> str | None:
    """Return the checksum of a recipe with blank inputs; None for a task without inputs.

    Parameters
    ----------
    recipe : bytes
        A recipe document.
    inputs : container of str
        Transformation checksums of the inputs of the task.
    inner : mapping
        Transformation checksum to identity of tasks inside fused ones; some may be inputs as well.
    versions : str
        How far versions of installed distributions count, as `check_policy` writes it.
    """
    if _MARK not in recipe:
        return None
    met = False

    def named(checksum: str) -> Entry:
        nonlocal met
        known = None if checksum in inputs else inner.get(checksum)
        if known is not None and known.recipe:
            return {"transformation": _checksum(known.recipe, named)}
        met = True
        return _BLANK

    found = _checksum(recipe, named)
    if not met:
        return None
    installed = _surroundings(tuple(sys.path), versions)
    return hashlib.sha256(f"{found} {installed}".encode()).hexdigest()


@lru_cache(maxsize=16)
def _surroundings(search_path: tuple[str, ...], versions: str) -> str:
    """Return the checksum of what is installed, as far as it counts; editable installs do not."""
    owners = {owner.identity(versions) for owner in (PYTHON, *owners_on(search_path).values())}
    return hashlib.sha256("\n".join(sorted(owners)).encode()).hexdigest()


def _checksum(recipe: bytes, named: Callable[[str], Entry]) -> str:
    document = _renamed(orjson.loads(recipe), named)
    return hashlib.sha256(dump_recipe(document)).hexdigest()


def _renamed(document: Document, named: Callable[[str], Entry]) -> Document:
    args, kwargs = document.get("args"), document.get("kwargs")
    changed = dict(document)
    if type(args) is list:
        changed["args"] = [_entry(entry, named) for entry in args]
    elif args is not None:
        changed["args"] = _entry(args, named)
    if type(kwargs) is dict:
        changed["kwargs"] = {name: _entry(entry, named) for name, entry in kwargs.items()}
    elif kwargs is not None:
        changed["kwargs"] = [[name, _entry(entry, named)] for name, entry in kwargs]
    return changed


def _entry(entry: Entry, named: Callable[[str], Entry]) -> Entry:
    if type(entry) is not dict:
        return entry
    if "transformation" in entry:
        return named(entry["transformation"])
    if "call" in entry:
        return {"call": _renamed(entry["call"], named)}
    for kind in _ORDERED:
        if kind in entry:
            return {kind: [_entry(item, named) for item in entry[kind]]}
    if "set" in entry:
        items = [_entry(item, named) for item in entry["set"]]
        return {"set": sorted(items, key=lambda item: orjson.dumps(item, option=PLAIN))}
    return entry
