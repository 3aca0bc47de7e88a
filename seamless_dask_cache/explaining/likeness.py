"""How much two recipes have in common, with everything upstream of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import orjson

from seamless_dask_cache.explaining.entries import (
    arguments_of,
    container_of,
    fields_of,
    kind_of,
    steps_of,
)

DEEPEST = 4
MOST_FACTS = 300
_FOLLOWED = (4, 2, 1, 1)
_WEIGHT_OF_FUNCTION = 8
_BEGINNING = 40

Recipe = Mapping[str, Any]
FetchRecipe = Callable[[str], "Recipe | None"]
FetchNote = Callable[[str], "Mapping[str, Any] | None"]
Named = TypeVar("Named", bound="tuple[Any, ...]")


class Likeness:
    """Counts what recipes have in common; remembers what it has read.

    Parameters
    ----------
    fetch_recipe : callable
        Gives the recipe of a transformation checksum, or None.
    fetch_note : callable
        Gives the note of a checksum, or None.

    Notes
    -----
    Tasks of one function over the partitions of a collection have recipes that differ by the
    checksum of an input only. What tells the partitions apart stands further up, so inputs are
    followed: level by level, few of each task, and only as far as it takes.
    """

    def __init__(self, fetch_recipe: FetchRecipe, fetch_note: FetchNote) -> None:
        self.fetch_recipe = fetch_recipe
        self.fetch_note = fetch_note
        self.numbers: dict[tuple[Any, ...], int] = {}
        self.known: dict[tuple[str, int], frozenset[int]] = {}

    def most_alike(self, recipe: Recipe, candidates: Sequence[Named]) -> Named:
        """Choose, of some recipes, the one that is most like another; of several the first.

        Parameters
        ----------
        recipe : mapping
            What is compared.
        candidates : sequence of tuple
            At least one; of each, the first item is its checksum and the second its recipe.
        """
        left = list(candidates)
        for depth in range(DEEPEST + 1):
            if len(left) == 1:
                break
            facts = frozenset(self._numbered(recipe, depth))
            common = [len(facts & self._facts(item[0], item[1], depth)) for item in left]
            most = max(common)
            left = [item for item, count in zip(left, common, strict=True) if count == most]
        return left[0]

    def _facts(self, checksum: str, recipe: Recipe, depth: int) -> frozenset[int]:
        name = (checksum, depth)
        if name not in self.known:
            self.known[name] = frozenset(self._numbered(recipe, depth))
        return self.known[name]

    def _numbered(self, recipe: Recipe, depth: int) -> Iterator[int]:
        for number, fact in enumerate(self._said(recipe, "", depth, 0)):
            if number >= MOST_FACTS:
                return
            yield self.numbers.setdefault(fact, len(self.numbers))

    def _said(self, recipe: Recipe, path: str, depth: int, level: int) -> Iterator[tuple[Any, ...]]:
        # Results of another function have little to do with these, whatever they are made from.
        for copy in range(_WEIGHT_OF_FUNCTION):
            yield path, "function", copy, recipe.get("function")
        yield path, "code", recipe.get("code")
        for file, state in (recipe.get("files") or {}).items():
            yield path, "file", file
            yield path, "file", file, state
        for name in fields_of(recipe):
            yield path, name, _text(recipe[name])
        inputs: list[tuple[str, str]] = []
        for name, entry in arguments_of(recipe).items():
            yield from self._entry(entry, f"{path}.{name}", inputs)
        if depth > level:
            for place, checksum in inputs[: _FOLLOWED[level]]:
                upstream = self.fetch_recipe(checksum)
                if upstream is not None:
                    yield from self._said(upstream, place, depth, level + 1)

    def _entry(
        self, entry: Any, path: str, inputs: list[tuple[str, str]]
    ) -> Iterator[tuple[Any, ...]]:
        kind = kind_of(entry)
        if kind == "transformation":
            inputs.append((path, entry[kind]))
            yield path, entry[kind]
        elif kind == "value":
            yield path, entry[kind]
            yield from self._leaves(entry[kind], path)
        elif kind == "call":
            yield from self._call(entry[kind], path, inputs)
        elif kind == "container":
            yield path, container_of(entry)
            for step, item in steps_of(entry).items():
                yield from self._entry(item, f"{path}{step}", inputs)
        else:
            yield path, _text(entry)

    def _leaves(self, checksum: str, path: str) -> Iterator[tuple[Any, ...]]:
        for step, text in ((self.fetch_note(checksum) or {}).get("leaves") or {}).items():
            # Arrays that differ further down begin with the same values.
            yield path, step, text[:_BEGINNING]
            yield path, step, text

    def _call(
        self, recipe: Recipe, path: str, inputs: list[tuple[str, str]]
    ) -> Iterator[tuple[Any, ...]]:
        yield path, "function", recipe.get("function")
        yield path, "code", recipe.get("code")
        for name, entry in arguments_of(recipe).items():
            yield from self._entry(entry, f"{path}.{name}", inputs)


def _text(entry: Any) -> bytes:
    return orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
