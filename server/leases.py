"""Leases: who computes what at this moment, so that two clusters do not compute the same thing.

In memory only: a server that starts anew knows of no lease, and what was leased is free. That
costs a computation that is done twice, never a wrong result.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterable

MAX_LEASES = 1_000_000
"""Leases that a server keeps; one takes about 200 bytes."""

_SLACK = 1_000  # ended grants that may wait for their time before they are swept


class _Grant:
    """What one request was given: many transformations, for the same time."""

    __slots__ = ("holder", "transformations", "until")

    def __init__(self, holder: str, transformations: Iterable[str], until: float):
        self.holder = holder
        self.transformations = set(transformations)
        """Those that still stand under this grant: no longer ended, released or renewed ones."""
        self.until = until


class Leases:
    """Who computes what.

    Parameters
    ----------
    clock : callable
        Gives seconds; must never run backwards, so that no change of the time of day ends a lease.
    most : int
        How many leases there may be; when there are so many, no more are granted.

    Notes
    -----
    Not thread-safe: belongs to one event loop, where each call is one atomic step. A lease that has
    run out is as good as none.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = MAX_LEASES):
        self._clock = clock
        self._most = most
        self._grants: dict[str, _Grant] = {}  # transformation -> the grant under which it stands
        self._of: dict[str, set[_Grant]] = {}  # holder -> its grants, none of them empty
        self._ends: list[tuple[float, int, _Grant]] = []  # a heap; its grants may be empty
        self._numbers = itertools.count()

    def __len__(self) -> int:
        self._expire()
        return len(self._grants)

    def acquire(self, holder: str, transformations: Iterable[str], seconds: float) -> list[str]:
        """Grant those that are free, and renew those that the holder has.

        Parameters
        ----------
        holder : str
        transformations : iterable of str
        seconds : float
            How long the leases last from now.

        Returns
        -------
        list of str
            What was granted or renewed.
        """
        self._expire()
        room = self._most - len(self._grants)
        granted = []
        for transformation in dict.fromkeys(transformations):
            grant = self._grants.get(transformation)
            if grant is None and room > 0:
                room -= 1
            elif grant is None or grant.holder != holder:
                continue
            granted.append(transformation)
        self._give(holder, granted, seconds)
        return granted

    def renew(self, holder: str, seconds: float) -> int:
        """Let all leases of a holder last so long from now; give how many there are."""
        self._expire()
        mine = self._held_by(holder)
        self._give(holder, mine, seconds)
        return len(mine)

    def release(self, holder: str, transformations: Iterable[str]) -> None:
        """End some leases, of this holder only."""
        self.end(
            transformation
            for transformation in transformations
            if (grant := self._grants.get(transformation)) and grant.holder == holder
        )

    def release_all(self, holder: str) -> int:
        """End all leases of a holder; give how many there were."""
        self._expire()
        mine = self._held_by(holder)
        self.end(mine)
        return len(mine)

    def end(self, transformations: Iterable[str]) -> None:
        """End leases, whoever holds them: what was to be computed is there."""
        for transformation in transformations:
            grant = self._grants.pop(transformation, None)
            if grant is not None:
                grant.transformations.discard(transformation)
                self._let_go_if_empty(grant)

    def held(self, transformations: Iterable[str]) -> dict[str, float]:
        """Give those that somebody holds, and the seconds that are left."""
        self._expire()
        now = self._clock()
        return {
            transformation: grant.until - now
            for transformation in transformations
            if (grant := self._grants.get(transformation)) is not None
        }

    def _held_by(self, holder: str) -> list[str]:
        return [name for grant in self._of.get(holder, ()) for name in grant.transformations]

    def _give(self, holder: str, transformations: list[str], seconds: float) -> None:
        if not transformations:
            return
        self.end(transformations)
        grant = _Grant(holder, transformations, self._clock() + seconds)
        self._grants.update(dict.fromkeys(transformations, grant))
        self._of.setdefault(holder, set()).add(grant)
        heapq.heappush(self._ends, (grant.until, next(self._numbers), grant))
        self._sweep()

    def _let_go_if_empty(self, grant: _Grant) -> None:
        if not grant.transformations:
            self._of[grant.holder].discard(grant)
            if not self._of[grant.holder]:
                del self._of[grant.holder]

    def _expire(self) -> None:
        now = self._clock()
        while self._ends and self._ends[0][0] <= now:
            _, _, grant = heapq.heappop(self._ends)
            self.end(list(grant.transformations))

    def _sweep(self) -> None:
        """Remove ended grants from the heap, where heartbeats with long leases pile them up."""
        if len(self._ends) > 2 * sum(map(len, self._of.values())) + _SLACK:
            self._ends = [end for end in self._ends if end[2].transformations]
            heapq.heapify(self._ends)
