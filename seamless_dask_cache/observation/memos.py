"""State that outlives a task in its process: what ``lru_cache`` remembers, and shared containers.

A function may read a file once per process and remember the content. Only the task that fills such
a memory is seen to read. What ``functools.lru_cache`` wrappers were filled from is kept beside
them, so that who is served by one depends on the same files. Other memories (a global dict, a
mutable default, an attribute of a class) are looked at before and after: a task that changes what
others share has an effect.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import FunctionType, MappingProxyType
from typing import Any

from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.objects import find_handler

from .seen import Observation

UNKNOWN = "it used what an lru_cache remembered from where nobody looked"
CHANGES = "it changes what other calls share"
_KIND = functools._lru_cache_wrapper
_FIXED = (tuple, frozenset, functools.partial, MappingProxyType, range, slice)
_LOOKED_AT = 10_000


def caches_reached(identifier: Identifier) -> list[Any]:
    """Let an identifier collect the ``lru_cache`` wrappers that it meets from now on.

    Parameters
    ----------
    identifier : Identifier
        New.

    Returns
    -------
    list
        Filled as functions are identified.
    """
    found: list[Any] = []
    handle = find_handler(_KIND)

    def collecting(encoder: Any, subject: Any, out: Any) -> None:
        found.append(subject)
        handle(encoder, subject, out)

    identifier.handlers[_KIND] = collecting
    return found


class Shared:
    """The state that the code of a task shares with later calls: caches, and what can change.

    Parameters
    ----------
    identifier : Identifier
        New; whatever it identifies from now on is looked at.

    Attributes
    ----------
    caches : list
        The ``lru_cache`` wrappers.
    """

    def __init__(self, identifier: Identifier) -> None:
        self._identifier: Identifier | None = identifier
        self.caches = caches_reached(identifier)
        self._mutable: list[Any] = []
        self._before: list[Any] = []

    def close(self) -> Shared | None:
        """Remember the present state, once everything is identified; None if nothing is shared."""
        if self._identifier is not None:
            self.caches = list({id(cache): cache for cache in self.caches}.values())
            self._mutable = list(_mutable(self._identifier))
            self._before = list(map(_look, self._mutable))
            self._identifier = None
        return self if self.caches or self._mutable else None

    def changed(self) -> str | None:
        """Name the type of something that is no longer as it was, or return None."""
        for value, before in zip(self._mutable, self._before, strict=True):
            if _look(value) != before:
                name = getattr(value, "__qualname__", None)
                return str(name) if isinstance(value, type) else f"a {type(value).__name__}"
        return None


def _mutable(identifier: Identifier) -> Iterator[Any]:
    """Yield what code reaches that calls could change, without what its arguments bring."""
    for (shared, _), (*_, value) in list(identifier.memo.items()):
        if shared and not isinstance(value, _FIXED):
            yield value
    for node in list(identifier._nodes.values()):
        if isinstance(node.subject, type):
            yield node.subject
        elif isinstance(node.subject, FunctionType) and vars(node.subject):
            yield vars(node.subject)


def _look(value: Any) -> Any:
    """Return what changes when something is put into a container or an object."""
    if isinstance(value, dict):
        parts: Iterable[Any] = value.values()
    elif isinstance(value, (list, deque)):
        parts = value
    elif isinstance(value, (set, frozenset, bytearray)):
        return len(value)
    else:
        parts = getattr(value, "__dict__", {}).values()
    return tuple(map(id, parts)) if len(parts) <= _LOOKED_AT else len(parts)  # type: ignore[arg-type]


@dataclass
class _Memo:
    """What is known of one cache: the files behind it, and whether all its fillers were seen."""

    reads: dict[str, str] = field(default_factory=dict)
    misses: int = 0
    certain: bool = True
    users: list[Observation] = field(default_factory=list)

    def enter(self, misses: int, seen: Observation) -> None:
        if misses == 0 and not self.users:
            self.reads, self.certain = {}, True
        elif misses != self.misses and not self.users:
            self.certain = False
        self.users.append(seen)

    def leave(self, misses: int, seen: Observation) -> None:
        self.misses = misses
        self.users.remove(seen)

    def fill(self, reads: dict[str, str]) -> None:
        for name, state in reads.items():
            if self.reads.setdefault(name, state) != state:
                self.certain = False


class Memos:
    """What the ``lru_cache`` wrappers of one process were filled from.

    Notes
    -----
    Shared by the task threads of a process. A task that runs beside another may be taken to have
    filled or used a cache that only the other did; it then depends on more files than it need.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._memos: weakref.WeakKeyDictionary[Any, _Memo] = weakref.WeakKeyDictionary()

    def begin(self, caches: Iterable[Any], seen: Observation) -> list[tuple[Any, int, int]]:
        """Return how far caches are used before a task: cache, hits and misses.

        Parameters
        ----------
        caches : iterable
            ``lru_cache`` wrappers that the task may use.
        seen : Observation
            Of the task.
        """
        before = []
        with self._lock:
            for cache in caches:
                hits, misses, *_ = cache.cache_info()
                self._memos.setdefault(cache, _Memo()).enter(misses, seen)
                before.append((cache, hits, misses))
        return before

    def end(self, before: Iterable[tuple[Any, int, int]], seen: Observation) -> None:
        """Share what a task read with those that use the caches later, and the other way round.

        Parameters
        ----------
        before : iterable
            What `begin` returned.
        seen : Observation
            Of the task; gets the files behind the caches that it used.
        """
        with self._lock:
            for cache, hits, misses in before:
                info, memo = cache.cache_info(), self._memos[cache]
                memo.leave(info.misses, seen)
                if info.misses != misses:
                    memo.fill(dict(seen.reads))
                if info.hits != hits:
                    self._serve(memo, seen)

    def _serve(self, memo: _Memo, seen: Observation) -> None:
        # Who fills the cache at this moment has read already what it remembers.
        for reads in (memo.reads, *(other.reads for other in memo.users)):
            seen.note_files(list(reads.items()))
        if not memo.certain:
            seen.unstable = UNKNOWN


memos = Memos()
"""Those of this process; its workers share the caches."""
