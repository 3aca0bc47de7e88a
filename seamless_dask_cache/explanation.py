"""What ``explain`` returns: one row per task, readable in a terminal and in a notebook."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from seamless_dask_cache.explaining.difference import Difference, from_dict
from seamless_dask_cache.explaining.rendering import (
    details_as_html,
    differences_as_text,
    table_as_html,
)

MOST_LINES = 200


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

    Notes
    -----
    Printed, it is one line per task, and beyond 200 tasks only of those that are no hits.
    ``explanation[key].details()`` says everything of one task, diffs included.
    """

    def __init__(self, rows: list[dict[str, Any]]):
        self.rows = [_task(row) for row in rows]

    def __iter__(self) -> Iterator[TaskExplanation]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> TaskExplanation:
        """Return the row of a key, or the row at a position."""
        for row in self.rows:
            if row.key == key:
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

    def _shown(self) -> list[TaskExplanation]:
        if len(self.rows) <= MOST_LINES:
            return self.rows
        return [row for row in self.rows if row.status != "hit"][:MOST_LINES]

    def _left_out(self) -> str:
        left_out = len(self.rows) - len(self._shown())
        return f"and {left_out} more; to_dict() has all of them" if left_out else ""

    def __repr__(self) -> str:
        shown = self._shown()
        lines = [self._summary()]
        width = min(60, max((len(str(row.key)) for row in shown), default=0))
        for row in shown:
            lines.append(f"{row.status:8}{str(row.key)[:60]:{width}}  {row.reason}")
        return "\n".join(filter(None, [*lines, self._left_out()]))

    def _repr_html_(self) -> str:
        rows = (
            (
                row.status,
                html.escape(str(row.key)),
                html.escape(row.function),
                details_as_html(row.reason, row.differences),
            )
            for row in self._shown()
        )
        table = table_as_html(("status", "key", "function", "reason"), rows)
        summary = f"<p>{html.escape(self._summary())}</p>"
        return f"{summary}{table}{html.escape(self._left_out())}"


def _task(row: Mapping[str, Any]) -> TaskExplanation:
    differences = tuple(from_dict(fields) for fields in row.get("differences", ()))
    return TaskExplanation(**{**row, "differences": differences})


def _key_text(key: Any) -> str:
    return key if isinstance(key, str) else repr(key)
