"""Why a task is a miss: the nearest earlier recipe, and what differs from it."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, NamedTuple

from seamless_dask_cache.explaining.difference import Difference
from seamless_dask_cache.explaining.differences import FetchNote, FetchRecipe, Recipe, compare
from seamless_dask_cache.explaining.nearest import Recorded, nearest
from seamless_dask_cache.explaining.texts import quoted, shortened

NOT_STORED = "it was computed before, and its result was not stored"
NOT_SERVED = "a result is on record, and cannot be served: it is too old, or its buffer is gone"
_SAID = 2
_LONGEST_REASON = 400


class Miss(NamedTuple):
    """Why one task is a miss.

    Attributes
    ----------
    reason : str
        One line.
    differences : list of Difference
        From the nearest earlier recipe; none where nothing like it is on record.
    upstream : str or None
        The transformation checksum of an input that is a miss itself, where that is all there is
        to say.
    """

    reason: str
    differences: list[Difference]
    upstream: str | None = None


def explain_miss(
    checksum: str,
    recipe: Recipe,
    candidates: Sequence[Recorded],
    fetch_recipe: FetchRecipe,
    fetch_note: FetchNote,
    *,
    misses: Container[str] = (),
    name_of: Callable[[str], str | None] | None = None,
) -> Miss:
    """Say why a task is a miss.

    Parameters
    ----------
    checksum, recipe : str, mapping
        Its transformation checksum and its recipe.
    candidates : sequence of Recorded
        Recipes of the same function, newest first.
    fetch_recipe, fetch_note, name_of : callable
        As for `compare`.
    misses : container of str
        Transformation checksums that are explained by themselves; they are not followed.
    """
    for candidate in candidates:
        if candidate.checksum == checksum:
            return Miss(NOT_STORED if candidate.result is None else NOT_SERVED, [])
    best = nearest(recipe, candidates, fetch_note)
    if best is None:
        return Miss(f"no earlier call of `{recipe.get('function')}` is on record", [])
    followed: FetchRecipe = lambda name: None if name in misses else fetch_recipe(name)  # noqa: E731
    found = compare(best.recipe, recipe, followed, fetch_note, name_of=name_of)
    upstream = [d for d in found if d.kind == "input" and d.new is not None and d.new in misses]
    own = [difference for difference in found if difference not in upstream]
    if own or not upstream:
        return Miss(_reason(own), own)
    name = upstream[0].new or ""
    shown = (name_of and name_of(name)) or name[:12]
    more = f" (and {len(upstream) - 1} more)" if len(upstream) > 1 else ""
    return Miss(f"because its input {quoted(shown)} is a miss{more}", [], name)


def _reason(differences: list[Difference]) -> str:
    if not differences:
        return "its recipe differs from every earlier one"
    lines = [difference.line for difference in differences[:_SAID]]
    if len(differences) > _SAID:
        lines.append(f"and {len(differences) - _SAID} more")
    return shortened("; ".join(lines), _LONGEST_REASON)


def origins(upstream: Mapping[str, str | None], order: Sequence[str]) -> dict[str, str]:
    """Find, for tasks that are misses because of an input, the task where that began.

    Parameters
    ----------
    upstream : mapping
        Transformation checksum to that of the input, or None.
    order : sequence of str
        The keys of `upstream`, inputs first.
    """
    found: dict[str, str] = {}
    for name in order:
        source = upstream[name]
        if source is not None:
            found[name] = found.get(source, source)
    return found


def describe_row(miss: Miss) -> dict[str, Any]:
    """Return what a miss adds to the row of a task, fit for a message."""
    return {
        "reason": miss.reason,
        "differences": [difference.to_dict() for difference in miss.differences],
    }
