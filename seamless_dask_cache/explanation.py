"""What ``explain`` returns: one row per task, readable in a terminal and in a notebook."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


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
        Why.
    function : str
        Name of the function.
    transformation : str or None
        Transformation checksum, 64 hex digits; None when refused.
    result : str or None
        Result checksum, where it is known.
    seconds : float or None
        How long computing it took, where it is on record.
    """

    key: Any
    status: str
    reason: str
    function: str
    transformation: str | None
    result: str | None
    seconds: float | None


class Explanation:
    """The judgement of every task of a collection, dependencies first.

    Parameters
    ----------
    rows : list of dict
        Fields of `TaskExplanation`.
    """

    def __init__(self, rows: list[dict[str, Any]]):
        self.rows = [TaskExplanation(**row) for row in rows]

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

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the rows as plain dictionaries."""
        return [vars(row).copy() for row in self.rows]

    def __repr__(self) -> str:
        counts = ", ".join(f"{number} {status}" for status, number in self.counts().items())
        lines = [f"{len(self.rows)} tasks: {counts}"]
        width = min(60, max((len(str(row.key)) for row in self.rows), default=0))
        for row in self.rows:
            lines.append(f"{row.status:8}{str(row.key)[:60]:{width}}  {row.reason}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        body = "".join(
            f"<tr><td>{row.status}</td><td>{html.escape(str(row.key))}</td>"
            f"<td>{html.escape(row.function)}</td><td>{html.escape(row.reason)}</td></tr>"
            for row in self.rows
        )
        head = "<tr><th>status</th><th>key</th><th>function</th><th>reason</th></tr>"
        return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
