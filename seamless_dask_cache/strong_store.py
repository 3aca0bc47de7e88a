"""The buffers that a cache holds itself, and which of them it lets go of first."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import TYPE_CHECKING

from seamless_dask_cache.buffer_costs import UNKNOWN, Cost, DownloadProfile
from seamless_dask_cache.errors import ConfigurationError

if TYPE_CHECKING:
    from seamless_dask_cache.buffer import Buffer
    from seamless_dask_cache.temprefs import TempRef

MOST_COSTS = 100_000
"""Checksums whose cost is remembered, whether their buffers are held or not."""

_SLACK = 16


class Entry:
    """The interest in one checksum, and its buffer if that is here."""

    __slots__ = ("buffer", "references", "tempref")

    def __init__(self) -> None:
        self.buffer: Buffer | None = None
        self.references = 0
        self.tempref: TempRef | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that are held for it."""
        return 0 if self.buffer is None else len(self.buffer)

    def interest(self) -> float:
        """Add up all that there is."""
        fading = 0.0 if self.tempref is None else self.tempref.current_interest()
        return self.references + fading


class StrongStore:
    """Entries by checksum (hex), and the sum of their bytes.

    Notes
    -----
    Not thread-safe: `BufferCache` has the lock.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.nbytes = 0
        self.evicted = 0
        self._costs: dict[str, Cost] = {}
        self._caps: tuple[int, int] | None = None

    def caps(self) -> tuple[int, int]:
        """Give the soft and the hard cap; without any, the configured ones from now on."""
        if self._caps is None:
            self._caps = checked_caps(None, None)
        return self._caps

    def set_caps(self, soft_cap: int, hard_cap: int) -> None:
        """Change the caps, and let go of what is above."""
        self._caps = soft_cap, hard_cap
        self.evict()

    def set_cost(
        self, key: str, download: DownloadProfile | None, recomputation: float | None
    ) -> None:
        """Say how a buffer can be had again; what is None stays as it was."""
        known = self._costs.pop(key, UNKNOWN)
        self._costs[key] = Cost(
            known.download if download is None else download,
            known.recomputation if recomputation is None else recomputation,
        )
        if len(self._costs) > MOST_COSTS:
            del self._costs[next(iter(self._costs))]

    def entry(self, key: str) -> Entry:
        """Give the entry of a checksum, a new one if there is none."""
        found = self.entries.get(key)
        if found is None:
            found = self.entries[key] = Entry()
        return found

    def hold(self, key: str, buffer: Buffer) -> None:
        """Hold a buffer in which there is interest, until `evict` has its say."""
        entry = self.entries.get(key)
        if entry is not None and entry.buffer is None:
            entry.buffer = buffer
            self.nbytes += len(buffer)

    def drop_if_unwanted(self, key: str) -> None:
        """Forget an entry without any interest."""
        entry = self.entries[key]
        if not entry.references and entry.tempref is None:
            self._let_go(entry)
            del self.entries[key]

    def clear(self) -> None:
        """Forget all of them."""
        for entry in self.entries.values():
            self._let_go(entry)
        self.entries.clear()

    def evict(self) -> None:
        """Let go of what is above the caps: above the soft one, of what only temprefs hold."""
        if not self.nbytes:
            return
        soft_cap, hard_cap = self.caps()
        if self.nbytes > soft_cap:
            # A little more than needed, so that not each further buffer asks who is next.
            fading = [item for item in self._held() if not item[1].references]
            self._evict_down_to(soft_cap - soft_cap // _SLACK, fading)
        if self.nbytes > hard_cap:
            self._evict_down_to(hard_cap, self._held())

    def _let_go(self, entry: Entry) -> None:
        self.nbytes -= entry.nbytes
        entry.buffer = None

    def _held(self) -> list[tuple[str, Entry]]:
        return [item for item in list(self.entries.items()) if item[1].buffer is not None]

    def _evict_down_to(self, cap: int, candidates: Iterable[tuple[str, Entry]]) -> None:
        queue = [(*self._loss(key, entry), key, entry) for key, entry in candidates]
        heapq.heapify(queue)
        while queue and self.nbytes > cap:
            self._let_go(heapq.heappop(queue)[-1])
            self.evicted += 1

    def _loss(self, key: str, entry: Entry) -> tuple[float, float]:
        """Give what is lost per byte; of what is irreplaceable, the interest counts."""
        interest, nbytes = entry.interest(), max(1, entry.nbytes)
        seconds = self._costs.get(key, UNKNOWN).seconds(nbytes)
        return seconds * interest / nbytes if interest else 0.0, interest / nbytes


def checked_caps(soft_cap: int | None, hard_cap: int | None) -> tuple[int, int]:
    """Give both caps, the configured one where there is None.

    Raises
    ------
    ConfigurationError
        For caps that make no sense.
    """
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
