"""Few lines for many tasks: those that are alike share one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

MOST_LINES = 40
MOST_ALONE = 20

_PARTITION = re.compile(r"\('([^']*)'(?:, -?\d+)+\)")
_TOKEN = re.compile(r"-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|-[0-9a-f]{32}")
_MORE = re.compile(r" \(and \d+ more\)$")


class Row(Protocol):
    """What of a task decides on which line it stands."""

    @property
    def key(self) -> Any:
        """Key of the task."""

    @property
    def status(self) -> str:
        """Either "hit", "miss" or "refused"."""

    @property
    def reason(self) -> str:
        """Why, in one line."""

    @property
    def function(self) -> str:
        """Name of the function."""

    @property
    def origin(self) -> Any:
        """Key of the task where the reason lies, or None."""

    @property
    def requested(self) -> bool:
        """Whether this very task was asked for."""


class Line(NamedTuple):
    """One line for some tasks.

    Attributes
    ----------
    rows : list
        The tasks.
    label : str
        Their key, or their function and their number.
    reason : str
        Why, without what tells partitions apart where there are several.
    """

    rows: list[Any]
    label: str
    reason: str


def lines_of(rows: Sequence[Row]) -> list[Line]:
    """Put tasks on lines.

    Parameters
    ----------
    rows : sequence of Row
        Dependencies first.

    Returns
    -------
    list of Line
        One per task where there are few. Otherwise tasks of one function with one status and one
        reason share a line, what was asked for comes first, then what other reasons lead to, then
        what is no hit; at most 40 lines.
    """
    if len(rows) <= MOST_ALONE:
        return [_line([row]) for row in rows]
    origins = {row.origin for row in rows if row.origin is not None}
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        alone = row.key if row.requested else None
        groups.setdefault((alone, row.function, row.status, alike(row.reason)), []).append(row)
    ordered = sorted(groups.values(), key=lambda group: _rank(group, origins))
    return [_line(group) for group in ordered[:MOST_LINES]]


def alike(reason: str) -> str:
    """Take out of a reason what differs between the partitions of one collection."""
    return _MORE.sub("", _TOKEN.sub("", _PARTITION.sub(r"'\1'", reason)))


def _rank(group: Sequence[Row], origins: set[Any]) -> int:
    if group[0].requested:
        return 0
    if any(row.key in origins for row in group):
        return 1
    return 3 if group[0].status == "hit" else 2


def _line(group: Sequence[Row]) -> Line:
    first = group[0]
    if len(group) == 1:
        return Line([first], str(first.key), first.reason)
    name = first.function or "tasks"
    return Line(list(group), f"{name} x {len(group)}", alike(first.reason))
