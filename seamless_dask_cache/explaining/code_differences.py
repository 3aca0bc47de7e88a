"""What the code of two functions differs in, by the notes on them."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from seamless_dask_cache.explaining.code_notes import DISTRIBUTION, NAME
from seamless_dask_cache.explaining.difference import Difference, changed
from seamless_dask_cache.explaining.value_differences import leaf_differences

_MOST = 50
_ARROW = " -> "

Note = Mapping[str, Any]


def code_differences(
    old: str | None, new: str | None, old_note: Note | None, new_note: Note | None, place: str = ""
) -> list[Difference]:
    """Say what changed between two code checksums.

    Parameters
    ----------
    old, new : str or None
        Two code checksums that differ.
    old_note, new_note : mapping or None
        Their notes, where they are on record.
    place : str
        The argument that the function is, if it is one.

    Returns
    -------
    list of Difference
        At least one.
    """
    prefix = f"{place}: " if place else ""
    if not old_note or not new_note:
        text = f"{prefix}code changed; what changed is not on record"
        return [Difference("code", place, old, new, text)]
    found = list(_Comparison(old_note, new_note, prefix).differences())[:_MOST]
    if found:
        return found
    where = "; the notes are too short to tell where" if _truncated(old_note, new_note) else ""
    return [
        Difference("code", place, old, new, f"{prefix}code of {_quoted(new_note)} changed{where}")
    ]


def _truncated(*notes: Note) -> bool:
    return any(note.get("truncated") for note in notes)


def _quoted(note: Note) -> str:
    return f"`{note.get('name')}`"


class _Comparison:
    """Compares two notes, function by function, with paths that begin below the function."""

    def __init__(self, old: Note, new: Note, prefix: str) -> None:
        self.old, self.new = old, new
        self.prefix = prefix
        self.root = str(next(iter(new.get("parts", {})), ""))
        self.before, self.after = _below(old, "parts"), _below(new, "parts")
        moved = moves(self.before, self.after)
        self.before = _renamed(self.before, moved)
        self.sources = _renamed(_below(old, "sources"), moved), _below(new, "sources")
        self.values = _renamed(_below(old, "values"), moved), _below(new, "values")
        self.same_python = old.get("python") == new.get("python")
        self.touched: set[str] = set()
        self.versions: dict[tuple[str, str], list[str]] = {}

    def differences(self) -> Iterator[Difference]:
        yield from self.python()
        both = [path for path in self.after if path in self.before]
        found = [item for path in both for item in self.within(path)]
        # What changed in a function itself says more than what it refers to.
        yield from sorted(found, key=lambda item: item.kind != "code")
        yield from self.upgrades()
        yield from self.coming_and_going()

    def python(self) -> Iterator[Difference]:
        if not self.same_python:
            old, new = str(self.old.get("python")), str(self.new.get("python"))
            yield changed("version", "python", old, new, f"{self.prefix}Python")

    def within(self, path: str) -> Iterator[Difference]:
        old, new = self.before[path], self.after[path]
        rewritten = old.get("code") != new.get("code")
        if rewritten and (self.same_python or self.text_differs(path)):
            self.touched.add(path)
            yield self.rewritten(path, old.get("code"), new.get("code"))
        for label in dict.fromkeys((*old, *new)):
            if label == "code" or old.get(label) == new.get(label):
                continue
            if label in old and label in new:
                yield from self.part(path, label)
            elif not rewritten:  # else it shows in the code
                self.touched.add(path)
                yield self.coming(path, label, label in new)

    def text_differs(self, path: str) -> bool:
        before, after = (side.get(path, {}) for side in self.sources)
        if "source" in (before.get("form"), after.get("form")):
            return bool(before.get("text") != after.get("text"))
        return False  # another Python has other bytecode

    def rewritten(self, path: str, old: Any, new: Any) -> Difference:
        before, after = (side.get(path, {}) for side in self.sources)
        name, file = self.name(path), after.get("file") or before.get("file")
        where = f" ({file})" if file else ""
        what = f"helper `{name}`{where}" if path else f"`{name}`{where} itself"
        text = f"{self.prefix}code changed: {what}"
        return Difference("code", self.place(path, "code"), old, new, text, _diff(before, after))

    def part(self, path: str, label: str) -> Iterator[Difference]:
        before, after = (side.get(path, {}).get(label, {}) for side in self.values)
        pair = before.get(DISTRIBUTION), after.get(DISTRIBUTION)
        if before.get(NAME) == after.get(NAME) and pair[0] != pair[1]:
            self.versions.setdefault((str(pair[0]), str(pair[1])), []).append(after[NAME])
            return
        self.touched.add(path)
        subject = self.subject(path, label)
        if before.get(NAME) != after.get(NAME):
            old, new = _installed(before), _installed(after)
            yield changed("value", self.place(path, label), old, new, subject)
            return
        leaves = leaf_differences(before, after)
        for step, old, new in leaves:
            name, _, rest = subject.partition(" of ")
            words = f"{name}{step} of {rest}" if rest else f"{subject}{step}"
            yield changed("value", f"{self.place(path, label)}{step}", old, new, words)
        if not leaves:
            yield self.unknown(path, label)

    def unknown(self, path: str, label: str) -> Difference:
        old, new = self.before[path][label], self.after[path][label]
        return Difference(
            "value", self.place(path, label), old, new, f"{self.subject(path, label)} changed"
        )

    def coming(self, path: str, label: str, new: bool) -> Difference:
        leaves = self.values[new].get(path, {}).get(label, {})
        text = leaves.get("") or ", ".join(f"{step}: {item}" for step, item in leaves.items())
        before, after = (None, text or "there") if new else (text or "there", None)
        return changed("value", self.place(path, label), before, after, self.subject(path, label))

    def upgrades(self) -> Iterator[Difference]:
        for (old, new), names in self.versions.items():
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            text = f"{self.prefix}version of what it uses: {old} -> {new} ({names[0]}{more})"
            yield Difference("version", names[0], old, new, text)

    def coming_and_going(self) -> Iterator[Difference]:
        """Name functions that are used now and were not, unless the code above shows it."""
        seen = Counter(_twins((*self.before.items(), *self.after.items())))
        for path in dict.fromkeys((*self.before, *self.after)):
            new = path in self.after
            if (path in self.before) == new or self.is_below_touched(path):
                continue
            (twin,) = _twins([(path, (self.after if new else self.before)[path])])
            if seen[twin] > 1:
                continue  # one function, met as two objects on one of the sides
            self.touched.add(path)
            word = "is used now" if new else "is not used any more"
            text = f"{self.prefix}code changed: `{self.name(path)}` {word}"
            old, name = None if new else self.name(path), self.name(path) if new else None
            yield Difference("code", self.place(path), old, name, text)

    def is_below_touched(self, path: str) -> bool:
        steps = path.split(_ARROW)
        return any(_ARROW.join(steps[:end]) in self.touched for end in range(1, len(steps)))

    def name(self, path: str) -> str:
        return path.rpartition(_ARROW)[2] if path else self.root

    def place(self, path: str, label: str = "") -> str:
        whole = f"{self.root}{path}"
        return f"{self.prefix}{whole}{_ARROW}{label}" if label else f"{self.prefix}{whole}"

    def subject(self, path: str, label: str) -> str:
        if not label:
            return f"{self.prefix}what is in `{self.name(path)}`"
        return f"{self.prefix}{label} of `{self.name(path)}`"


def _installed(leaves: Mapping[str, str]) -> str | None:
    if DISTRIBUTION in leaves:
        return f"{leaves[NAME]} ({leaves[DISTRIBUTION]})"
    return leaves.get("")


def _below(note: Note, kind: str) -> dict[str, Any]:
    """Let the paths begin below the function, whose name may be another."""
    root = str(next(iter(note.get("parts", {})), ""))
    return {path.removeprefix(root): item for path, item in note.get(kind, {}).items()}


def moves(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Find the functions that are met at another path, by their names.

    A path depends on which of several ways to an object is the shortest, and on whether two ways
    lead to one object or to a copy; neither is a difference.

    Parameters
    ----------
    old, new : mapping
        Path to parts.

    Returns
    -------
    dict
        Path in `old` to path in `new`, for paths that only one of the sides has.
    """
    free: dict[str, list[str]] = {}
    for path in new:
        if path not in old:
            free.setdefault(last_name(path), []).append(path)
    found = {}
    for path in old:
        if path not in new and free.get(last_name(path)):
            found[path] = free[last_name(path)].pop(0)
    return found


def last_name(path: str) -> str:
    """Return the name at the end of a path, without the number of equal paths."""
    return path.rpartition(_ARROW)[2].partition(" #")[0]


def _renamed(items: Mapping[str, Any], moved: Mapping[str, str]) -> dict[str, Any]:
    return {moved.get(path, path): item for path, item in items.items()}


def _twins(items: Iterable[tuple[str, Mapping[str, str]]]) -> Iterator[tuple[Any, ...]]:
    for path, parts in items:
        yield last_name(path), *sorted(parts.items())


def _diff(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    if not old or not new or old.get("form") != new.get("form"):
        return ""
    lines = difflib.unified_diff(
        old["text"].splitlines(),
        new["text"].splitlines(),
        f"{old.get('file', '')} (on record)",
        f"{new.get('file', '')} (now)",
        lineterm="",
    )
    return "\n".join(lines)
