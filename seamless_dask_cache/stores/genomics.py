"""Stores of tracks and of genomes, by where they came from."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Mapping, MappingView
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from seamless_dask_cache.stores.parameters import shown
from seamless_dask_cache.stores.provenance import Provenance
from seamless_dask_cache.stores.provenance_store import ProvenanceStore
from seamless_dask_cache.stores.records import Facts, Record, said


@dataclass(frozen=True, eq=False)
class StoredTrack(Record):
    """What a `TrackStore` keeps of a track.

    Parameters
    ----------
    id, created_at, provenance, temp_file
        As for every `Record`.
    track : object
        As it was put.
    track_type : str
        What the track says of itself, such as "interval" or "signal"; else the name of its type.
    chroms : collection of str or None
        The chromosomes that it has something on; None where neither who put it nor the track says.

    Examples
    --------
    >>> store = TrackStore()
    >>> record = store[store.put([("chr1", 0, 10)], chroms=["chr1"])]
    >>> record.track_type, record.chroms
    ('list', ['chr1'])
    """

    id: str
    track: Any
    track_type: str
    chroms: Any
    created_at: datetime
    provenance: Provenance | None = None
    temp_file: Path | None = None

    @property
    def stored(self) -> Any:
        """The track, as it was put."""
        return self.track


class TrackStore(ProvenanceStore[StoredTrack]):
    """Tracks by id, where what has one provenance is there once.

    Parameters
    ----------
    linked, database
        As for `ProvenanceStore`, which describes all but `put`. Link the genomes that tracks are
        computed from.

    Examples
    --------
    >>> genomes = GenomeStore()
    >>> genome = genomes.put({"chr1": "GATTACA"})
    >>> tracks = TrackStore(linked=[genomes])
    >>> def find_motif(genome, motif):
    ...     return [(name, text.find(motif)) for name, text in genome.items()]
    >>> hits = tracks.compute("find_motif", [genome], {"motif": "TTA"}, find_motif)
    >>> tracks[hits].track
    [('chr1', 2)]
    """

    def put(
        self,
        track: Any,
        *,
        chroms: Any = None,
        provenance: Provenance | None = None,
        temp_file: str | os.PathLike[str] | None = None,
    ) -> str:
        """Keep a track, unless there is one of the same provenance.

        Parameters
        ----------
        track : object
        chroms : collection of str, optional
            The chromosomes that it has something on: copied, of the type that they have, a tuple of
            a view or an iterator. What the track itself says by default.
        provenance, temp_file
            As for `ProvenanceStore.put`.

        Returns
        -------
        str
            A random UUID; or the id of the record with this provenance, which stays as it is.

        Raises
        ------
        TypeError
            For chromosomes that are no collection, and as `ProvenanceStore.put` raises it.

        Examples
        --------
        >>> TrackStore().put([]) == TrackStore().put([])
        False
        """
        kind = said(track, "track_type", str)
        track_type = type(track).__name__ if kind is None else kind
        own = _copied(_chroms_of(track) if chroms is None else chroms)

        def record(facts: Facts) -> StoredTrack:
            return StoredTrack(track=track, track_type=track_type, chroms=own, **facts._asdict())

        return self._put(record, provenance, temp_file)


def _chroms_of(track: Any) -> Any:
    own: Any = said(track, "chroms", Iterable)
    return None if isinstance(own, str) else own


def _copied(chroms: Any) -> Any:
    if chroms is None:
        return None
    if isinstance(chroms, str) or not isinstance(chroms, Iterable):
        raise TypeError(
            f"chroms must be several names, such as a list of them, not {shown(chroms)}"
        )
    # What only looks into something else, or can be read once, has no copy of its type.
    is_passing = isinstance(chroms, MappingView | Iterator)
    return tuple(chroms) if is_passing else copy.copy(chroms)


@dataclass(frozen=True, eq=False)
class StoredGenome(Record):
    """What a `GenomeStore` keeps of a genome.

    Parameters
    ----------
    id, created_at, provenance, temp_file
        As for every `Record`.
    genome : object
        As it was put.

    Examples
    --------
    >>> store = GenomeStore()
    >>> store[store.put({"chr1": "GATTACA"})].chrom_lengths
    {'chr1': 7}
    """

    id: str
    genome: Any
    created_at: datetime
    provenance: Provenance | None = None
    temp_file: Path | None = None

    @property
    def stored(self) -> Any:
        """The genome, as it was put."""
        return self.genome

    @property
    def chrom_lengths(self) -> Mapping[str, int]:
        """Bases of each chromosome, by name: as the genome says, or as long as its sequences are.

        Raises
        ------
        TypeError
            When the genome is neither a `Genome` nor a mapping from names to sequences.
        """
        own: Any = said(self.genome, "chrom_lengths", Mapping)
        if own is not None:
            return dict(own)
        if not isinstance(self.genome, Mapping):
            kind = type(self.genome).__qualname__
            raise TypeError(f"this {kind} tells nothing of its chromosomes")
        return {name: len(sequence) for name, sequence in self.genome.items()}


class GenomeStore(ProvenanceStore[StoredGenome]):
    """Genomes by id, where what has one provenance is there once.

    Parameters
    ----------
    linked, database
        As for `ProvenanceStore`, which describes everything.

    Examples
    --------
    >>> store = GenomeStore()
    >>> made = Provenance("read", params={"file": "demo.fasta"})
    >>> store.put({"chr1": "GATTACA"}, provenance=made) == store.find(made)
    True
    """

    def put(
        self,
        genome: Any,
        *,
        provenance: Provenance | None = None,
        temp_file: str | os.PathLike[str] | None = None,
    ) -> str:
        """Keep a genome, unless there is one of the same provenance.

        Parameters
        ----------
        genome : object
        provenance, temp_file
            As for `ProvenanceStore.put`.

        Returns
        -------
        str
            A random UUID; or the id of the record with this provenance, which stays as it is.

        Examples
        --------
        >>> GenomeStore().put({}) == GenomeStore().put({})
        False
        """

        def record(facts: Facts) -> StoredGenome:
            return StoredGenome(genome=genome, **facts._asdict())

        return self._put(record, provenance, temp_file)
