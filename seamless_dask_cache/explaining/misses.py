"""Why a task is a miss: the nearest earlier recipe, and what differs from it."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from seamless_dask_cache.explaining.difference import Difference
from seamless_dask_cache.explaining.differences import FetchNote, FetchRecipe, Recipe, compare
from seamless_dask_cache.explaining.likeness import Likeness
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
    likeness: Likeness | None = None,
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
    likeness : Likeness, optional
        One for the misses of a graph, which have inputs in common.
    """
    for candidate in candidates:
        if candidate.checksum == checksum:
            return Miss(NOT_STORED if candidate.result is None else NOT_SERVED, [])
    best = nearest(recipe, candidates, fetch_note, fetch_recipe, likeness=likeness)
    if best is None:
        return Miss(f"no earlier call of `{recipe.get('function')}` is on record", [])
    followed: FetchRecipe = lambda name: None if name in misses else fetch_recipe(name)  # noqa: E731
    found = compare(best.recipe, recipe, followed, fetch_note, name_of=name_of)
    upstream = [d for d in found if d.kind == "input" and d.new is not None and d.new in misses]
    own = [difference for difference in found if difference not in upstream]
    other = next((d for d in own if d.kind == "function" and len(d.tasks) == 1), None)
    if other is not None and not upstream:
        # Whatever else differs upstream of two different functions explains nothing.
        inputs = f"a result of `{other.new}`"
        return Miss(
            f"no earlier call of `{recipe.get('function')}` on {inputs} is on record", [other]
        )
    if own or not upstream:
        return Miss(_reason(own), own)
    name = upstream[0].new or ""
    shown = (name_of and name_of(name)) or name[:12]
    more = f" (and {len(upstream) - 1} more)" if len(upstream) > 1 else ""
    return Miss(f"because its input {quoted(shown)} is a miss{more}", [], name)


def _reason(differences: list[Difference]) -> str:
    if not differences:
        return "its recipe differs from every earlier one"
    # That a file changed explains its size and its stamps among the arguments.
    ordered = sorted(differences, key=lambda difference: difference.kind != "files")
    lines = [difference.line for difference in ordered[:_SAID]]
    if len(differences) > _SAID:
        lines.append(f"and {len(differences) - _SAID} more")
    return shortened("; ".join(lines), _LONGEST_REASON)


def with_files_of_siblings(found: Mapping[str, Miss]) -> dict[str, Miss]:
    """Name the changed file where Dask reads several, also for the parts of the other files.

    Parameters
    ----------
    found : mapping
        Transformation checksum to miss.
    """
    files: dict[tuple[str | None, str | None], Difference] = {}
    for miss in found.values():
        changed = [item for item in miss.differences if item.kind == "files" and not item.tasks]
        for source in _producers(miss):
            if changed:
                files.setdefault((source.old, source.new), changed[0])
    return {name: _with_file(miss, files) for name, miss in found.items()}


def _producers(miss: Miss) -> list[Difference]:
    return [item for item in miss.differences if item.kind == "producer" and not item.tasks]


def _with_file(miss: Miss, files: Mapping[tuple[str | None, str | None], Difference]) -> Miss:
    if any(item.kind == "files" for item in miss.differences):
        return miss
    named = [files[d.old, d.new] for d in _producers(miss) if (d.old, d.new) in files]
    if not named:
        return miss
    other = replace(named[0], text=f"{named[0].text} (in another partition)")
    differences = [other, *miss.differences]
    return Miss(_reason(differences), differences, miss.upstream)


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
