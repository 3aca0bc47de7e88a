"""Stores for results of genomics, and the small types that they hold.

>>> from seamless_dask_cache.stores import Interval, IntervalTrack
>>> genes = IntervalTrack("genes", [Interval("chr1", 100, 200, "a"), Interval("chr1", 150, 180)])
>>> len(genes.query("chr1", 190, 300))
1
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from seamless_dask_cache.stores.bed import read_bed, write_bed
    from seamless_dask_cache.stores.fasta import read_fasta, write_fasta
    from seamless_dask_cache.stores.genomes import Genome
    from seamless_dask_cache.stores.intervals import Interval, Intervals
    from seamless_dask_cache.stores.labels import TrackLabel
    from seamless_dask_cache.stores.signals import SignalTrack
    from seamless_dask_cache.stores.tracks import IntervalTrack

_HOMES = {
    "Genome": "genomes",
    "Interval": "intervals",
    "IntervalTrack": "tracks",
    "Intervals": "intervals",
    "SignalTrack": "signals",
    "TrackLabel": "labels",
    "read_bed": "bed",
    "read_fasta": "fasta",
    "write_bed": "bed",
    "write_fasta": "fasta",
}

__all__ = [
    "Genome",
    "Interval",
    "IntervalTrack",
    "Intervals",
    "SignalTrack",
    "TrackLabel",
    "read_bed",
    "read_fasta",
    "write_bed",
    "write_fasta",
]


def __getattr__(name: str) -> Any:
    # Names load their module when first used: most of these need numpy.
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return __all__
