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
import heapq
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from seamless_dask_cache.buffer_costs import UNKNOWN, Cost, DownloadProfile, check_cost
from seamless_dask_cache.checksum import Checksum, checksum_hex
from seamless_dask_cache.errors import ConfigurationError, ReferenceCountError
from seamless_dask_cache.temprefs import TempRef

if TYPE_CHECKING:
    from seamless_dask_cache.buffer import Buffer

__all__ = ["BufferCache", "TempRef", "get_buffer_cache"]

_SLACK = 16
_COUNTED = ("hits", "misses", "registered", "evicted", "faded")

Key = str | bytes | Checksum


class _Entry:
    """The interest in one checksum, and its buffer if that is here."""

    __slots__ = ("buffer", "references", "tempref")

    def __init__(self) -> None:
        self.buffer: Buffer | None = None
        self.references = 0
        self.tempref: TempRef | None = None

    @property
    def nbytes(self) -> int:
        return 0 if self.buffer is None else len(self.buffer)

    def interest(self) -> float:
        """Add up all that there is."""
        fading = 0.0 if self.tempref is None else self.tempref.current_interest()
        return self.references + fading


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
    Thread-safe: each method is one step for all others. Nothing here reads a store or a database.

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
        self._lock = threading.RLock()
        self._clock = clock
        self._weak: weakref.WeakValueDictionary[str, Buffer] = weakref.WeakValueDictionary()
        self._entries: dict[str, _Entry] = {}
        self._costs: dict[str, Cost] = {}
        self._endings: list[tuple[float, str]] = []
        self._alarm: threading.Timer | None = None
        self._alarm_at = math.inf
        self._nbytes = 0
        self._counts = dict.fromkeys(_COUNTED, 0)
        self._caps: tuple[int, int] | None = None
        if soft_cap is not None or hard_cap is not None:
            self.set_caps(soft_cap, hard_cap)

    # Caps and costs -------------------------------------------------------------------------------

    @property
    def soft_cap(self) -> int:
        """Bytes above which temprefs hold no more."""
        return self._read_caps()[0]

    @property
    def hard_cap(self) -> int:
        """Bytes above which nothing holds any more."""
        return self._read_caps()[1]

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
        caps = _checked_caps(soft_cap, hard_cap)
        with self._lock:
            self._caps = caps
            self._evict()

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
            known = self._costs.get(key, UNKNOWN)
            self._costs[key] = Cost(
                known.download if download is None else download,
                known.recomputation if recomputation is None else recomputation,
            )

    # Buffers --------------------------------------------------------------------------------------

    def register(self, buffer: Buffer) -> Buffer:
        """Make a buffer known, so that it is found while somebody holds it.

        Returns
        -------
        Buffer
            The one that is known by this checksum: an equal one that was there before, or this;
            a copy if its memory could change.
        """
        key = buffer.get_checksum().hex()
        with self._lock:
            self._end_faded()
            known = self._adopt(key, buffer)
            self._evict()
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
        key = self._checked(checksum, buffer)
        with self._lock:
            self._interest(key, buffer).references += 1
            self._evict()

    def decref(self, checksum: Key) -> None:
        """Take back one `incref`.

        Raises
        ------
        ReferenceCountError
            When there is none left.
        """
        key = checksum_hex(checksum)
        with self._lock:
            self._end_faded()
            entry = self._entries.get(key)
            if entry is None or not entry.references:
                raise ReferenceCountError(f"decref of {key}, which has no references")
            entry.references -= 1
            self._drop_if_unwanted(key, entry)
            if not entry.references and entry.tempref is not None:
                self._evict()  # from now on only the tempref holds it

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
        key = self._checked(checksum, buffer)
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
                heapq.heappush(self._endings, (entry.tempref.ends_at(), key))
            self._evict()
            self._set_alarm()
            return entry.tempref

    def references(self, checksum: Key) -> int:
        """Give the number of references to a checksum."""
        entry = self._entries.get(checksum_hex(checksum))
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
            before = self._nbytes
            self._end_faded()
            self._evict()
            return before - self._nbytes

    def clear(self) -> None:
        """Forget all interest; buffers that somebody holds are still found."""
        with self._lock:
            for entry in self._entries.values():
                self._let_go(entry)
            self._entries.clear()
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
            entries = self._entries.values()
            return {
                "strong_bytes": self._nbytes,
                "strong_count": sum(entry.buffer is not None for entry in entries),
                "weak_count": len(self._weak),
                "references": sum(entry.references for entry in entries),
                "temprefs": sum(entry.tempref is not None for entry in entries),
                "soft_cap": self.soft_cap,
                "hard_cap": self.hard_cap,
                **self._counts,
            }

    # With the lock held ---------------------------------------------------------------------------

    def _interest(self, key: str, buffer: Buffer | None) -> _Entry:
        self._end_faded()
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry()
        if buffer is not None:
            self._adopt(key, buffer)
        elif (known := self._weak.get(key)) is not None:
            self._hold(entry, known)
        return entry

    def _adopt(self, key: str, buffer: Buffer) -> Buffer:
        known = self._weak.get(key)
        if known is None:
            known = buffer if buffer.is_fixed else type(buffer)(bytes(buffer.content))
            self._weak[key] = known
            self._counts["registered"] += 1
        entry = self._entries.get(key)
        if entry is not None:
            self._hold(entry, known)
        return known

    def _hold(self, entry: _Entry, buffer: Buffer) -> None:
        # Whoever calls this sees to the caps, once it is said why the buffer is held.
        if entry.buffer is None:
            entry.buffer = buffer
            self._nbytes += len(buffer)

    def _let_go(self, entry: _Entry) -> None:
        self._nbytes -= entry.nbytes
        entry.buffer = None

    def _drop_if_unwanted(self, key: str, entry: _Entry) -> None:
        if not entry.references and entry.tempref is None:
            self._let_go(entry)
            del self._entries[key]

    def _end_faded(self) -> None:
        if not self._endings:
            return
        now = self._clock()
        while self._endings and self._endings[0][0] <= now:
            _, key = heapq.heappop(self._endings)
            entry = self._entries.get(key)
            if entry is not None and entry.tempref is not None:
                self._end_if_faded(key, entry, entry.tempref, now)

    def _end_if_faded(self, key: str, entry: _Entry, tempref: TempRef, now: float) -> None:
        ends = tempref.ends_at()
        if ends > now:  # it was refreshed
            heapq.heappush(self._endings, (ends, key))
            return
        entry.tempref = None
        self._counts["faded"] += 1
        self._drop_if_unwanted(key, entry)

    def _clear_tempref(self, key: str, tempref: TempRef) -> None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.tempref is tempref:
                entry.tempref = None
                self._drop_if_unwanted(key, entry)

    def _read_caps(self) -> tuple[int, int]:
        if self._caps is None:
            self._caps = _checked_caps(None, None)
        return self._caps

    def _evict(self) -> None:
        if not self._nbytes:
            return
        soft_cap, hard_cap = self._read_caps()
        if self._nbytes > soft_cap:
            # A little more than needed, so that not each further buffer asks who is next.
            fading = (item for item in self._held() if not item[1].references)
            self._evict_down_to(soft_cap - soft_cap // _SLACK, fading)
        if self._nbytes > hard_cap:
            self._evict_down_to(hard_cap, self._held())

    def _held(self) -> Iterable[tuple[str, _Entry]]:
        return (item for item in self._entries.items() if item[1].buffer is not None)

    def _evict_down_to(self, cap: int, candidates: Iterable[tuple[str, _Entry]]) -> None:
        queue = [(*self._loss(key, entry), key, entry) for key, entry in candidates]
        heapq.heapify(queue)
        while queue and self._nbytes > cap:
            entry: _Entry = heapq.heappop(queue)[-1]
            self._let_go(entry)
            self._counts["evicted"] += 1

    def _loss(self, key: str, entry: _Entry) -> tuple[float, float]:
        """Give what is lost per byte; of what is irreplaceable, the interest counts."""
        interest, nbytes = entry.interest(), max(1, entry.nbytes)
        seconds = self._costs.get(key, UNKNOWN).seconds(nbytes)
        return seconds * interest / nbytes if interest else 0.0, interest / nbytes

    @staticmethod
    def _checked(checksum: Key, buffer: Buffer | None) -> str:
        key = checksum_hex(checksum)
        if buffer is not None and buffer.get_checksum() != key:
            raise ValueError(f"the buffer has checksum {buffer.get_checksum()}, not {key}")
        return key

    # The alarm: temprefs end although nobody uses the cache ---------------------------------------

    def _set_alarm(self) -> None:
        if not self._endings or self._clock is not time.monotonic:
            return
        due = self._endings[0][0]
        if due >= self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        wait = max(0.01, due - self._clock())
        self._alarm = threading.Timer(wait, _ring, [weakref.ref(self)])
        self._alarm.name, self._alarm.daemon = "buffer-cache-alarm", True
        self._alarm_at = due
        self._alarm.start()

    def _rung(self) -> None:
        with self._lock:
            self._alarm, self._alarm_at = None, math.inf
            self._end_faded()
            self._set_alarm()

    def _after_fork(self) -> None:
        # Locks that other threads held are held forever here, and timers do not run on.
        self._lock = threading.RLock()
        self._alarm, self._alarm_at = None, math.inf


def _ring(cache: weakref.ref[BufferCache]) -> None:
    found = cache()
    if found is not None:
        found._rung()


def _checked_caps(soft_cap: int | None, hard_cap: int | None) -> tuple[int, int]:
    if soft_cap is None or hard_cap is None:
        from seamless_dask_cache.config import nbytes

        soft_cap = nbytes("buffer-cache.soft-cap") if soft_cap is None else soft_cap
        hard_cap = nbytes("buffer-cache.hard-cap") if hard_cap is None else hard_cap
    for name, cap in (("soft_cap", soft_cap), ("hard_cap", hard_cap)):
        if not isinstance(cap, int) or cap < 0:
            raise ConfigurationError(f"{name} must be a number of bytes, not {cap!r}")
    if hard_cap < soft_cap:
        raise ConfigurationError(f"hard_cap {hard_cap} is below soft_cap {soft_cap}")
    return soft_cap, hard_cap


@functools.cache
def get_buffer_cache() -> BufferCache:
    """Give the buffer cache of this process, which `Checksum` and `Buffer` use."""
    cache = BufferCache()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=cache._after_fork)
    return cache
