"""What waits to be written to the database, in memory and in order; pure."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_WAITING = 100_000
"""Records that wait in memory when they can wait nowhere else; the oldest go first."""

MAX_HINTS = 20_000
MAX_BATCH = 2_000
MAX_HINTS_AT_ONCE = 5_000

Item = dict[str, Any]
Cutoff = tuple[Any, ...]


@dataclass(frozen=True)
class Batch:
    """What is written in one request: first `forgets`, then everything else.

    Parameters
    ----------
    number : int
        Later batches of an outbox have larger numbers.
    forgets : list of str
        Transformations to remove.
    items : list of dict
        Records to store.
    cutoffs : list of tuple
        Hints: what shallow transformations gave.
    costs : dict
        Hints: checksum of code -> sums to add.
    """

    number: int = 0
    forgets: list[str] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    cutoffs: list[Cutoff] = field(default_factory=list)
    costs: dict[str, list[float]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.forgets or self.items or self.cutoffs or self.costs)

    @property
    def records(self) -> Batch:
        """The part that must not be lost."""
        return Batch(self.number, forgets=self.forgets, items=self.items)

    @property
    def hints(self) -> Batch:
        """The part that may be lost."""
        return Batch(self.number, cutoffs=self.cutoffs, costs=self.costs)

    def parts(self) -> list[Batch]:
        """Give smaller batches that amount to this one; none when it cannot be divided.

        A server refuses a batch as a whole: what is wrong is found by dividing it.
        """
        if self.hints:
            return [self.records, self.hints] if self.records else []
        if self.forgets and self.items:
            return [Batch(forgets=self.forgets), Batch(items=self.items)]
        if len(self.items) > 1:
            return [Batch(items=half) for half in _halves(self.items)]
        if len(self.forgets) > 1:
            return [Batch(forgets=half) for half in _halves(self.forgets)]
        return []


def _halves(values: list[Any]) -> list[list[Any]]:
    middle = len(values) // 2
    return [values[:middle], values[middle:]]


class Outbox:
    """A queue of records, of removals, and of hints.

    Notes
    -----
    A transformation that is forgotten after its record was queued, and not stored anew, is gone in
    the end: a removal takes the older records of the queue with it.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._numbers = itertools.count(1)
        self._waiting: deque[tuple[int, Item]] = deque()
        self._forgets: dict[str, int] = {}
        self._cutoffs: deque[Cutoff] = deque(maxlen=MAX_HINTS)
        self._costs: dict[str, list[float]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting or self._forgets or self._cutoffs or self._costs)

    @property
    def records(self) -> int:
        """How many records and removals wait."""
        return len(self._waiting) + len(self._forgets)

    def store(self, item: Item) -> None:
        """Queue one record."""
        self._waiting.append((next(self._numbers), item))
        self._shorten()

    def forget(self, transformation: str) -> None:
        """Queue the removal of one record."""
        self._forgets[transformation] = next(self._numbers)

    def note_cutoff(self, row: Cutoff) -> None:
        """Queue one hint on what a shallow transformation gave; the oldest go first."""
        self._cutoffs.append(row)

    def note_cost(self, code: str, sums: Sequence[float]) -> None:
        """Add to what running a piece of code cost."""
        known = self._costs.get(code)
        if known is not None:
            self._costs[code] = [a + b for a, b in zip(known, sums, strict=True)]
        elif len(self._costs) < MAX_HINTS:
            self._costs[code] = list(sums)

    def take(self, *, hints: bool = True) -> Batch:
        """Take out what comes next.

        Parameters
        ----------
        hints : bool
            Whether hints may be among it.
        """
        forgets, self._forgets = self._forgets, {}
        if forgets:
            self._waiting = deque(_not_forgotten(self._waiting, forgets))
        items = [item for _, item in _popped(self._waiting, MAX_BATCH)]
        batch = Batch(next(self._numbers), list(forgets), items)
        if hints:
            batch.cutoffs.extend(_popped(self._cutoffs, MAX_HINTS_AT_ONCE))
            some = list(itertools.islice(self._costs, MAX_HINTS_AT_ONCE))
            batch.costs.update((code, self._costs.pop(code)) for code in some)
        return batch

    def give_back(self, batch: Batch) -> None:
        """Put a batch that could not be written back to the front."""
        # Its items are younger than its removals, and older than all that came since.
        self._waiting.extendleft((batch.number, item) for item in reversed(batch.items))
        for transformation in batch.forgets:
            self._forgets.setdefault(transformation, batch.number - 1)
        room = MAX_HINTS - len(self._cutoffs)
        self._cutoffs.extendleft(reversed(batch.cutoffs[-room:] if room else []))
        for code, sums in batch.costs.items():
            self.note_cost(code, sums)
        self._shorten()

    def _shorten(self) -> None:
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            self.dropped += 1


def _not_forgotten(
    waiting: Iterable[tuple[int, Item]], forgets: dict[str, int]
) -> Iterable[tuple[int, Item]]:
    return (
        (number, item)
        for number, item in waiting
        if number > forgets.get(item.get("transformation", ""), 0)
    )


def _popped(queue: deque[Any], most: int) -> list[Any]:
    return [queue.popleft() for _ in range(min(most, len(queue)))]
