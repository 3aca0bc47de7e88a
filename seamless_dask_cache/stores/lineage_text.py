"""A lineage as text."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seamless_dask_cache.stores.lineage import Ancestor, Lineage

DEEPEST = 20
"""Branches within branches; what lies deeper gets a tree of its own, so that lines stay short."""


def tree(lineage: Lineage) -> str:
    """Return a lineage as lines of text.

    Parameters
    ----------
    lineage : Lineage

    Returns
    -------
    str
        One or more trees with an empty line between them. An ancestor that stands somewhere else
        is named with the start of its id, and marked as above or below.

    Examples
    --------
    >>> from seamless_dask_cache.stores.lineage import Ancestor, Lineage
    >>> print(tree(Lineage("1", {"1": Ancestor("1", "?")})))
    ? [1] (not in the store)
    """
    drawing = _Drawing(lineage)
    return "\n\n".join("\n".join(drawing.lines(root)) for root in drawing.roots())


class _Drawing:
    """Describes each ancestor of a lineage once."""

    def __init__(self, lineage: Lineage) -> None:
        self._nodes = lineage.nodes
        self._below = deque([lineage.root])
        self._described: set[str] = set()
        self._named = _met_again(lineage)

    def roots(self) -> Iterator[str]:
        """Yield what begins a tree; more of them while trees are drawn."""
        while self._below:
            root = self._below.popleft()
            if root not in self._described:
                yield root

    def lines(self, root: str) -> Iterator[str]:
        """Yield the lines of one tree."""
        # Id, what stands before its line, what stands before those below it, and its depth.
        waiting = [(root, "", "", 0)]
        while waiting:
            id, before, below, depth = waiting.pop()
            one = self._nodes[id]
            if id in self._described:
                yield f"{before}{self._name(one)} (above)"
            elif depth > DEEPEST:
                self._below.append(id)
                self._named.add(id)
                yield f"{before}{self._name(one)} (below)"
            else:
                self._described.add(id)
                yield before + self._description(one)
                waiting += reversed(_branches(one.inputs, below, depth))

    def _description(self, one: Ancestor) -> str:
        made = f" = {_on_a_line(one.made_by)}" if one.made_by else ""
        unknown = "" if one.is_known else " (not in the store)"
        return f"{self._name(one)}{made}{unknown}{' of' if one.inputs else ''}"

    def _name(self, one: Ancestor) -> str:
        mark = f" [{one.id[:8]}]" if one.id in self._named or not one.is_known else ""
        return _on_a_line(one.title) + mark


def _branches(inputs: tuple[str, ...], below: str, depth: int) -> list[tuple[str, str, str, int]]:
    if len(inputs) == 1:  # a long chain stays where it is
        return [(inputs[0], below, below, depth)]
    found = [(one, f"{below}├─ ", f"{below}│  ", depth + 1) for one in inputs[:-1]]
    last = [(one, f"{below}└─ ", f"{below}   ", depth + 1) for one in inputs[-1:]]
    return found + last


def _met_again(lineage: Lineage) -> set[str]:
    """Return the ids that are an input more than once: readers must know them again."""
    once = {lineage.root}  # which stands at the top already
    again: set[str] = set()
    for source, _ in lineage.edges:
        (again if source in once else once).add(source)
    return again


def _on_a_line(text: str) -> str:
    """Write line breaks and other control characters so that a line stays one."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
