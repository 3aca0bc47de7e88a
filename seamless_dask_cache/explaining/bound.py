"""The function of a bound method, within the note on the method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seamless_dask_cache.explaining.code_differences import last_name

_KINDS = ("parts", "sources", "values")

Note = Mapping[str, Any]


def function_within(note: Note, plain: Note) -> Note | None:
    """Cut the note on a function out of the note on a method that binds it to an object.

    Parameters
    ----------
    note : mapping
        Perhaps of a bound method.
    plain : mapping
        Of a function.

    Returns
    -------
    mapping or None
        As the note on the function itself would be; None where `note` is of no method of that
        name.
    """
    name = str(plain.get("name"))
    root = f"{name} -> {name}"
    if note.get("name") != name or root not in note.get("parts", {}):
        return None
    # What the class reaches by a shorter way stands below the class.
    wanted = {last_name(path) for path in plain.get("parts", {})}
    wanted -= {last_name(path) for path in note["parts"] if _is_below(path, root)}
    cut = {kind: _cut(note.get(kind, {}), root, name, wanted) for kind in _KINDS}
    return {**note, **cut}


def is_same(note: Note, plain: Note) -> bool:
    """Tell whether two notes say the same of what a function consists of."""
    mine, other = _parts(note), _parts(plain)
    return bool(other) and other == mine and not (note.get("truncated") or plain.get("truncated"))


def _parts(note: Note) -> set[tuple[Any, ...]]:
    items = note.get("parts", {}).items()
    return {(last_name(path), *sorted(parts.items())) for path, parts in items}


def _cut(items: Mapping[str, Any], root: str, name: str, wanted: set[str]) -> dict[str, Any]:
    found = {}
    for path, item in items.items():
        if _is_below(path, root):
            found[f"{name}{path[len(root) :]}"] = item
        elif last_name(path) in wanted:
            found.setdefault(path, item)
    return found


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root} -> ")
