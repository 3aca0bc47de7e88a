"""What a record was made of: all its ancestors, and which was made of which."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seamless_dask_cache.stores.operations import ORDER, given_order
from seamless_dask_cache.stores.parameters import shown
from seamless_dask_cache.stores.records import Record, said

if TYPE_CHECKING:
    from graphviz import Source

LONGEST_VALUE = 40
"""Characters of a parameter that are shown."""


@dataclass(frozen=True)
class Ancestor:
    """A record in a lineage, as it was when the lineage was traced.

    Parameters
    ----------
    id : str
    title : str
        Label or name of the item, or else its type; "?" for what no store knows.
    operation : str or None
        What made it; None where nobody said.
    params : tuple of (str, object)
        How it was made.
    created_at : datetime or None
        In UTC; None for what no store knows.
    inputs : tuple of str
        Ids of what it was made of, in the order in which the operation got them.

    Examples
    --------
    >>> Ancestor("an id", "?").is_known
    False
    """

    id: str
    title: str
    operation: str | None = None
    params: tuple[tuple[str, Any], ...] = ()
    created_at: datetime | None = None
    inputs: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether a store has it; it may be deleted, or belong to another process."""
        return self.created_at is not None

    @property
    def made_by(self) -> str:
        """The operation with its parameters, such as ``smooth(width=3)``; empty if nobody said.

        Long values are cut; without the order of the inputs, which are in order here.
        """
        if self.operation is None:
            return ""
        given = (f"{name}={_cut(shown(value))}" for name, value in self.params if name != ORDER)
        return f"{self.operation}({', '.join(given)})"


@dataclass(frozen=True)
class Lineage:
    """The ancestors of a record; printed, it is a tree.

    Parameters
    ----------
    root : str
        Id of the record.
    nodes : dict of str to Ancestor
        The record itself and all that it was made of, by id: from the record on down, each once.

    Examples
    --------
    >>> from seamless_dask_cache.stores import ProvenanceStore
    >>> store = ProvenanceStore()
    >>> lineage = store.lineage(store.compute("add", [store.put(1), store.put(2)], {}, max))
    >>> len(lineage.nodes), len(lineage.edges)
    (3, 2)
    >>> print(lineage)
    int = add() of
    ├─ int
    └─ int
    """

    root: str
    nodes: dict[str, Ancestor]

    @cached_property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """Pairs of ids: an input, and what was made of it; twice, where it was an input twice."""
        return tuple((source, one.id) for one in self.nodes.values() for source in one.inputs)

    def text(self) -> str:
        """Return the lineage as a tree of text lines; every ancestor is described once.

        What something was made of stands below it: behind branches, or on the next line where it
        is only one thing.

        Examples
        --------
        >>> print(Lineage("1", {"1": Ancestor("1", "a", "read", (("by", "me"),), datetime.now())}))
        a = read(by='me')
        """
        from seamless_dask_cache.stores.lineage_text import tree

        return tree(self)

    def __str__(self) -> str:
        return self.text()

    def dot(self) -> str:
        """Return the lineage in the DOT language of Graphviz; arrows lead from inputs to results.

        Examples
        --------
        >>> print(Lineage("1", {"1": Ancestor("1", "a", created_at=datetime.now())}).dot())
        digraph lineage {
          rankdir=BT;
          node [shape=box, fontname="sans-serif"];
          n0 [label="a", id="1", tooltip="1"];
        }
        """
        from seamless_dask_cache.stores.lineage_picture import dot_source

        return dot_source(self)

    def visualize(
        self, filename: str | os.PathLike[str] | None = None, format: str | None = None
    ) -> Path | Source:
        """Draw the lineage.

        Parameters
        ----------
        filename : path, optional
            Written, whole or not at all. It gets the format as its ending where it has another.
        format : str, optional
            Such as "svg", "png" or "pdf"; by default what the ending of `filename` says, or else
            "svg".

        Returns
        -------
        Path or graphviz.Source
            The file; or, without `filename`, a picture that notebooks show.

        Raises
        ------
        RuntimeError
            When the Python package graphviz or the program dot is missing; it says how to get it.
        ValueError
            For a format that dot does not know.

        Examples
        --------
        >>> lineage = Lineage("1", {"1": Ancestor("1", "a", created_at=datetime.now())})
        >>> lineage.visualize("lineage.svg")  # doctest: +SKIP
        PosixPath('lineage.svg')
        """
        from seamless_dask_cache.stores.lineage_picture import visualize

        return visualize(self.dot(), filename, format)

    def _repr_svg_(self) -> str | None:
        """Let notebooks show a picture where one can be drawn, and the text where not."""
        from seamless_dask_cache.stores.lineage_picture import svg

        try:
            return svg(self.dot())
        except RuntimeError:
            return None


def trace(id: str, lookup: Callable[[str], Record | None]) -> Lineage:
    """Follow provenances from a record back to its inputs.

    Parameters
    ----------
    id : str
    lookup : callable
        Gives the record of an id, or None. An input that it does not know is shown as such.

    Raises
    ------
    KeyError
        When it does not know the first one.

    Examples
    --------
    >>> trace("nobody", lambda id: None)
    Traceback (most recent call last):
    ...
    KeyError: "no record has the id 'nobody'"
    """
    if lookup(id) is None:
        raise KeyError(f"no record has the id {id!r}")
    found: dict[str, Ancestor] = {}
    waiting = [id]  # a list, for a lineage may be longer than Python's own stack
    while waiting:
        one = waiting.pop()
        if one not in found:
            found[one] = _ancestor(one, lookup(one))
            waiting += reversed(found[one].inputs)
    return Lineage(id, found)


def _ancestor(id: str, record: Record | None) -> Ancestor:
    if record is None:
        return Ancestor(id, "?")
    title, made = title_of(record.stored), record.provenance
    if made is None:
        return Ancestor(id, title, created_at=record.created_at)
    inputs = given_order(made)
    return Ancestor(id, title, made.operation, made.params, record.created_at, inputs)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def title_of(item: Any) -> str:
    """Return what people call an item: its label or name if it has one, else its type.

    Examples
    --------
    >>> title_of([1, 2])
    'list'
    """
    for attribute in ("label", "name"):
        named: Any = said(item, attribute, object)
        # A label may be an object that has a name.
        text = named if isinstance(named, str) else said(named, "name", str)
        if text:
            return text
    return type(item).__name__
