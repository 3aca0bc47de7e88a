"""What two values differ in, by the notes on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from seamless_dask_cache.explaining.entries import describe

_MOST = 20

Note = Mapping[str, Any]


def value_differences(
    old: Mapping[str, Any], new: Mapping[str, Any], old_note: Note | None, new_note: Note | None
) -> Iterator[tuple[str, str | None, str | None]]:
    """Compare two values that a recipe names by their checksums.

    Parameters
    ----------
    old, new : mapping
        Entries of recipes, ``{"value": checksum, "type": ...}``.
    old_note, new_note : mapping or None
        Notes of the checksums, where they are on record.

    Yields
    ------
    (str, str or None, str or None)
        Path below the value, and the texts on both sides; None where nothing stands there.
    """
    found = False
    if old_note and new_note and old_note.get("type") == new_note.get("type"):
        for place in leaf_differences(old_note.get("leaves", {}), new_note.get("leaves", {})):
            found = True
            yield place
    if found or (old_note and new_note and _differ(old_note, new_note)):
        return
    before, after = describe(old, lambda _: old_note), describe(new, lambda _: new_note)
    if before == after:
        before, after = (describe(entry) for entry in (old, new))
    yield "", before, after


def leaf_differences(
    old: Mapping[str, str], new: Mapping[str, str]
) -> list[tuple[str, str | None, str | None]]:
    """Compare the leaves of two notes; at most 20 differences, what both have first."""
    old, new = _filled(old, new), _filled(new, old)
    paths = dict.fromkeys((*old, *new))
    found = [
        (path, old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)
    ]
    found.sort(key=lambda item: item[1] is None or item[2] is None)
    return found[:_MOST]


def _filled(leaves: Mapping[str, str], other: Mapping[str, str]) -> Mapping[str, str]:
    """Leave an empty container out that has something in it on the other side."""
    empty = len(leaves) == 1 and leaves.get("") in ("{}", "[]", "()", "set()")
    return {} if empty and "" not in other else leaves


def _differ(old: Note, new: Note) -> bool:
    """Tell whether functions in the values differ, which explains enough."""
    before, after = old.get("codes", {}), new.get("codes", {})
    return any(before[path] != after[path] for path in before.keys() & after.keys())
