"""The earlier recipe that is most like a new one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from seamless_dask_cache.explaining.entries import arguments_of, fields_of, parse_recipe
from seamless_dask_cache.explaining.likeness import FetchNote, FetchRecipe, Likeness

MAX_TIES = 200

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
    fetch_recipe: FetchRecipe = lambda checksum: None,
    *,
    likeness: Likeness | None = None,
) -> Recorded | None:
    """Choose the recipe that differs least.

    Parameters
    ----------
    recipe : mapping
        The new recipe.
    candidates : iterable of Recorded
        Newest first.
    fetch_note, fetch_recipe : callable, optional
        Give the note of a checksum and the recipe of a transformation checksum, or None; for
        telling the partitions of a collection apart.
    likeness : Likeness, optional
        One for many recipes, instead of one that is made of the former two.

    Returns
    -------
    Recorded or None
        Of those with the fewest differences the one that is most alike with what is upstream of
        it, the newest of these; None without candidates.
    """
    facts = facts_of(recipe)
    distances = [(len(facts ^ candidate.facts), candidate) for candidate in candidates]
    least = min((distance for distance, _ in distances), default=0)
    ties = [candidate for distance, candidate in distances if distance == least][:MAX_TIES]
    if len(ties) < 2:
        return ties[0] if ties else None
    return (likeness or Likeness(fetch_recipe, fetch_note)).most_alike(recipe, ties)
