"""Stores of named things: results by where they came from, and the genomic types among them.

>>> from seamless_dask_cache.stores import Provenance
>>> Provenance("intersect", ["b", "a"], {"slop": 5})
Provenance('intersect', ('a', 'b'), (('slop', 5),))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seamless_dask_cache.stores.genomics import (
        GenomeStore,
        StoredGenome,
        StoredTrack,
        TrackStore,
    )
    from seamless_dask_cache.stores.lineage import Ancestor, Lineage
    from seamless_dask_cache.stores.provenance import Provenance
    from seamless_dask_cache.stores.provenance_store import ProvenanceStore
    from seamless_dask_cache.stores.records import Record, StoredItem

_HOMES = {
    "Ancestor": "lineage",
    "GenomeStore": "genomics",
    "Lineage": "lineage",
    "Provenance": "provenance",
    "ProvenanceStore": "provenance_store",
    "Record": "records",
    "StoredGenome": "genomics",
    "StoredItem": "records",
    "StoredTrack": "genomics",
    "TrackStore": "genomics",
}

__all__ = [
    "Ancestor",
    "GenomeStore",
    "Lineage",
    "Provenance",
    "ProvenanceStore",
    "Record",
    "StoredGenome",
    "StoredItem",
    "StoredTrack",
    "TrackStore",
]


def __getattr__(name: str) -> Any:
    # Names load their module when first used, so that importing this package stays light.
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return __all__
