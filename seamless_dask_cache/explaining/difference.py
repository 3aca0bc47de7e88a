"""One difference between two recipes, and how it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seamless_dask_cache.explaining.texts import HIDDEN, quoted


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same in two recipes.

    Attributes
    ----------
    kind : str
        "function", "code", "value", "argument", "version", "files", "producer", "input" or "field".
    path : str
        Where: an argument such as ``args[1]['alpha']``, a part of the code such as
        ``f -> strip -> code``, a file.
    old, new : str or None
        What stood and what stands there, where that is known.
    text : str
        One line for people.
    diff : str
        Unified diff of the source, where both are known.
    tasks : tuple of str
        The tasks between the one that was asked about and the one that differs, nearest first.
    """

    kind: str
    path: str
    old: str | None
    new: str | None
    text: str
    diff: str = ""
    tasks: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The text, with the tasks through which the difference comes."""
        if not self.tasks:
            return self.text
        return f"its input {' <- '.join(map(quoted, self.tasks))} changed: {self.text}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, fit for JSON."""
        return {**vars(self), "tasks": list(self.tasks)}


def from_dict(fields: Mapping[str, Any]) -> Difference:
    """Return the difference that `Difference.to_dict` wrote down."""
    return Difference(**{**fields, "tasks": tuple(fields.get("tasks", ()))})


def changed(kind: str, path: str, old: str | None, new: str | None, subject: str) -> Difference:
    """Put the old and the new text of something into a difference.

    Parameters
    ----------
    kind, path : str
        As in `Difference`.
    old, new : str or None
        None for what is not there.
    subject : str
        What changed, for people.
    """
    if old is None:
        text = f"{subject} is new: {new}"
    elif new is None:
        text = f"{subject} is gone; it was {old}"
    elif old == new == HIDDEN:
        text = f"{subject} changed; it is {HIDDEN}"
    elif old == new:
        text = f"{subject} changed, and looks the same: {new}"
    else:
        text = f"{subject}: {old} -> {new}"
    return Difference(kind, path, old, new, text)
