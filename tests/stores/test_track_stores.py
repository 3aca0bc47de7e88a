"""Stores of tracks and genomes, with real ones in them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import seamless_dask_cache as sdc
from seamless_dask_cache.stores import (
    Genome,
    GenomeStore,
    IntervalTrack,
    Provenance,
    SignalTrack,
    TrackLabel,
    TrackStore,
    read_bed,
    write_bed,
)

ROOT = Path(__file__).parents[2]
GENES = IntervalTrack(TrackLabel("genes"), [("chr2", 5, 9), ("chr1", 0, 3), ("chr1", 7, 20)])
SIGNAL = SignalTrack("coverage", {"chr1": [0.5, 1.5], "chrM": [2.0]}, step=10)
GENOME = Genome("demo", "linear", {"chr1": "GATTACA" * 3, "chr2": "ACGT"}, GENES)


@pytest.mark.parametrize(
    ("track", "kind", "chroms"),
    [
        (GENES, "interval", ("chr1", "chr2")),
        (SIGNAL, "signal", ("chr1", "chrM")),
        ([1, 2], "list", None),
    ],
)
def test_a_track_tells_its_type_and_chromosomes(track, kind, chroms):
    """What a track says of itself stands in its record; of anything else its type."""
    store = TrackStore()
    record = store[store.put(track)]
    assert record.track is track
    assert record.track_type == kind
    assert record.chroms == chroms


@pytest.mark.parametrize(
    "chroms",
    [["chr1"], ("chr1",), {"chr1"}, {"chr1": 20}, np.array(["chr1"]), frozenset(["chr1"])],
    ids=repr,
)
def test_chromosomes_are_copied(chroms):
    """Those that are given count before the track's own, and keep their type; a later change of
    the caller's own is not seen."""
    store = TrackStore()
    found = store[store.put(GENES, chroms=chroms)].chroms
    assert type(found) is type(chroms)
    assert list(found) == ["chr1"]
    if hasattr(chroms, "clear"):
        chroms.clear()
        assert list(found) == ["chr1"]
        assert found is not chroms


@pytest.mark.parametrize("make", [iter, dict.keys, dict.values, lambda names: (n for n in names)])
def test_chromosomes_that_pass_by_become_a_tuple(make):
    """What can be read once, or only looks into something else, is kept as a tuple."""
    names = {"chr1": "chr1", "chr2": "chr2"}
    store = TrackStore()
    assert store[store.put(GENES, chroms=make(names))].chroms == ("chr1", "chr2")


@pytest.mark.parametrize("chroms", ["chr1", 5])
def test_what_are_no_chromosomes_is_named(chroms):
    """A single name is not taken for its letters."""
    store = TrackStore()
    with pytest.raises(TypeError, match=f"several names, .*, not {chroms!r}"):
        store.put(GENES, chroms=chroms)
    assert len(store) == 0


def test_the_first_chromosomes_of_a_provenance_stay():
    """A second put with the same provenance changes nothing."""
    store, made = TrackStore(), Provenance("read")
    id = store.put(GENES, chroms=["chr1"], provenance=made)
    assert store.put(SIGNAL, chroms=["chr9"], provenance=made) == id
    assert (store[id].track, store[id].chroms) == (GENES, ["chr1"])


def test_a_genome_tells_the_lengths_of_its_chromosomes():
    """So does a mapping from names to sequences; nothing else does."""
    store = GenomeStore()
    assert store[store.put(GENOME)].chrom_lengths == {"chr1": 21, "chr2": 4}
    assert store[store.put({"a": b"ACG"})].chrom_lengths == {"a": 3}
    with pytest.raises(TypeError, match="this list tells nothing of its chromosomes"):
        _ = store[store.put(["ACG"])].chrom_lengths


def test_tracks_are_computed_from_genomes_and_tracks():
    """The labels and names of the real types stand in the lineage."""
    genomes = GenomeStore()
    tracks = TrackStore(linked=[genomes])
    genome = genomes.put(GENOME)
    genes = tracks.put(GENES, provenance=Provenance("read", params={"file": "genes.bed"}))
    ends = tracks.compute("starts", [genome, genes], {"bases": 2}, starts)
    assert tracks[ends].track == IntervalTrack("starts", [("chr1", 0, 2), ("chr1", 7, 9)])
    assert tracks[ends].chroms == ("chr1",)
    assert str(tracks.lineage(ends)).split("\n") == [
        "starts = starts(bases=2) of",
        "├─ demo",
        "└─ genes = read(file='genes.bed')",
    ]


def starts(genome, genes, bases):
    """The first bases of each interval, within its chromosome."""
    rows = [(gene.chrom, gene.start, gene.start + bases) for gene in genes]
    lengths = genome.chrom_lengths
    return IntervalTrack("starts", [row for row in rows if row[2] <= lengths[row[0]]])


def test_a_file_goes_with_a_track(tmp_path):
    """A BED file that a track was read from can be handed over with it."""
    write_bed(GENES, tmp_path / "genes.bed")
    with TrackStore() as store:
        track = read_bed(tmp_path / "genes.bed")
        id = store.put(track, temp_file=tmp_path / "genes.bed")
        assert store[id].temp_file.exists()
    assert not (tmp_path / "genes.bed").exists()
    assert list(store[id].track) == list(track)


def test_the_types_are_no_parameters():
    """A track has an identity and no hash: it is an input, not a parameter."""
    with pytest.raises(sdc.RefusedError, match="parameter 'by' is of type IntervalTrack"):
        Provenance("subtract", params={"by": GENES})


def test_the_example_runs():
    """It computes in the first process, and in the second one nothing."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "provenance_stores.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    first, _, second = done.stdout.partition("another process:\n")
    assert first.count("  computing ") == 4
    assert "computing" not in second
    assert "  └─ GC share >= 0.55 = above(least=0.55) of" in second
    marked = [line.partition("[")[0] for line in first.split("\n")[5:-1]]
    assert marked == [line.partition("[")[0] for line in second.split("\n")[:-1]]
    assert not done.stderr


class Stranger:
    """A track of another library, which says things in its own way."""

    def chroms(self):
        return {"chr1": 1}

    def chrom_lengths(self):
        return {"chr1": 1}

    @property
    def label(self):
        raise OSError("closed")


def test_what_a_strange_item_says_is_no_obstacle():
    """Methods and errors where others have values: it is stored, and has a lineage."""
    tracks, genomes = TrackStore(), GenomeStore()
    made = tracks.compute("make", [], {}, Stranger)
    assert tracks[made].chroms is None and tracks[made].track_type == "Stranger"
    assert str(tracks.lineage(made)) == "Stranger = make()"
    with pytest.raises(TypeError, match="tells nothing"):
        _ = genomes[genomes.put(Stranger())].chrom_lengths
