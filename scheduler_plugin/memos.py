"""Files behind ``functools.lru_cache``: who is served from it opens nothing, and depends on them.

A function may read a file once per process and remember the content. Only the task that fills such
a cache is seen to read, so what the caches of a process were filled from is kept beside them.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.objects import find_handler
from seamless_dask_cache.observation import Observation

UNKNOWN = "it used what an lru_cache remembered from where nobody looked"
_KIND = functools._lru_cache_wrapper


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


@dataclass
class _Memo:
    """What is known of one cache: the files behind it, and whether all its fillers were seen."""

    reads: dict[str, str] = field(default_factory=dict)
    misses: int = 0
    users: int = 0
    certain: bool = True

    def enter(self, misses: int) -> None:
        if misses == 0 and not self.users:
            self.reads, self.certain = {}, True
        elif misses != self.misses and not self.users:
            self.certain = False
        self.users += 1

    def leave(self, misses: int) -> None:
        self.misses = misses
        self.users -= 1


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

    def begin(self, caches: Iterable[Any]) -> list[tuple[Any, int, int]]:
        """Return how far caches are used before a task: cache, hits and misses."""
        before = []
        with self._lock:
            for cache in caches:
                hits, misses, *_ = cache.cache_info()
                self._memos.setdefault(cache, _Memo()).enter(misses)
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
                memo.leave(info.misses)
                if info.misses != misses:
                    memo.reads.update(seen.reads)
                if info.hits != hits:
                    seen.reads.update(memo.reads)
                    if not memo.certain:
                        seen.unstable = UNKNOWN


memos = Memos()
"""Those of this process; its workers share the caches."""
