"""References to buffers that fade by themselves."""

from __future__ import annotations

import heapq
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator

from seamless_dask_cache.errors import ConfigurationError

MINIMAL_INTEREST = 1 / 128
"""An interest below this is none."""


class TempRef:
    """An interest in a buffer that fades with time; `BufferCache.tempref` makes it.

    The interest is divided by `fade_factor` in each `fade_interval`, and ends where it is less than
    1/128: by default after 28 s (source of the numbers: seamless-core 0.1.4,
    caching/buffer_cache.py).

    Parameters
    ----------
    interest : float
        What it starts from; one reference counts as 1.
    fade_factor : float
        More than 1.
    fade_interval : float
        Seconds.
    clock : callable, optional
        Gives the time in seconds.

    Raises
    ------
    ConfigurationError
        When one of the numbers makes no sense.

    Notes
    -----
    Thread-safe. What fades never is a reference: use `incref`.
    """

    __slots__ = ("_clock", "_fade_factor", "_fade_interval", "_interest", "_since", "on_clear")

    def __init__(
        self,
        interest: float = 128.0,
        fade_factor: float = 2.0,
        fade_interval: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        _check("interest", interest, 0.0)
        _check("fade_factor", fade_factor, 1.0)
        _check("fade_interval", fade_interval, 0.0)
        self._clock = clock
        self._fade_factor, self._fade_interval = fade_factor, fade_interval
        self._interest, self._since = interest, clock()
        self.on_clear: Callable[[TempRef], None] | None = None

    @property
    def interest(self) -> float:
        """What it started from, or was last refreshed to."""
        return self._interest

    @property
    def fade_factor(self) -> float:
        """What it is divided by in each interval."""
        return self._fade_factor

    @property
    def fade_interval(self) -> float:
        """Seconds of an interval."""
        return self._fade_interval

    def current_interest(self) -> float:
        """Give what is left of it now."""
        intervals = max(0.0, self._clock() - self._since) / self._fade_interval
        return self._interest * math.exp(-intervals * math.log(self._fade_factor))

    def refresh(self) -> None:
        """Start again from the full interest, unless it has ended."""
        self._since = self._clock()

    def clear(self) -> None:
        """End it now."""
        self._interest = 0.0
        if self.on_clear is not None:
            self.on_clear(self)

    def ends_at(self) -> float:
        """Give the time, by its clock, from which on it is no interest any more."""
        if self._interest < MINIMAL_INTEREST:
            return self._since
        intervals = math.log(self._interest / MINIMAL_INTEREST) / math.log(self._fade_factor)
        return self._since + intervals * self._fade_interval

    def renew(self, other: TempRef) -> None:
        """Take the numbers of a later one; an interest that is still larger is kept."""
        now = self._clock()
        kept = max(self.current_interest(), other.interest)
        self._fade_factor, self._fade_interval = other.fade_factor, other.fade_interval
        self._interest, self._since = kept, now

    def __repr__(self) -> str:
        return f"<TempRef: interest {self.current_interest():.3g} of {self._interest:.3g}>"


class Endings:
    """When which tempref is to be looked at, because it ends unless it was refreshed.

    Parameters
    ----------
    alarm : Alarm, optional
        Set to the earliest time.

    Notes
    -----
    Not thread-safe: `BufferCache` has the lock.
    """

    def __init__(self, alarm: Alarm | None) -> None:
        self._heap: list[tuple[float, str]] = []
        self._alarm = alarm

    def __bool__(self) -> bool:
        return bool(self._heap)

    def add(self, at: float, key: str) -> None:
        """Note a time for a checksum (hex)."""
        heapq.heappush(self._heap, (at, key))
        self.set_alarm()

    def set_alarm(self, alarm: Alarm | None = None) -> None:
        """Set the alarm to the earliest time, or a new one, where there is one."""
        self._alarm = alarm or self._alarm
        if self._alarm is not None and self._heap:
            self._alarm.set(self._heap[0][0])

    def due(self, now: float) -> Iterator[str]:
        """Take out, one by one, the checksums whose time has come."""
        while self._heap and self._heap[0][0] <= now:
            yield heapq.heappop(self._heap)[1]

    def clear(self) -> None:
        """Forget all of them."""
        self._heap.clear()


class Alarm:
    """Calls a method at a time, in a thread of its own; the earliest time that was set counts.

    Parameters
    ----------
    method : bound method
        Called without arguments, unless its object is gone by then.

    Notes
    -----
    Not thread-safe: who sets it holds the lock of the object. The thread is a daemon, and there is
    none while no time is set.
    """

    _SOONEST, _LONGEST = 0.01, 3600.0

    def __init__(self, method: Callable[[], None]) -> None:
        self._method = weakref.WeakMethod(method)
        self._timer: threading.Timer | None = None
        self._at = math.inf

    def set(self, at: float) -> None:
        """Set a time, by `time.monotonic`."""
        if at >= self._at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._at = at
        wait = min(max(self._SOONEST, at - time.monotonic()), self._LONGEST)
        self._timer = threading.Timer(wait, self._ring, [at])
        self._timer.name, self._timer.daemon = "buffer-cache-alarm", True
        try:
            self._timer.start()
        except RuntimeError:  # no thread is to be had; the next use of the cache does it
            self._timer, self._at = None, math.inf

    def _ring(self, at: float) -> None:
        if self._at == at:
            self._timer, self._at = None, math.inf
        method = self._method()
        if method is not None:
            method()


def _check(name: str, value: object, above: float) -> None:
    if not isinstance(value, int | float) or not above < value < math.inf:
        raise ConfigurationError(f"{name} must be a finite number above {above:g}, not {value!r}")
