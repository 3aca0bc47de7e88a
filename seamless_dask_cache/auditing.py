"""What ``audit`` returns: how much of what is on record came out the same, and what did not."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from seamless_dask_cache.explaining.rendering import table_as_html

_SHOWN = 20
_WIDEST = 60


@dataclass(frozen=True)
class Divergence:
    """A transformation that gave another result than the one on record.

    Attributes
    ----------
    key : key
        Of a task that computes it.
    function : str
        Name of the function.
    transformation : str
        Checksum, 64 hex digits.
    first, second : str
        Result checksums: what was on record, and what the audit found.
    reason : str
        Whether it now gives the second result, or another one each time.
    quarantined : bool
        Whether the database took it down; otherwise only this scheduler serves it no more.
    """

    key: Any
    function: str
    transformation: str
    first: str
    second: str
    reason: str
    quarantined: bool


@dataclass(frozen=True)
class Unchecked:
    """A transformation that could not be compared.

    Attributes
    ----------
    key : key
        Of a task that computes it.
    function : str
        Name of the function.
    transformation : str
        Checksum, 64 hex digits.
    reason : str
        Why, in one line.
    """

    key: Any
    function: str
    transformation: str
    reason: str


@dataclass(frozen=True, repr=False)
class Audit:
    """The outcome of an audit; printed, it is a summary and a line for all that is not the same.

    Attributes
    ----------
    eligible : int
        Number of transformations on record, of which a part was drawn.
    same : int
        How many of these gave the result on record.
    different : tuple of Divergence
        Those that gave another one, which are quarantined.
    failed : tuple of Unchecked
        Those that raised an exception.
    not_checkable : tuple of Unchecked
        Those that could not be compared.
    """

    eligible: int
    same: int
    different: tuple[Divergence, ...] = ()
    failed: tuple[Unchecked, ...] = ()
    not_checkable: tuple[Unchecked, ...] = ()

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Audit:
        """Make an audit of the fields, with plain dictionaries in place of rows."""
        return cls(
            fields["eligible"],
            fields["same"],
            tuple(Divergence(**row) for row in fields["different"]),
            tuple(Unchecked(**row) for row in fields["failed"]),
            tuple(Unchecked(**row) for row in fields["not_checkable"]),
        )

    @property
    def checked(self) -> int:
        """How many transformations were computed and compared."""
        return self.same + len(self.different)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, fit for JSON; a key that is no string is written as Python would."""
        fields = asdict(self) | {"checked": self.checked}
        for row in (*fields["different"], *fields["failed"], *fields["not_checkable"]):
            row["key"] = row["key"] if isinstance(row["key"], str) else repr(row["key"])
        return fields

    def to_json(self) -> str:
        """Return the fields as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def _summary(self) -> str:
        return (
            f"{self.checked} of {self.eligible} transformations checked: {self.same} same,"
            f" {len(self.different)} different, {len(self.failed)} failed,"
            f" {len(self.not_checkable)} not checkable"
        )

    def _lines(self) -> list[tuple[str, str, str, str]]:
        named: Iterable[tuple[str, tuple[Divergence | Unchecked, ...]]] = (
            ("different", self.different),
            ("failed", self.failed),
            ("not checkable", self.not_checkable),
        )
        return [
            (status, str(row.key), row.function, row.reason)
            for status, rows in named
            for row in rows
        ]

    def _left_out(self) -> str:
        left_out = len(self._lines()) - _SHOWN
        return f"and {left_out} more; to_dict() has all of them" if left_out > 0 else ""

    def __repr__(self) -> str:
        shown = self._lines()[:_SHOWN]
        width = min(_WIDEST, max((len(line[1]) for line in shown), default=0))
        lines = [
            f"{status:14}{key[:_WIDEST]:{width}}  {reason}" for status, key, _, reason in shown
        ]
        return "\n".join(filter(None, [self._summary(), *lines, self._left_out()]))

    def _repr_html_(self) -> str:
        rows = (tuple(map(html.escape, line)) for line in self._lines()[:_SHOWN])
        table = table_as_html(("status", "key", "function", "reason"), rows)
        return f"<p>{html.escape(self._summary())}</p>{table}{html.escape(self._left_out())}"


def required_fraction(fraction: float) -> float:
    """Return a fraction above 0 and up to 1.

    Raises
    ------
    ValueError
        For anything else.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be above 0 and at most 1, not {fraction!r}")
    return float(fraction)
