"""Stores by provenance: a genome, tracks computed from it once, where they come from, and how
another process has them without computing.

Run it with ``python examples/provenance_stores.py``; it generates its data, prints what it finds,
and cleans up.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import seamless_dask_cache as sdc
from seamless_dask_cache.stores import (
    Genome,
    GenomeStore,
    IntervalTrack,
    Provenance,
    SignalTrack,
    TrackStore,
    read_fasta,
)

# What is computed: plain functions of the stored items, and of parameters.


def gc_windows(genome: Genome, width: int) -> SignalTrack:
    """The share of G and C in windows of some bases."""
    print("  computing gc_windows")
    shares = {}
    for chrom, letters in genome.sequences.items():
        is_gc = np.isin(np.frombuffer(letters.encode(), np.uint8), list(b"GCgc"))
        windows = is_gc[: len(is_gc) // width * width].reshape(-1, width)
        shares[chrom] = windows.mean(axis=1)
    return SignalTrack("GC share", shares, step=width)


def above(signal: SignalTrack, least: float) -> IntervalTrack:
    """Where a signal is at least so large."""
    print("  computing above")
    found = {}
    for chrom in signal.chroms:
        (bins,) = np.nonzero(signal.query(chrom) >= least)
        found[chrom] = (bins * signal.step, (bins + 1) * signal.step)
    return IntervalTrack(f"{signal.label} >= {least}", found)


def motif_hits(genome: Genome, motif: str) -> IntervalTrack:
    """Where a motif occurs."""
    print("  computing motif_hits")
    hits = [
        (chrom, hit.start(), hit.end())
        for chrom, letters in genome.sequences.items()
        for hit in re.finditer(motif, letters)
    ]
    return IntervalTrack(motif, hits)


def inside(hits: IntervalTrack, regions: IntervalTrack) -> IntervalTrack:
    """Those intervals that touch a region. Which track is which matters."""
    print("  computing inside")
    kept = [hit for hit in hits if hit.chrom in regions and regions.count(*hit[:3])]
    return IntervalTrack(f"{hits.label} in {regions.label}", kept)


def analyse(fasta: Path, url: str) -> None:
    """Read a genome and compute tracks; what the database knows is not computed."""
    genomes = GenomeStore()
    tracks = TrackStore(linked=[genomes], database=url)
    text = sdc.Checksum.of(fasta.read_bytes())
    genome = genomes.put(
        read_fasta(fasta, name="demo"),
        provenance=Provenance("read_fasta", params={"file": fasta.name, "checksum": text.hex()}),
    )
    shares = tracks.compute("gc_windows", [genome], {"width": 200}, gc_windows)
    rich = tracks.compute("above", [shares], {"least": 0.55}, above)
    hits = tracks.compute("motif_hits", [genome], {"motif": "GATTACA"}, motif_hits)
    both = tracks.compute("inside", [hits, rich], {}, inside)
    print("  found:", len(tracks[hits].track), "hits,", len(tracks[both].track), "of them inside")

    # The same provenance once more is the same record: nothing runs, nothing is asked.
    assert tracks.compute("inside", [hits, rich], {}, inside) == both
    print("\n".join(f"  {line}" for line in tracks.lineage(both).text().split("\n")))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, database(Path(folder)) as url:
        fasta = Path(folder) / "demo.fasta"
        fasta.write_text(generated())
        print("this process:")
        analyse(fasta, url)
        print("another process:", flush=True)
        subprocess.run([sys.executable, __file__, str(fasta), url], check=True)


def generated() -> str:
    """Two chromosomes, of which the second half has more G and C."""
    source = random.Random(20260101)
    text = ""
    for chrom in ("chr1", "chr2"):
        letters = source.choices("ACGT", [3, 2, 2, 3], k=400_000)
        letters += source.choices("ACGT", [2, 3, 3, 2], k=400_000)
        text += f">{chrom} generated\n{''.join(letters)}\n"
    return text


@contextlib.contextmanager
def database(folder: Path):
    """Run a database server, as ``seamless-database FILE --writable --buffers FOLDER`` does."""
    status = folder / "status.json"
    status.write_text("{}")
    options = ["--writable", "--host", "127.0.0.1", "--port", "0", "--status-file", str(status)]
    options += ["--buffers", str(folder / "buffers")]
    command = [sys.executable, "-m", "seamless_dask_cache.server", str(folder / "demo.db")]
    with subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL) as server:
        try:
            while (known := json.loads(status.read_text() or "{}")).get("status") != "running":
                if server.poll() is not None:
                    raise RuntimeError("the server did not start")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{known['port']}"
        finally:
            server.terminate()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        analyse(Path(sys.argv[1]), sys.argv[2])
    else:
        main()
