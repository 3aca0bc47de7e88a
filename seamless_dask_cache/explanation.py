"""What ``explain`` returns: one row per task, readable in a terminal and in a notebook."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from seamless_dask_cache.explaining.asked import keys_of
from seamless_dask_cache.explaining.difference import Difference, from_dict
from seamless_dask_cache.explaining.lines import Line, lines_of
from seamless_dask_cache.explaining.rendering import (
    details_as_html,
    differences_as_text,
    table_as_html,
)

_WIDEST = 60


@dataclass(frozen=True)
class TaskExplanation:
    """What becomes of one task.

    Attributes
    ----------
    key : key
        The key of the task.
    status : str
        "hit", "miss" or "refused".
    reason : str
        Why, in one line.
    function : str
        Name of the function.
    transformation : str or None
        Transformation checksum, 64 hex digits; None when refused.
    result : str or None
        Result checksum, where it is known.
    seconds : float or None
        How long computing it took, where it is on record.
    differences : tuple of Difference
        For a miss: what differs from the nearest earlier call of the same function.
    path : str
        For a refusal: where the offending object was found, such as ``f -> helper -> time.time``.
    origin : key or None
        The task where the reason lies, when that is another one.
    requested : bool
        Whether computing the collections asks for this very task.
    """

    key: Any
    status: str
    reason: str
    function: str
    transformation: str | None
    result: str | None
    seconds: float | None
    differences: tuple[Difference, ...] = ()
    path: str = ""
    origin: Any = None
    requested: bool = False

    def details(self) -> str:
        """Return everything that is known, with the diffs of changed sources."""
        lines = [f"{self.key}: {self.status}", f"  {self.reason}"]
        if self.function:
            lines.insert(1, f"  function {self.function}")
        if self.path:
            lines.append(f"  path: {self.path}")
        if self.origin is not None:
            lines.append(f"  see the task {self.origin!r}")
        if self.differences:
            lines += ["  what differs from the nearest earlier call:"]
            lines.append(differences_as_text(self.differences, "    "))
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, fit for JSON; a key that is no string is written as Python would."""
        return {
            **vars(self),
            "key": _key_text(self.key),
            "origin": None if self.origin is None else _key_text(self.origin),
            "differences": [difference.to_dict() for difference in self.differences],
        }


class Explanation:
    """The judgement of every task of a collection, dependencies first.

    Parameters
    ----------
    rows : list of dict
        Fields of `TaskExplanation`; differences as `Difference.to_dict` gives them.
    names : mapping, optional
        Other names of tasks: keys of collections, which are computed under another key.

    Notes
    -----
    Printed, it is one line per task; beyond 20 tasks those of one function with one reason share a
    line. ``explanation[x].details()`` says everything of the task that computes the collection
    ``x``, diffs included; instead of a collection, a key or a position will do.
    """

    def __init__(self, rows: list[dict[str, Any]], names: Mapping[Any, Any] | None = None):
        self.rows = [_task(row) for row in rows]
        self.names = dict(names or {})

    def __iter__(self) -> Iterator[TaskExplanation]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> TaskExplanation:
        """Return the row of a key, of a collection, or at a position."""
        if hasattr(key, "__dask_keys__"):
            return self[_computed(key, self.names)]
        key = getattr(key, "key", key)
        for wanted in (key, self.names.get(key)):
            for row in self.rows:
                if wanted is not None and row.key == wanted:
                    return row
        if isinstance(key, int):
            return self.rows[key]
        raise KeyError(key)

    def counts(self) -> dict[str, int]:
        """Return the number of hits, misses and refused tasks."""
        found = Counter(row.status for row in self.rows)
        return {status: found[status] for status in ("hit", "miss", "refused")}

    def details(self) -> str:
        """Return everything that is known of the tasks that are no hits, diffs included."""
        return "\n".join(row.details() for row in self.rows if row.status != "hit")

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the rows as plain dictionaries, fit for JSON."""
        return [row.to_dict() for row in self.rows]

    def to_json(self) -> str:
        """Return the rows as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def _summary(self) -> str:
        counts = ", ".join(f"{number} {status}" for status, number in self.counts().items())
        return f"{len(self.rows)} tasks: {counts}"

    def _left_out(self, shown: list[Line]) -> str:
        left_out = len(self.rows) - sum(len(line.rows) for line in shown)
        return f"and {left_out} more; to_dict() has all of them" if left_out else ""

    def __repr__(self) -> str:
        shown = lines_of(self.rows)
        lines = [self._summary()]
        width = min(_WIDEST, max((len(line.label) for line in shown), default=0))
        for line in shown:
            status = line.rows[0].status
            lines.append(f"{status:8}{line.label[:_WIDEST]:{width}}  {line.reason}")
        return "\n".join(filter(None, [*lines, self._left_out(shown)]))

    def _repr_html_(self) -> str:
        shown = lines_of(self.rows)
        rows = (
            (
                line.rows[0].status,
                html.escape(line.label),
                html.escape(line.rows[0].function),
                details_as_html(line.reason, line.rows[0].differences),
            )
            for line in shown
        )
        table = table_as_html(("status", "key", "function", "reason"), rows)
        summary = f"<p>{html.escape(self._summary())}</p>"
        return f"{summary}{table}{html.escape(self._left_out(shown))}"


def _task(row: Mapping[str, Any]) -> TaskExplanation:
    differences = tuple(from_dict(fields) for fields in row.get("differences", ()))
    return TaskExplanation(**{**row, "differences": differences})


def _computed(collection: Any, names: Mapping[Any, Any]) -> Any:
    first = next(keys_of(collection), None)
    return names.get(first, first)


def _key_text(key: Any) -> str:
    return key if isinstance(key, str) else repr(key)
