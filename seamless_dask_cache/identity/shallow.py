"""Shallow checksums: transformations whose inputs are named by their content.

A deep checksum names the inputs of a task by the transformations that make them, and is known for
a whole graph before anything runs. A shallow one names them by what they are, so it is known only
once they exist; but it is the same however they were made. It is the checksum of the recipe with
``{"result": checksum}`` in the place of ``{"transformation": checksum}``.

The *skeleton* of a recipe leaves its inputs blank: all shallow recipes of one call share it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from seamless_dask_cache.identity.recipe import PLAIN, Identity, dump_recipe

Entry = Any
Document = dict[str, Any]

_ORDERED = ("list", "tuple", "dict")
_MARK = b'"transformation"'
_BLANK: Entry = {"transformation": None}


class UnknownContentError(LookupError):
    """The content of an input is not known."""


def input_checksums(recipe: bytes, inner: Mapping[str, Identity]) -> set[str]:
    """Return the deep checksums of the inputs that other tasks make.

    Parameters
    ----------
    recipe : bytes
        A recipe document.
    inner : mapping
        Transformation checksum to identity of tasks inside fused ones, which are no inputs.
    """
    return set(_inputs(orjson.loads(recipe), inner))


def shallow_checksum(
    recipe: bytes, content: Callable[[str], str | None], inner: Mapping[str, Identity]
) -> str | None:
    """Return the shallow transformation checksum of a task.

    Parameters
    ----------
    recipe : bytes
        Its recipe document, with deep checksums.
    content : callable
        Gives the result checksum of a transformation, or None where it is not known.
    inner : mapping
        Transformation checksum to identity of tasks inside fused ones.

    Returns
    -------
    str or None
        None where the content of an input is not known.
    """

    def named(checksum: str) -> Entry:
        known = inner.get(checksum)
        if known is not None and known.recipe:
            return {"transformation": _checksum(known.recipe, named)}
        result = content(checksum)
        if result is None:
            raise UnknownContentError(checksum)
        return {"result": result}

    try:
        return _checksum(recipe, named)
    except UnknownContentError:
        return None


def skeleton_checksum(recipe: bytes, inner: Mapping[str, Identity]) -> str | None:
    """Return the checksum of a recipe with blank inputs; None for a task without inputs.

    Parameters
    ----------
    recipe : bytes
        A recipe document.
    inner : mapping
        Transformation checksum to identity of tasks inside fused ones.
    """
    if _MARK not in recipe:
        return None
    met = False

    def named(checksum: str) -> Entry:
        nonlocal met
        known = inner.get(checksum)
        if known is not None and known.recipe:
            return {"transformation": _checksum(known.recipe, named)}
        met = True
        return _BLANK

    found = _checksum(recipe, named)
    return found if met else None


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


def _inputs(document: Document, inner: Mapping[str, Identity]) -> Iterator[str]:
    for part in _documents(document, inner):
        for checksum in _references(part):
            if checksum not in inner:
                yield checksum


def _documents(document: Document, inner: Mapping[str, Identity]) -> Iterator[Document]:
    """Yield a document, those of nested calls, and those of what is inside of a fused task."""
    yield document
    for call in _calls(document):
        yield from _documents(call, inner)
    for checksum in _references(document):
        known = inner.get(checksum)
        if known is not None and known.recipe:
            yield from _documents(orjson.loads(known.recipe), inner)


def _references(document: Document) -> Iterator[str]:
    return (entry["transformation"] for entry in _flat(document) if "transformation" in entry)


def _calls(document: Document) -> Iterator[Document]:
    return (entry["call"] for entry in _flat(document) if "call" in entry)


def _flat(document: Document) -> Iterator[dict[str, Any]]:
    """Yield the entries of a document that are objects, down through its containers."""
    args, kwargs = document.get("args"), document.get("kwargs")
    stack = list(args) if type(args) is list else [args]
    if type(kwargs) is dict:
        stack += kwargs.values()
    elif kwargs is not None:
        stack += [entry for _, entry in kwargs]
    while stack:
        entry = stack.pop()
        if type(entry) is dict:
            yield entry
            for kind in (*_ORDERED, "set"):
                if kind in entry:
                    stack += entry[kind]
