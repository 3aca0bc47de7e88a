"""What two recipes differ in: from the changed argument down to the line of the changed helper.

An input that another task makes is named by that task's transformation checksum; where both sides
are on record, they are compared in their turn, so that a change is named where it was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from seamless_dask_cache.explaining.code_differences import code_differences
from seamless_dask_cache.explaining.difference import Difference, changed
from seamless_dask_cache.explaining.entries import (
    ORDER,
    aligned,
    arguments_of,
    container_of,
    describe,
    fields_of,
    kind_of,
)
from seamless_dask_cache.explaining.texts import quoted, unless_secret
from seamless_dask_cache.explaining.value_differences import value_differences

MAX_PAIRS = 200
MAX_DIFFERENCES = 200

Recipe = Mapping[str, Any]
FetchRecipe = Callable[[str], "Recipe | None"]
FetchNote = Callable[[str], "Mapping[str, Any] | None"]


def compare(
    old: Recipe,
    new: Recipe,
    fetch_recipe: FetchRecipe,
    fetch_note: FetchNote,
    *,
    name_of: Callable[[str], str | None] | None = None,
) -> list[Difference]:
    """Say what two recipes differ in.

    Parameters
    ----------
    old, new : mapping
        Two recipe documents.
    fetch_recipe : callable
        Gives the recipe of a transformation checksum, or None.
    fetch_note : callable
        Gives the note of a checksum of code or of a value, or None.
    name_of : callable, optional
        Gives a better name than its function's for the task of a transformation checksum.

    Returns
    -------
    list of Difference
        What is nearest to the recipe itself first; each thing once, however many tasks it reaches.
        At most 200 pairs of recipes are compared.
    """
    comparison = _Comparison(fetch_recipe, fetch_note, name_of or (lambda checksum: None))
    return list(comparison.differences(old, new))


@dataclass(frozen=True)
class _Pair:
    """Two recipes whose turn comes, and the tasks that lead to them."""

    old: Recipe
    new: Recipe
    tasks: tuple[str, ...]


class _Comparison:
    """Compares pairs of recipes breadth first, each pair once."""

    def __init__(
        self, fetch_recipe: FetchRecipe, fetch_note: FetchNote, name_of: Callable[[str], str | None]
    ) -> None:
        self.fetch_recipe = fetch_recipe
        self.fetch_note = fetch_note
        self.name_of = name_of
        self.pairs: set[tuple[str, str]] = set()
        self.said: set[tuple[Any, ...]] = set()
        self.waiting: list[_Pair] = []

    def differences(self, old: Recipe, new: Recipe) -> Iterator[Difference]:
        self.waiting.append(_Pair(old, new, ()))
        found = 0
        while self.waiting:
            pair = self.waiting.pop(0)
            for difference in self.recipe(pair.old, pair.new, "", pair.tasks):
                fact = (difference.kind, difference.path, difference.old, difference.new)
                if fact not in self.said and found < MAX_DIFFERENCES:
                    self.said.add(fact)
                    found += 1
                    yield replace(difference, tasks=pair.tasks)

    def recipe(
        self, old: Recipe, new: Recipe, path: str, tasks: tuple[str, ...]
    ) -> Iterator[Difference]:
        if old.get("function") != new.get("function"):
            yield changed("function", path, old.get("function"), new.get("function"), "function")
        yield from self.code(old.get("code"), new.get("code"), path)
        before, after = arguments_of(old), arguments_of(new)
        if before.keys() != after.keys():
            before.pop(ORDER, None)
            after.pop(ORDER, None)
        for name in dict.fromkeys((*before, *after)):
            place = f"{path}.{name}" if path else name
            yield from self.entry(before.get(name, _GONE), after.get(name, _GONE), place, tasks)
        yield from _files(old.get("files") or {}, new.get("files") or {})
        yield from _fields(old, new, path)

    def code(self, old: Any, new: Any, path: str) -> Iterator[Difference]:
        if old == new:
            return
        notes = [None if item is None else self.fetch_note(item) for item in (old, new)]
        yield from code_differences(old, new, notes[0], notes[1], path)

    def entry(self, old: Any, new: Any, path: str, tasks: tuple[str, ...]) -> Iterator[Difference]:
        if old == new and type(old) is type(new):
            return
        kind = kind_of(old)
        if old is _GONE or new is _GONE or kind != kind_of(new):
            yield self.argument(old, new, path)
        elif kind == "transformation":
            yield from self.input(old[kind], new[kind], path, tasks)
        elif kind == "value":
            yield from self.value(old, new, path)
        elif kind == "code":
            yield from self.code(old[kind], new[kind], path)
        elif kind == "call":
            yield from self.recipe(old[kind], new[kind], path, tasks)
        elif kind == "container" and container_of(old) == container_of(new):
            for step, before, after in aligned(old, new, _GONE):
                yield from self.entry(before, after, f"{path}{step}", tasks)
        else:
            yield self.argument(old, new, path)

    def argument(self, old: Any, new: Any, path: str) -> Difference:
        before, after = (
            None if item is _GONE else unless_secret(path, describe(item, self.fetch_note))
            for item in (old, new)
        )
        return changed("argument", path, before, after, path)

    def value(self, old: Any, new: Any, path: str) -> Iterator[Difference]:
        notes = [self.fetch_note(item["value"]) for item in (old, new)]
        for place, before, after in value_differences(old, new, notes[0], notes[1]):
            full = f"{path}{place}"
            texts = [text and unless_secret(full, text) for text in (before, after)]
            yield changed("argument", full, texts[0], texts[1], full)
        codes = [(note or {}).get("codes", {}) for note in notes]
        for place in codes[0].keys() & codes[1].keys():
            yield from self.code(codes[0][place], codes[1][place], f"{path}{place}")

    def input(self, old: str, new: str, path: str, tasks: tuple[str, ...]) -> Iterator[Difference]:
        if (old, new) in self.pairs:
            return
        self.pairs.add((old, new))
        if len(self.pairs) > MAX_PAIRS:
            if len(self.pairs) == MAX_PAIRS + 1:
                yield Difference("input", path, old, new, "more tasks differ than are compared")
            return
        before, after = self.fetch_recipe(old), self.fetch_recipe(new)
        name = str(self.name_of(new) or (after or before or {}).get("function") or new[:12])
        if before is None or after is None:
            text = f"{path} is another result of {quoted(name)}, whose recipe is not on record"
            yield Difference("input", path, old, new, text)
        else:
            self.waiting.append(_Pair(before, after, (*tasks, name)))


class _Gone:
    """Stands for an argument that is not there."""


_GONE: Any = _Gone()


def _files(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Difference]:
    for path in dict.fromkeys((*old, *new)):
        before, after = old.get(path), new.get(path)
        if before == after:
            continue
        if before is None:
            text = f"file '{path}' is an input now"
        elif after is None:
            text = f"file '{path}' is no input any more"
        else:
            text = f"file '{path}' changed"
        yield Difference("files", path, before, after, text)


def _fields(old: Recipe, new: Recipe, path: str) -> Iterator[Difference]:
    for name in fields_of(old, new):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        place = f"{path}.{name}" if path else name
        texts = [None if item is None else describe(item) for item in (before, after)]
        if name == "producer":
            text = f"what Dask reads changed: {texts[0]} -> {texts[1]}"
            yield Difference("producer", place, texts[0], texts[1], text)
        else:
            kind = "version" if name == "version" else "field"
            yield changed(kind, place, texts[0], texts[1], _WORDS.get(name, f"field {name!r}"))


_WORDS = {
    "version": "the version given to cached()",
    "recipe": "the form of recipes",
}
