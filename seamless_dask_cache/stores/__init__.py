"""Stores of named things: datasets in a folder, and results by where they came from.

>>> import tempfile
>>> from seamless_dask_cache.stores import Interval, IntervalTrack, Provenance, TrackStore, dirdb
>>> with tempfile.TemporaryDirectory() as folder:
...     db = dirdb(folder)
...     db["squares"].put_data([0, 1, 4, 9], meta={"count": 4})
...     [(entry.name, entry.meta.count, entry.get_data()) for entry in db]
[('squares', 4, [0, 1, 4, 9])]
>>> store = TrackStore()
>>> genes = IntervalTrack("genes", [Interval("chr1", 100, 200, "a"), Interval("chr1", 150, 180)])
>>> id = store.put(genes, provenance=Provenance("read", params={"file": "genes.bed"}))
>>> len(store[id].track.query("chr1", 190, 300))
1
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from seamless_dask_cache.stores.bed import read_bed, write_bed
    from seamless_dask_cache.stores.directory import DirectoryStore, dirdb
    from seamless_dask_cache.stores.entry import DatasetEntry
    from seamless_dask_cache.stores.facts import DatasetFacts
    from seamless_dask_cache.stores.fasta import read_fasta, write_fasta
    from seamless_dask_cache.stores.genomes import Genome
    from seamless_dask_cache.stores.genomics import (
        GenomeStore,
        StoredGenome,
        StoredTrack,
        TrackStore,
    )
    from seamless_dask_cache.stores.intervals import Interval, Intervals
    from seamless_dask_cache.stores.labels import TrackLabel
    from seamless_dask_cache.stores.lineage import Ancestor, Lineage
    from seamless_dask_cache.stores.metadata import Metadata
    from seamless_dask_cache.stores.provenance import Provenance
    from seamless_dask_cache.stores.provenance_store import ProvenanceStore
    from seamless_dask_cache.stores.records import Record, StoredItem
    from seamless_dask_cache.stores.signals import SignalTrack
    from seamless_dask_cache.stores.tracks import IntervalTrack

_HOMES = {
    "Ancestor": "lineage",
    "DatasetEntry": "entry",
    "DatasetFacts": "facts",
    "DirectoryStore": "directory",
    "Genome": "genomes",
    "GenomeStore": "genomics",
    "Interval": "intervals",
    "IntervalTrack": "tracks",
    "Intervals": "intervals",
    "Lineage": "lineage",
    "Metadata": "metadata",
    "Provenance": "provenance",
    "ProvenanceStore": "provenance_store",
    "Record": "records",
    "SignalTrack": "signals",
    "StoredGenome": "genomics",
    "StoredItem": "records",
    "StoredTrack": "genomics",
    "TrackLabel": "labels",
    "TrackStore": "genomics",
    "dirdb": "directory",
    "read_bed": "bed",
    "read_fasta": "fasta",
    "write_bed": "bed",
    "write_fasta": "fasta",
}

__all__ = [
    "Ancestor",
    "DatasetEntry",
    "DatasetFacts",
    "DirectoryStore",
    "Genome",
    "GenomeStore",
    "Interval",
    "IntervalTrack",
    "Intervals",
    "Lineage",
    "Metadata",
    "Provenance",
    "ProvenanceStore",
    "Record",
    "SignalTrack",
    "StoredGenome",
    "StoredItem",
    "StoredTrack",
    "TrackLabel",
    "TrackStore",
    "dirdb",
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
