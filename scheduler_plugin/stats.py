"""Counters of the plugin."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Stats:
    """What the cache did since it was enabled.

    Attributes
    ----------
    graphs : int
        Submitted graphs.
    tasks : int
        Tasks in them; ``hits + misses + refused`` of them were judged, the rest the scheduler held.
    hits : int
        Tasks that need not run: restored ones, and those that only restored ones needed.
    pruned : int
        The part of the hits that was not scheduled at all.
    cut : int
        The part of the hits that was found by the content of their inputs, while the graph ran.
    misses : int
        Tasks with an identity that the database did not know.
    refused : int
        Tasks without a certain identity, or with an effect.
    computed : int
        Tasks that ran to their end.
    restored : int
        Results brought back into worker memory.
    healed : int
        Promised buffers that were missing or unreadable, and recomputed.
    stored : int
        Results whose record the database acknowledged.
    bytes_stored, bytes_restored : int
        Sizes of their buffers.
    seconds_saved : float
        Recorded compute time of the hits, as far as it is on record.
    awaited : int
        Results that were waited for, as another cluster was computing them.
    taken_over : int
        The part of them that was computed here in the end.
    diverged : int
        Write-backs that differ from the result on record, which stays.
    quarantined : int
        Transformations that an audit found irreproducible; they are not served any more.
    errors : int
        Faults of the cache that were survived.
    """

    graphs: int = 0
    tasks: int = 0
    hits: int = 0
    pruned: int = 0
    cut: int = 0
    misses: int = 0
    refused: int = 0
    computed: int = 0
    restored: int = 0
    healed: int = 0
    stored: int = 0
    bytes_stored: int = 0
    bytes_restored: int = 0
    seconds_saved: float = 0.0
    awaited: int = 0
    taken_over: int = 0
    diverged: int = 0
    quarantined: int = 0
    errors: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the counters by name."""
        return asdict(self)
