"""The buffer cache: which buffers stay in memory although nobody holds them.

Every buffer whose checksum was computed is in the *weak* store, and found there by its checksum as
long as somebody holds it. A buffer with references, or with a tempref that has not faded, is held
by the *strong* store itself.

Two caps say how many bytes the strong store may hold. Above the soft cap, buffers that only a
tempref holds are let go of; above the hard cap, those with references as well. First goes what
costs least per byte: the seconds that it takes to have it again (`buffer_costs`), times the
interest in it, divided by its size. What is let go of keeps its references, and is held again when
it comes back.
"""

from __future__ import annotations

import functools
import math
import os
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from seamless_dask_cache.buffer_costs import DownloadProfile, check_cost
from seamless_dask_cache.checksum import Checksum, checksum_hex
from seamless_dask_cache.errors import ReferenceCountError
from seamless_dask_cache.sections import Section
from seamless_dask_cache.strong_store import Entry, StrongStore, checked_caps
from seamless_dask_cache.temprefs import Alarm, Endings, TempRef

if TYPE_CHECKING:
    from seamless_dask_cache.buffer import Buffer

__all__ = ["BufferCache", "TempRef", "get_buffer_cache"]

_COUNTED = ("hits", "misses", "registered", "faded")

Key = str | bytes | Checksum


