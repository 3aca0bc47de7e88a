"""What the cache did, over time and per task prefix, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

MAX_POINTS = 1_000
MAX_PREFIXES = 500
MAX_REASONS = 200
MAX_EVENTS = 200
OTHER = "other"


@dataclass(slots=True)
class Amounts:
    """What happened to some tasks.

    Attributes
    ----------
    hits : int
        Tasks that need not run; `pruned` of them were not scheduled at all.
    misses, refused : int
        Tasks that had to run: with an identity, and without a certain one.
    pruned : int
        See `hits`.
    restored, computed : int
        Tasks that ended: results that were brought back, and those that were made.
    stored : int
        Results whose record the database acknowledged.
    seconds_saved : float
        Recorded compute time of the hits.
    bytes_saved : int
        Recorded size of the results of the hits.
    bytes_stored : int
        Size of the stored results.
    errors : int
        Faults of the cache that were survived.
    """

    hits: int = 0
    misses: int = 0
    refused: int = 0
    pruned: int = 0
    restored: int = 0
    computed: int = 0
    stored: int = 0
    seconds_saved: float = 0.0
    bytes_saved: int = 0
    bytes_stored: int = 0
    errors: int = 0

    def merge(self, other: Amounts) -> None:
        """Add all that stands in another one."""
        for name in FIELDS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def as_dict(self) -> dict[str, Any]:
        """Return the amounts by name."""
        return {name: getattr(self, name) for name in FIELDS}


FIELDS = tuple(field.name for field in fields(Amounts))


@dataclass(slots=True)
class Point:
    """What happened in one stretch of time.

    Attributes
    ----------
    start, stop : float
        In seconds since 1970; `stop` does not belong to it.
    amounts : Amounts
        What happened.
    """

    start: float
    stop: float
    amounts: Amounts = field(default_factory=Amounts)


class History:
    """Counts what is told to it, by second and by task prefix.

    Parameters
    ----------
    max_points, max_prefixes : int
        How many stretches of time and how many prefixes are told apart.

    Notes
    -----
    Used from one thread. Seconds in which nothing happened take no place. When there are too many
    points, neighbours in the older half become one: the recent past keeps its seconds, and totals
    stay exact. What is noted for a time before the last point, as after a clock was set back,
    counts for the last point. Prefixes beyond the limit, as reasons, count as "other".

    Attributes
    ----------
    version : int
        Grows with everything that is noted.
    """

    def __init__(self, max_points: int = MAX_POINTS, max_prefixes: int = MAX_PREFIXES):
        self.max_points = max_points
        self.max_prefixes = max_prefixes
        self.version = 0
        self._points: list[Point] = []
        self._prefixes: dict[str, Amounts] = {}
        self._reasons: dict[str, int] = {}
        self._events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)

    # Noting -----------------------------------------------------------------------------------

    def note(self, when: float, prefix: str, **amounts: float) -> None:
        """Add amounts to a moment and to a prefix.

        Parameters
        ----------
        when : float
            In seconds since 1970.
        prefix : str
            Of the tasks, as Dask's dashboard names them.
        **amounts
            Fields of `Amounts`.
        """
        self.version += 1
        now, of_prefix = self._at(when), self._of(prefix)
        for name, amount in amounts.items():
            setattr(now, name, getattr(now, name) + amount)
            setattr(of_prefix, name, getattr(of_prefix, name) + amount)

    def note_all(self, when: float, by_prefix: Mapping[str, Amounts]) -> None:
        """Add what happened to many tasks in one moment."""
        self.version += 1
        now = self._at(when)
        for prefix, amounts in by_prefix.items():
            now.merge(amounts)
            self._of(prefix).merge(amounts)

    def note_refusals(self, reasons: Mapping[str, int]) -> None:
        """Count why tasks were refused."""
        self.version += 1
        for reason, count in reasons.items():
            name = _bounded(reason, self._reasons, MAX_REASONS)
            self._reasons[name] = self._reasons.get(name, 0) + count

    def note_event(self, when: float, event: Mapping[str, Any]) -> None:
        """Keep an event; the last 200 are kept."""
        self.version += 1
        self._events.append({"when": when, **event})

    def _at(self, when: float) -> Amounts:
        second = float(int(when))
        if not self._points or second >= self._points[-1].stop:
            if len(self._points) >= self.max_points:
                self._points = _coarser(self._points)
            self._points.append(Point(second, second + 1.0))
        return self._points[-1].amounts

    def _of(self, prefix: str) -> Amounts:
        found = self._prefixes.get(prefix)
        if found is not None:
            return found
        name = _bounded(prefix, self._prefixes, self.max_prefixes)
        return self._prefixes.setdefault(name, Amounts())

    # Asking -----------------------------------------------------------------------------------

    def totals(self) -> Amounts:
        """Return what happened in all."""
        return _sum(point.amounts for point in self._points)

    def series(self) -> list[Point]:
        """Return what happened when, oldest first; at most as many points as allowed."""
        return list(self._points)

    def by_prefix(self) -> dict[str, Amounts]:
        """Return what happened to which prefix, those with the most tasks first."""
        return dict(sorted(self._prefixes.items(), key=lambda item: -_tasks(item[1])))

    def refusals(self) -> dict[str, int]:
        """Return how many tasks were refused for which reason, the most frequent first."""
        return dict(sorted(self._reasons.items(), key=lambda item: -item[1]))

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain data that can be sent.

        Returns
        -------
        dict
            ``totals``, by name; ``series``, where every column is a list: ``start``, ``stop`` and
            those of `Amounts`; ``prefixes``, amounts by prefix; ``refusals``, count by reason;
            ``events``, oldest first.
        """
        points = self._points
        columns: dict[str, list[Any]] = {
            "start": [point.start for point in points],
            "stop": [point.stop for point in points],
        }
        columns |= {name: [getattr(point.amounts, name) for point in points] for name in FIELDS}
        return {
            "totals": self.totals().as_dict(),
            "series": columns,
            "prefixes": {name: amounts.as_dict() for name, amounts in self.by_prefix().items()},
            "refusals": self.refusals(),
            "events": list(self._events),
        }


def _bounded(name: str, known: Mapping[str, Any], most: int) -> str:
    return name if name in known or len(known) < most - (OTHER not in known) else OTHER


def _tasks(amounts: Amounts) -> int:
    return amounts.hits + amounts.misses + amounts.refused


def _sum(many: Iterable[Amounts]) -> Amounts:
    total = Amounts()
    for amounts in many:
        total.merge(amounts)
    return total


def _coarser(points: list[Point]) -> list[Point]:
    """Make one of every two neighbours in the older half."""
    half = max(len(points) // 2, 2) & ~1
    merged = []
    for first, second in zip(points[:half:2], points[1:half:2], strict=True):
        amounts = _sum((first.amounts, second.amounts))
        merged.append(Point(first.start, second.stop, amounts))
    return merged + points[half:]
