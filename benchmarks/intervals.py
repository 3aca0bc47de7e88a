"""What tracks of 10,000,000 intervals cost: made, asked, written to BED files and read again.

A query gives its hits with starts and ends; beside it stands what numpy needs to look at every
interval. Reading and writing run in a process of their own, whose greatest memory is told.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.table import Table

from benchmarks.tables import seconds, show
from seamless_dask_cache.stores import IntervalTrack, read_bed, write_bed

NUMBER = 10_000_000
BASES = 250_000_000
WIDTHS = (1, 1_000, 100_000, 1_000_000)
QUERIES = 1_000


def uniform(number):
    generator = np.random.default_rng(0)
    starts = np.sort(generator.integers(0, BASES, number))
    return starts, starts + generator.integers(1, 1_000, number)


def giant(number):
    """The same, and one interval in front that spans all of them."""
    starts, ends = uniform(number)
    starts[0], ends[0] = 0, BASES + 1_000
    return starts, ends


def nested(number):
    """Each in the one before it, around the middle; asked at its outer end."""
    starts = np.arange(number) * 12
    return starts, 2 * BASES - starts


def scattered(number):
    """One in 10,000 spans the rest of the chromosome: far apart, and all of them are hits."""
    starts, ends = uniform(number)
    ends[::10_000] = BASES + 1_000
    return starts, ends


SHAPES = {"uniform": uniform, "one giant": giant, "nested": nested, "scattered giants": scattered}


def build_table(number, runs):
    table = Table(title=f"{number:,} intervals: made of two columns, indexed")
    for column in ("row", "seconds"):
        table.add_column(column, justify="left" if column == "row" else "right")
    starts, ends = uniform(number)
    order = np.random.default_rng(1).permutation(number)
    sides = {
        "in order": lambda: IntervalTrack("t", {"chr1": (starts, ends)}),
        "in any order": lambda: IntervalTrack("t", {"chr1": (starts[order], ends[order])}),
    }
    for row, make in sides.items():
        table.add_row(row, f"{statistics.median(seconds(make) for _ in range(runs)):.2f}")
    tracks = [IntervalTrack("t", {"chr1": (starts, ends)}) for _ in range(runs)]
    first = [seconds(lambda track=track: track.count("chr1", 5, 6)) for track in tracks]
    table.add_row("the first query, which makes the index", f"{statistics.median(first):.3f}")
    return table


def asked(track, firsts, width):
    """Seconds of each query, and how many hits they had."""
    taken, hits = [], []
    for first in firsts:
        started = time.perf_counter()
        found = track.query("chr1", first, first + width)
        _ = found.starts, found.ends
        taken.append(time.perf_counter() - started)
        hits.append(len(found))
    return taken, hits


def looked_at(track, firsts, width):
    """Seconds that numpy takes to look at all intervals."""
    starts, ends = track["chr1"].starts, track["chr1"].ends
    return [
        seconds(lambda first=first: np.flatnonzero((starts < first + width) & (ends > first)))
        for first in firsts
    ]


def query_table(number):
    table = Table(title=f"queries of {number:,} intervals on 250 Mb")
    for column in ("intervals", "bases", "hits", "median", "99 of 100", "worst", "numpy, all"):
        table.add_column(column, justify="left" if column == "intervals" else "right")
    generator = np.random.default_rng(2)
    for shape, make in SHAPES.items():
        track = IntervalTrack("t", {"chr1": make(number)})
        track.count("chr1", 0, 1)
        outer = 2 * BASES - 5_000 if shape == "nested" else 0
        for width in WIDTHS:
            firsts = (outer + generator.integers(0, BASES - width, QUERIES)).tolist()
            if outer:
                firsts = (outer + generator.integers(0, 5_000, QUERIES)).tolist()
            taken, hits = asked(track, firsts, width)
            brute = statistics.median(looked_at(track, firsts[:5], width))
            figures = statistics.median(taken), np.quantile(taken, 0.99), max(taken)
            told = [f"{1e6 * figure:,.0f} µs" for figure in figures]
            row = (shape, f"{width:,}", f"{statistics.median(hits):,.0f}", *told)
            table.add_row(*row, f"{1e3 * brute:,.0f} ms")
    return table


# BED files ----------------------------------------------------------------------------------------


def track_of(number, columns):
    starts, ends = uniform(number)
    table = {"start": starts, "end": ends}
    if columns == 6:
        generator = np.random.default_rng(3)
        table["name"] = np.array([f"peak{i}" for i in range(number)], object)
        table["score"] = generator.integers(0, 1000, number)
        table["strand"] = np.array(["+", "-"], object)[generator.integers(0, 2, number)]
    return IntervalTrack("t", {"chr1": table})


def in_process(act, *args):
    """What an act returns in a fresh process, and the greatest memory of that process, in GB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (act, *args))


def _measured(act, *args):
    taken = act(*args)
    return taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def writing(number, columns, path):
    track = track_of(number, columns)
    return seconds(lambda: write_bed(track, path))


def reading(path):
    return seconds(lambda: read_bed(path))


def file_table(number):
    table = Table(title=f"BED files of {number:,} lines")
    for column in ("file", "size", "written", "read", "memory of the reader"):
        table.add_column(column, justify="left" if column == "file" else "right")
    with tempfile.TemporaryDirectory() as name:
        for columns, suffix in ((3, "bed"), (6, "bed"), (6, "bed.gz")):
            path = Path(name, f"{columns}.{suffix}")
            written, _ = in_process(writing, number, columns, path)
            read, memory = in_process(reading, path)
            row = (f"BED{columns}, {suffix}", f"{path.stat().st_size / 1e6:,.0f} MB")
            table.add_row(*row, f"{written:.1f} s", f"{read:.1f} s", f"{memory:.1f} GB")
            path.unlink()
    return table


def run(runs: int, number: int) -> None:
    show(build_table(number, runs), f"medians of {runs}")
    show(query_table(number), f"{QUERIES} queries each")
    show(file_table(number), "one run each")
