"""Admission: which results are worth storing, by what computing and loading them costs.

What a client asked for is stored. Of others it is decided by the worker, when it knows how long a
task took; what it cannot know travels with the task: what is lost upstream if this result is not
stored, by the records of earlier runs, and what loading such results was seen to take.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from seamless_dask_cache.dask_internals import Graph, Key
from seamless_dask_cache.database import Cost
from seamless_dask_cache.identity.recipe import Identity

from .policy import STORED_BYTES_PER_SECOND, Policy

REMEMBERED_BYTES = 100e6


class StoringPace:
    """What storing was seen to cost on a worker; the latest results count most.

    Notes
    -----
    Shared by all task threads; at worst two of them note their results as one.
    """

    def __init__(self) -> None:
        # As if that much had been stored already: one odd file tells little.
        self._nbytes = REMEMBERED_BYTES / 4
        self._seconds = self._nbytes / STORED_BYTES_PER_SECOND

    def note(self, nbytes: int, seconds: float) -> None:
        """Take in what storing a result took."""
        total = self._nbytes + nbytes
        fading = min(1.0, REMEMBERED_BYTES / total)
        self._nbytes, self._seconds = total * fading, (self._seconds + seconds) * fading

    def seconds(self, nbytes: int) -> float:
        """Return what storing a result is expected to take."""
        return nbytes * self._seconds / self._nbytes


class Terms(NamedTuple):
    """On which terms the result of a task is stored.

    Attributes
    ----------
    store : bool or None
        True always, False never, also where a client asked for it; None if it is worth it.
    unsaved : float
        Seconds of work upstream that would have to be done again, too, were this not stored.
    loading : float or None
        Seconds that loading such a result was seen to take; None where that is not on record.
    """

    store: bool | None = None
    unsaved: float = 0.0
    loading: float | None = None

    def admit(
        self,
        policy: Policy,
        seconds: float,
        nbytes: int,
        *,
        requested: bool = False,
        storing: float | None = None,
    ) -> bool:
        """Decide whether a result is stored that took so long and is so large.

        Parameters
        ----------
        policy : Policy
        seconds : float
        nbytes : int
        requested : bool
            Whether a client asked for it.
        storing : float, optional
            Seconds that storing it will take, where that was measured.
        """
        if nbytes > policy.max_bytes or self.store is False:
            return False
        if requested or self.store:
            return True
        return policy.worth_storing(self.unsaved + seconds, nbytes, self.loading, storing)


DEFAULT = Terms()


class Admission:
    """Decides on the terms of the tasks of one graph.

    Parameters
    ----------
    policy : Policy
    costs : mapping
        Code checksum to what is on record of it.
    """

    def __init__(self, policy: Policy, costs: Mapping[str, Cost]):
        self._policy = policy
        self._costs = costs
        self._wishes: dict[str, bool | None] = {}

    @property
    def is_default(self) -> bool:
        """Whether nothing is on record and no pattern is set."""
        return not (self._costs or self._policy.never_store or self._policy.always_store)

    def terms(
        self,
        graph: Graph,
        order: Iterable[Key],
        known: Mapping[Key, Identity],
        wanted: Collection[Key],
        prefix: Callable[[Key], str],
    ) -> dict[Key, Terms]:
        """Return the terms of those tasks for which they are not the default.

        Parameters
        ----------
        graph : dict
            Key to graph node, of what is scheduled.
        order : iterable of keys
            Dependencies first.
        known : mapping
            Key to identity.
        wanted : collection of keys
            Results that are stored in any case.
        prefix : callable
            Gives the prefix of a key, by which patterns name it.
        """
        users = _count_users(graph) if self._costs else {}
        found: dict[Key, Terms] = {}
        unsaved: dict[Key, float] = {}
        for key in order:
            if key not in graph:
                continue
            identity = known.get(key)
            wish = True if key in wanted else self._wish(key, prefix)
            cost = self._costs.get(identity.code) if identity is not None else None
            upstream = sum(unsaved[d] / users[d] for d in graph[key].dependencies if d in unsaved)
            terms = Terms(wish, upstream, _loading(cost))
            if terms != DEFAULT:
                found[key] = terms
            if cost is not None and cost.runs:
                seconds, nbytes = cost.seconds / cost.runs, int(cost.nbytes / cost.runs)
                stored = terms.admit(self._policy, seconds, nbytes)
                unsaved[key] = 0.0 if stored else upstream + seconds
        return found

    def _wish(self, key: Key, prefix: Callable[[Key], str]) -> bool | None:
        policy = self._policy
        if not policy.never_store and not policy.always_store:
            return None
        name = prefix(key)
        if name not in self._wishes:
            self._wishes[name] = wish_of(policy, name)
        return self._wishes[name]


def wish_of(policy: Policy, prefix: str) -> bool | None:
    """Tell what the patterns say of keys with a prefix: store, do not store, or nothing."""
    if any(fnmatchcase(prefix, pattern) for pattern in policy.never_store):
        return False
    return True if any(fnmatchcase(prefix, pattern) for pattern in policy.always_store) else None


def _count_users(graph: Graph) -> dict[Key, int]:
    users: dict[Key, int] = {}
    for node in graph.values():
        for dependency in node.dependencies:
            users[dependency] = users.get(dependency, 0) + 1
    return users


def _loading(cost: Cost | None) -> float | None:
    return cost.load_seconds / cost.loads if cost is not None and cost.loads else None