class BufferCache:
    """Holds the buffers that somebody is interested in, as far as memory allows.

    Parameters
    ----------
    soft_cap, hard_cap : int, optional
        Bytes. By default ``buffer-cache.soft-cap`` and ``buffer-cache.hard-cap`` of the
        configuration, 5 GB and 50 GB, which are read when the first buffer is held.
    clock : callable, optional
        Gives the time in seconds by which temprefs fade. With a clock of your own, they end when
        the cache is next used; with the default one by themselves, too.

    Raises
    ------
    ConfigurationError
        For caps that are negative, or a hard cap below the soft one.

    Notes
    -----
    Thread-safe: each method is one step for all others. Called from a ``__del__`` that interrupts
    one of them, those that change something are put off until it has ended. Nothing here reads a
    store or a database.

    Examples
    --------
    >>> from seamless_dask_cache import Buffer
    >>> cache = BufferCache(soft_cap=1000, hard_cap=2000)
    >>> checksum = Buffer(42, "int").checksum
    >>> cache.incref(checksum, Buffer(42, "int"))
    >>> cache.get(checksum).content
    b'42\\n'
    >>> cache.decref(checksum)
    """

    def __init__(
        self,
        soft_cap: int | None = None,
        hard_cap: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._lock = Section()
        self._clock = clock
        self._weak: weakref.WeakValueDictionary[str, Buffer] = weakref.WeakValueDictionary()
        self._strong = StrongStore()
        self._endings = Endings(self._new_alarm())
        self._counts = dict.fromkeys(_COUNTED, 0)
        if soft_cap is not None or hard_cap is not None:
            self.set_caps(soft_cap, hard_cap)

    # Caps and costs -------------------------------------------------------------------------------

    @property
    def soft_cap(self) -> int:
        """Bytes above which temprefs hold no more."""
        return self._strong.caps()[0]

    @property
    def hard_cap(self) -> int:
        """Bytes above which nothing holds any more."""
        return self._strong.caps()[1]

    def set_caps(self, soft_cap: int | None = None, hard_cap: int | None = None) -> None:
        """Change how many bytes may be held; what is above is let go of at once.

        Parameters
        ----------
        soft_cap, hard_cap : int, optional
            Bytes; None for what is configured.

        Raises
        ------
        ConfigurationError
            As for the cache itself.
        """
        caps = checked_caps(soft_cap, hard_cap)
        with self._lock:
            self._strong.set_caps(*caps)

    def set_cost(
        self,
        checksum: Key,
        *,
        download: DownloadProfile | None = None,
        recomputation: float | None = None,
    ) -> None:
        """Say how a buffer can be had again; what is None stays as it was said before.

        Parameters
        ----------
        checksum : str, bytes or Checksum
        download : DownloadProfile, optional
            Of the store that holds it.
        recomputation : float, optional
            Seconds.

        Raises
        ------
        ConfigurationError
            When one of them makes no sense.
        """
        check_cost(download, recomputation)
        key = checksum_hex(checksum)
        with self._lock:
            self._strong.set_cost(key, download, recomputation)

    # Buffers --------------------------------------------------------------------------------------

    def register(self, buffer: Buffer) -> Buffer:
        """Make a buffer known, so that it is found while somebody holds it.

        Returns
        -------
        Buffer
            The one that is known by this checksum: an equal one that was there before, or this;
            a copy if its memory could change.

        Raises
        ------
        ValueError
            When its memory has changed since its checksum was computed.
        """
        key = buffer.get_checksum().hex()
        buffer = buffer.fixed()
        if self._lock.put_off(functools.partial(self.register, buffer)):
            return buffer
        with self._lock:
            self._end_faded()
            known = self._adopt(key, buffer)
            self._strong.evict()
            return known

    def get(self, checksum: Key) -> Buffer | None:
        """Give the buffer of a checksum; None if it is not here."""
        key = checksum_hex(checksum)
        with self._lock:
            found = self._weak.get(key)
            self._counts["misses" if found is None else "hits"] += 1
            return found

    # References -----------------------------------------------------------------------------------

    def incref(self, checksum: Key, buffer: Buffer | None = None) -> None:
        """Hold a buffer until `decref`, whether it is here already or comes later.

        Parameters
        ----------
        checksum : str, bytes or Checksum
        buffer : Buffer, optional
            Its buffer, if at hand.

        Raises
        ------
        ValueError
            When the buffer is that of another checksum.
        """
        key, buffer = _checked(checksum, buffer)
        if self._lock.put_off(functools.partial(self.incref, key, buffer)):
            return
        with self._lock:
            self._interest(key, buffer).references += 1
            self._strong.evict()

    def decref(self, checksum: Key) -> None:
        """Take back one `incref`.

        Raises
        ------
        ReferenceCountError
            When there is none left.
        """
        key = checksum_hex(checksum)
        if self._lock.put_off(functools.partial(self.decref, key)):
            return
        with self._lock:
            self._end_faded()
            entry = self._strong.entries.get(key)
            if entry is None or not entry.references:
                raise ReferenceCountError(f"decref of {key}, which has no references")
            entry.references -= 1
            self._strong.drop_if_unwanted(key)
            self._strong.evict()  # a tempref that is left holds less

    def tempref(
        self,
        checksum: Key,
        buffer: Buffer | None = None,
        *,
        interest: float = 128.0,
        fade_factor: float = 2.0,
        fade_interval: float = 2.0,
    ) -> TempRef:
        """Hold a buffer for a while; there is one tempref per checksum, which is renewed.

        Parameters
        ----------
        checksum : str, bytes or Checksum
        buffer : Buffer, optional
            Its buffer, if at hand.
        interest, fade_factor, fade_interval : float
            As for `TempRef`. The interest in a tempref that is there already is not lowered.

        Raises
        ------
        ConfigurationError
            When one of the numbers makes no sense.
        ValueError
            When the buffer is that of another checksum.
        """
        given = TempRef(interest, fade_factor, fade_interval, self._clock)
        key, buffer = _checked(checksum, buffer)
        if self._lock.put_off(functools.partial(self._take_tempref, key, buffer, given)):
            return given
        return self._take_tempref(key, buffer, given)

    def _take_tempref(self, key: str, buffer: Buffer | None, given: TempRef) -> TempRef:
        with self._lock:
            entry = self._interest(key, buffer)
            if entry.tempref is None:
                ending = math.inf
                entry.tempref = given
                given.on_clear = functools.partial(self._clear_tempref, key)
            else:
                ending = entry.tempref.ends_at()
                entry.tempref.renew(given)
            if entry.tempref.ends_at() < ending:
                self._endings.add(entry.tempref.ends_at(), key)
            tempref = entry.tempref
            self._strong.evict()
            return tempref

    def references(self, checksum: Key) -> int:
        """Give the number of references to a checksum."""
        entry = self._strong.entries.get(checksum_hex(checksum))
        return 0 if entry is None else entry.references

    # State ----------------------------------------------------------------------------------------

    def evict(self) -> int:
        """End what has faded, and let go of what is above the caps.

        Returns
        -------
        int
            Bytes that are no longer held.
        """
        with self._lock:
            before = self._strong.nbytes
            self._end_faded()
            self._strong.evict()
            return before - self._strong.nbytes

    def clear(self) -> None:
        """Forget all interest; buffers that somebody holds are still found."""
        if self._lock.put_off(self.clear):
            return
        with self._lock:
            self._strong.clear()
            self._endings.clear()

    def stats(self) -> dict[str, int]:
        """Give numbers on what is held and what happened.

        Returns
        -------
        dict
            ``strong_bytes`` and ``strong_count`` of what the cache holds; ``weak_count`` of all
            that is found; ``references`` and ``temprefs``; the caps; and how often: ``hits`` and
            ``misses`` of `get`, ``registered`` buffers, ``evicted`` ones, and temprefs that
            ``faded``.
        """
        with self._lock:
            self._end_faded()
            entries = self._strong.entries.values()
            return {
                "strong_bytes": self._strong.nbytes,
                "strong_count": sum(entry.buffer is not None for entry in entries),
                "weak_count": len(self._weak),
                "references": sum(entry.references for entry in entries),
                "temprefs": sum(entry.tempref is not None for entry in entries),
                "soft_cap": self.soft_cap,
                "hard_cap": self.hard_cap,
                "evicted": self._strong.evicted,
                **self._counts,
            }

    # With the lock held ---------------------------------------------------------------------------

    def _interest(self, key: str, buffer: Buffer | None) -> Entry:
        self._end_faded()
        entry = self._strong.entry(key)
        if buffer is not None:
            self._adopt(key, buffer)
        elif (known := self._weak.get(key)) is not None:
            self._strong.hold(key, known)
        return entry

    def _adopt(self, key: str, buffer: Buffer) -> Buffer:
        # Whoever calls this sees to the caps, once it is said why the buffer is held.
        known = self._weak.get(key)
        if known is None:
            known = self._weak[key] = buffer
            self._counts["registered"] += 1
        self._strong.hold(key, known)
        return known

    def _end_faded(self) -> None:
        if not self._endings:
            return
        now = self._clock()
        for key in self._endings.due(now):
            entry = self._strong.entries.get(key)
            if entry is None or entry.tempref is None:
                continue
            ends = entry.tempref.ends_at()
            if ends > now:  # it was refreshed
                self._endings.add(ends, key)
                continue
            entry.tempref = None
            self._counts["faded"] += 1
            self._strong.drop_if_unwanted(key)

    # Called by others -----------------------------------------------------------------------------

    def _clear_tempref(self, key: str, tempref: TempRef) -> None:
        if self._lock.put_off(functools.partial(self._clear_tempref, key, tempref)):
            return
        with self._lock:
            entry = self._strong.entries.get(key)
            if entry is not None and entry.tempref is tempref:
                entry.tempref = None
                self._strong.drop_if_unwanted(key)

    def _end_faded_now(self) -> None:
        with self._lock:
            self._end_faded()
            self._endings.set_alarm()

    def _new_alarm(self) -> Alarm | None:
        return Alarm(self._end_faded_now) if self._clock is time.monotonic else None

    def _after_fork(self) -> None:
        # Locks that other threads held are held forever here, and timers do not run on.
        self._lock = Section()
        self._endings.set_alarm(self._new_alarm())


def _checked(checksum: Key, buffer: Buffer | None) -> tuple[str, Buffer | None]:
    key = checksum_hex(checksum)
    if buffer is None:
        return key, None
    if buffer.get_checksum() != key:
        raise ValueError(f"the buffer has checksum {buffer.get_checksum()}, not {key}")
    return key, buffer.fixed()


_cache = BufferCache()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_cache._after_fork)


def get_buffer_cache() -> BufferCache:
    """Give the buffer cache of this process, which `Checksum` and `Buffer` use."""
    return _cache
