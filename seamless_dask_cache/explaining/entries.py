"""The entries of a recipe: reading them, putting two side by side, naming one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from seamless_dask_cache.explaining.texts import clean, short_text, shortened, unless_secret

_CONTAINERS = ("list", "tuple", "set", "dict")
_COMPARED = frozenset({"function", "code", "args", "kwargs", "files"})
ORDER = "order of keywords"
_BRACKETS = {"list": "[]", "tuple": "()", "set": "{}"}
_SHOWN = 12
_MOST_ITEMS = 20
_LONGEST = 200


def parse_recipe(text: str | bytes | None) -> dict[str, Any] | None:
    """Read a recipe; None for anything that is none."""
    try:
        document = orjson.loads(text or b"")
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def kind_of(entry: Any) -> str:
    """Name the kind of an entry.

    Returns
    -------
    str
        "transformation", "value", "code", "call", "container" or "literal".
    """
    if isinstance(entry, dict):
        for kind in ("transformation", "value", "code"):
            if isinstance(entry.get(kind), str):
                return kind
        if isinstance(entry.get("call"), dict):
            return "call"
        if container_of(entry):
            return "container"
    return "literal"


def arguments_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a recipe by the names under which people know them.

    Returns
    -------
    dict
        ``args[0]``, ``args[1]``, ... and the names of keyword arguments.
    """
    args = recipe.get("args")
    found: dict[str, Any] = {}
    if isinstance(args, list):
        found = {f"args[{position}]": item for position, item in enumerate(args)}
    elif args is not None:
        found = {"args": args}
    return found | dict(_keywords(recipe))


def _keywords(recipe: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    kwargs = recipe.get("kwargs")
    if isinstance(kwargs, dict):
        yield from kwargs.items()
    elif isinstance(kwargs, list):  # the callee sees their order
        yield from ((name, item) for name, item in kwargs)
        yield ORDER, [name for name, _ in kwargs]


def fields_of(*recipes: Mapping[str, Any]) -> list[str]:
    """List what else stands in some recipes."""
    return [name for name in dict.fromkeys(n for r in recipes for n in r) if name not in _COMPARED]


def aligned(old: Any, new: Any, gone: Any) -> Iterator[tuple[str, Any, Any]]:
    """Put the items of two containers side by side.

    Parameters
    ----------
    old, new : dict
        Entries of the kind "container".
    gone : object
        Stands for an item that one of them does not have.

    Yields
    ------
    (str, entry, entry)
        Path below the container, and the two items.
    """
    before, after = steps_of(old), steps_of(new)
    for step in dict.fromkeys((*before, *after)):
        yield step, before.get(step, gone), after.get(step, gone)


def container_of(entry: Any) -> str:
    """Name the container that an entry stands for: "list", "tuple", "set" or "dict"."""
    return next((name for name in _CONTAINERS if isinstance(entry.get(name), list)), "")


def steps_of(entry: Any) -> dict[str, Any]:
    """Return the items of a container by the steps that lead to them, such as ``[3]``."""
    name = container_of(entry)
    items = entry[name]
    if name == "dict":
        pairs = zip(items[::2], items[1::2], strict=False)
        return {f"[{describe(key)}]": item for key, item in pairs}
    return {f"[{position}]": item for position, item in enumerate(items)}


def describe(
    entry: Any,
    fetch_note: Callable[[str], Mapping[str, Any] | None] = lambda checksum: None,
    name_of: Callable[[str], str | None] = lambda checksum: None,
) -> str:
    """Write an entry down for people.

    Parameters
    ----------
    entry : object
        An entry of a recipe.
    fetch_note : callable, optional
        Gives the note of a checksum, or None.
    name_of : callable, optional
        Gives the name of the task of a transformation checksum, or None.
    """
    kind = kind_of(entry)
    if kind == "transformation":
        name = name_of(entry[kind])
        return f"<result of {name or 'task ' + entry[kind][:_SHOWN]}>"
    if kind == "value":
        return _value(entry, fetch_note(entry[kind]))
    if kind == "code":
        return f"<function {entry.get('function', '')}>"
    if kind == "call":
        return f"<call of {entry[kind].get('function', '')}>"
    if kind == "container":
        return _container(entry, fetch_note, name_of)
    return _literal(entry)


def _value(entry: Any, note: Mapping[str, Any] | None) -> str:
    leaves = (note or {}).get("leaves") or {}
    if list(leaves) == [""]:
        return str(leaves[""])
    kind = (note or {}).get("type") or entry.get("type") or "value"
    kind = str(kind).removeprefix("builtins.")
    if not leaves:
        return f"<{kind} {entry['value'][:_SHOWN]}>"
    inner = ", ".join(f"{path}: {text}" for path, text in leaves.items())
    return shortened(f"<{kind} with {inner}>", _LONGEST)


def _container(entry: Any, fetch_note: Any, name_of: Any) -> str:
    items = list(steps_of(entry).items())[:_MOST_ITEMS]
    texts = [(step, describe(item, fetch_note, name_of)) for step, item in items]
    if container_of(entry) == "dict":
        shown = ((step[1:-1], unless_secret(step, text)) for step, text in texts)
        inner = ", ".join(f"{name}: {text}" for name, text in shown)
        return shortened(f"{{{inner}}}", _LONGEST)
    brackets = _BRACKETS[container_of(entry)]
    inner = ", ".join(text for _, text in texts)
    return shortened(f"{brackets[0]}{inner}{brackets[1]}", _LONGEST)


def _literal(entry: Any) -> str:
    if isinstance(entry, dict) and len(entry) == 1:
        kind, text = next(iter(entry.items()))
        if kind == "float" and isinstance(text, str):
            return repr(float.fromhex(text))
        if kind == "slice" and isinstance(text, list):
            return f"slice({', '.join(map(_literal, text))})"
        if kind == "int" and isinstance(text, str):
            return shortened(text, _LONGEST)
        if kind == "str" and isinstance(text, str):
            return clean(repr(bytes.fromhex(text).decode("utf-8", "surrogatepass")))
    return short_text(entry)
