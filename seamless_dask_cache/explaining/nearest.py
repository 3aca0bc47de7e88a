"""The earlier recipe that is most like a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from seamless_dask_cache.explaining.entries import arguments_of, fields_of, kind_of, parse_recipe

MAX_TIES = 64

FetchNote = Callable[[str], "Mapping[str, Any] | None"]
Facts = frozenset[tuple[str, bytes]]


class Recorded(NamedTuple):
    """A recipe as a database has it on record.

    Attributes
    ----------
    checksum : str
        Transformation checksum.
    recipe : dict
        The document.
    facts : frozenset
        Everything that it says, for counting what two recipes have in common.
    created : float or None
        When it was recorded, in seconds since 1970.
    result : str or None
        Result checksum; None where no result is stored.
    """

    checksum: str
    recipe: dict[str, Any]
    facts: Facts
    created: float | None
    result: str | None


def recorded(rows: Iterable[Mapping[str, Any]]) -> list[Recorded]:
    """Read the rows in which a database answers; what is no recipe is left out."""
    found = []
    for row in rows:
        recipe = parse_recipe(row.get("recipe"))
        if recipe is not None:
            result = row.get("result")
            found.append(
                Recorded(row["checksum"], recipe, facts_of(recipe), row.get("created"), result)
            )
    return found


def facts_of(recipe: Mapping[str, Any]) -> Facts:
    """List what a recipe says: its code, each argument, each file, each other field."""
    named = {"function": recipe.get("function"), "code": recipe.get("code")}
    named |= {f"argument {name}": entry for name, entry in arguments_of(recipe).items()}
    named |= {f"file {path}": state for path, state in (recipe.get("files") or {}).items()}
    named |= {f"field {name}": recipe[name] for name in fields_of(recipe)}
    return frozenset((n, orjson.dumps(e, option=orjson.OPT_SORT_KEYS)) for n, e in named.items())


def nearest(
    recipe: Mapping[str, Any],
    candidates: Iterable[Recorded],
    fetch_note: FetchNote = lambda checksum: None,
) -> Recorded | None:
    """Choose the recipe that differs least.

    Parameters
    ----------
    recipe : mapping
        The new recipe.
    candidates : iterable of Recorded
        Newest first.
    fetch_note : callable, optional
        Gives the note of a checksum, or None; for telling the partitions of a frame apart.

    Returns
    -------
    Recorded or None
        Of those with the fewest differences the one whose values are most alike, the newest of
        these; None without candidates.
    """
    facts = facts_of(recipe)
    distances = [(len(facts ^ candidate.facts), candidate) for candidate in candidates]
    least = min((distance for distance, _ in distances), default=0)
    ties = [candidate for distance, candidate in distances if distance == least][:MAX_TIES]
    if len(ties) < 2:
        return ties[0] if ties else None
    return max(ties, key=lambda candidate: _likeness(recipe, candidate.recipe, fetch_note))


def _likeness(recipe: Mapping[str, Any], other: Mapping[str, Any], fetch_note: FetchNote) -> int:
    """Count the parts that values have in common which stand in the same place and differ."""
    mine, found = arguments_of(recipe), arguments_of(other)
    alike = 0
    for name in mine.keys() & found.keys():
        entries = (mine[name], found[name])
        if entries[0] == entries[1] or any(kind_of(entry) != "value" for entry in entries):
            continue
        first, second = ((fetch_note(e["value"]) or {}).get("leaves", {}) for e in entries)
        alike += len(first.items() & second.items())
    return alike
