"""Leases: what this cluster computes at this moment, as the database knows it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from seamless_dask_cache.dask_internals import Key, is_busy, is_unfinished

if TYPE_CHECKING:
    import asyncio

    from .engine import Engine

GRACE_SECONDS = 60.0
"""After which a lease is given back whose tasks the scheduler does not have to run."""


@dataclass
class Lease:
    """A transformation that this cluster computes.

    Attributes
    ----------
    since : float
        Monotonic time, in seconds.
    keys : set
        Under which it is requested.
    """

    since: float
    keys: set[Key] = field(default_factory=set)


class Leases:
    """The leases of one scheduler.

    Parameters
    ----------
    engine : Engine
        Judge of the scheduler's graphs.
    news : asyncio.Event
        Set when there is something to give back.

    Attributes
    ----------
    holder : str
        The name under which they are held.

    Notes
    -----
    Used from the scheduler's event loop only.
    """

    def __init__(self, engine: Engine, news: asyncio.Event):
        self._engine = engine
        self._news = news
        self.holder = uuid.uuid4().hex
        self._leases: dict[str, Lease] = {}
        self._leased: dict[Key, str] = {}
        self._released: set[str] = set()
        self._unwritten: dict[str, float] = {}
        self._beaten = 0.0

    def __len__(self) -> int:
        return len(self._leases)

    def __bool__(self) -> bool:
        """Whether there is anything to keep alive or to give back."""
        return bool(self._leases or self._released)

    def __contains__(self, transformation: str) -> bool:
        return transformation in self._leases or transformation in self._unwritten

    @property
    def seconds(self) -> float:
        """How long a lease lasts that is not renewed."""
        return self._engine.policy.lease_seconds

    @property
    def next_beat(self) -> float:
        """Monotonic time at which the heartbeat is due."""
        return self._beaten + self.seconds / 3

    def begin(self) -> None:
        """Count the time to the next heartbeat from now."""
        self._beaten = time.monotonic()

    def clear(self) -> None:
        """Give everything back: the scheduler has forgotten all tasks."""
        self._released.update(self._leases, self._unwritten)
        self._forget()
        self._news.set()

    async def release_all(self) -> None:
        """Give everything back now."""
        if self._leases or self._unwritten or self._released:
            self._forget()
            self._released.clear()
            await self._engine.link.release_all(self.holder)

    def _forget(self) -> None:
        self._leases.clear()
        self._leased.clear()
        self._unwritten.clear()

    async def acquire(self, wanted: Mapping[str, Collection[Key]]) -> set[str]:
        """Take leases where they are free; return what others hold."""
        released = self._released - wanted.keys()
        answer = await self._engine.link.acquire(self.holder, list(wanted), self.seconds, released)
        if answer is None:
            return set()
        self._released -= released | answer.granted
        now = time.monotonic()
        for transformation in answer.granted:
            lease = self._leases.setdefault(transformation, Lease(now))
            lease.keys.update(wanted[transformation])
            self._leased.update(dict.fromkeys(wanted[transformation], transformation))
        return set(answer.held)

    # Tasks that end -------------------------------------------------------------------------------

    def stored(self, transformation: str) -> None:
        """Note that a result is on its way to the database, where it ends the lease."""
        if self._leases.pop(transformation, None) is not None:
            self._unwritten[transformation] = time.monotonic()

    def acknowledged(self, transformations: Iterable[str]) -> None:
        """Note that results are at the database."""
        for transformation in transformations:
            self._unwritten.pop(transformation, None)

    def ended(self, key: Key) -> None:
        """Give back the lease of a task that is over, or cannot run, and is not stored."""
        transformation = self._leased.pop(key, None)
        lease = None if transformation is None else self._leases.get(transformation)
        if lease is None or transformation is None:
            return
        lease.keys.discard(key)
        if not lease.keys:
            self._give_back(transformation)

    def _give_back(self, transformation: str) -> None:
        lease = self._leases.pop(transformation, None)
        for key in () if lease is None else lease.keys:
            self._leased.pop(key, None)
        self._released.add(transformation)
        self._news.set()

    # The heartbeat --------------------------------------------------------------------------------

    async def beat(self, *, awaiting: bool) -> None:
        """Give back what is not computed here, and let the other leases go on.

        Parameters
        ----------
        awaiting : bool
            Whether other clusters are waited for, so that nothing need be running here.
        """
        link, now = self._engine.link, time.monotonic()
        released = set(self._released)
        seconds = self.seconds
        if released:
            await link.acquire(self.holder, (), seconds, released)
            self._released -= released
        if now < self.next_beat:
            return
        self._beaten = now
        self._sweep(now)
        if self._leases and (awaiting or is_busy(self._engine.scheduler)):
            renewed = await link.renew(self.holder, seconds)
            if renewed is not None and renewed < len(self._leases):
                # They ran out, or the database started anew.
                await link.acquire(self.holder, list(self._leases), seconds)

    def _sweep(self, now: float) -> None:
        scheduler = self._engine.scheduler
        for transformation, lease in list(self._leases.items()):
            if now > lease.since + GRACE_SECONDS and not any(
                is_unfinished(scheduler, key) for key in lease.keys
            ):
                self._give_back(transformation)
        late = now - GRACE_SECONDS
        for transformation in [t for t, since in self._unwritten.items() if since < late]:
            del self._unwritten[transformation]
            self._released.add(transformation)
