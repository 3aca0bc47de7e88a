"""What storing and restoring costs, verified, compared with plain files in the page cache.

Restored arrays are memory maps where the disk is local, as the first rows have it; elsewhere they
are read, which has rows of its own. Who writes into a mapped array copies its pages then: the rows
"and add 1 in place" show it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import statistics
import tempfile
from pathlib import Path

import click
import numpy as np
import pandas as pd
from rich.table import Table

from benchmarks.tables import seconds, show, verdict
from seamless_dask_cache.results import dump_result, load_result
from seamless_dask_cache.storage import DirectoryStore, private_memory

NUMBERS = 10_000_000
SMALL = 12_500
MANY = 1000


def add_one(array):
    array += 1
    return array


@contextlib.contextmanager
def always_read():
    """Treat every disk as that of another machine."""
    kept, private_memory.is_local = private_memory.is_local, lambda folder: False
    try:
        yield
    finally:
        private_memory.is_local = kept


class Sides:
    """The pairs of functions that are compared, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = DirectoryStore(folder / "store")
        self.random = np.random.default_rng(0)
        self.numbers = self.random.random(NUMBERS)

    def file(self, checksum):
        return self.store.path / checksum[:2] / checksum

    def stored(self, value):
        return dump_result(value).store_in(self.store)

    def restored(self, checksum):
        return load_result(self.store.get(checksum))

    def array(self, then=lambda array: array):
        checksum = self.stored(self.numbers)
        path = self.file(checksum)
        return lambda: then(np.load(path)), lambda: then(self.restored(checksum))

    def many(self):
        checksums = [self.stored(self.random.random(SMALL)) for _ in range(MANY)]
        paths = list(map(self.file, checksums))
        return lambda: list(map(np.load, paths)), lambda: list(map(self.restored, checksums))

    def frame(self):
        frame = pd.DataFrame(self.numbers.reshape(-1, 10), columns=list("abcdefghij"))
        path = self.folder / "frame.pickle"
        path.write_bytes(pickle.dumps(frame, 5))
        checksum = self.stored(frame)
        return lambda: load_pickle(path), lambda: self.restored(checksum)

    def put(self):
        return lambda: self.write_plainly(), lambda: self.write_to_store()

    def write_plainly(self):
        self.numbers[0] += 1
        path = self.folder / hashlib.sha256(self.numbers).hexdigest()
        with path.open("wb") as file:
            file.write(self.numbers)
            os.fsync(file.fileno())
        path.unlink()

    def write_to_store(self):
        self.numbers[0] += 1
        self.store.delete(self.stored(self.numbers))


def load_pickle(path):
    with path.open("rb") as file:
        return pickle.load(file)


# What is measured, whether maps are allowed, must be, aim.
ROWS = [
    ("restore 80 MB of numbers / np.load", Sides.array, True, 1.5, 1.05),
    ("the same, read instead of mapped", Sides.array, False, 1.5, 1.05),
    ("restore 80 MB, add 1 in place / np.load", lambda s: s.array(add_one), True, None, None),
    ("the same, read instead of mapped", lambda s: s.array(add_one), False, None, None),
    ("restore an 80 MB frame / pickle.load", Sides.frame, True, 1.5, 1.05),
    (f"restore {MANY:,} times 100 KB / np.load", Sides.many, True, None, None),
    ("put 80 MB / (SHA-256, write, fsync)", Sides.put, True, None, None),
]


def compare(sides, make, maps, runs):
    """Return the seconds of both sides, run by run."""
    with contextlib.nullcontext() if maps else always_read():
        plain, mine = make(sides)
        pairs = []
        for run in range(runs + 1):
            order = (plain, mine) if run % 2 else (mine, plain)
            taken = {side: seconds(side) for side in order}
            if run:  # the first warms up
                pairs.append((taken[plain], taken[mine]))
        return pairs


def cells(title, pairs, must, aim):
    plain, mine = (f"{statistics.median(side) * 1e3:.1f}" for side in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    click.echo(f"{title}: {ratio:.2f}", err=True)
    limits = ("", "", "") if must is None else (f"{must}", f"{aim}", verdict(ratio, must, aim))
    return title, plain, mine, f"{ratio:.2f}", *limits


def run(runs: int, folder: Path | None) -> None:
    """Print the ratios store / plain files."""
    table = Table("benchmark", "plain ms", "store ms", "ratio", "must be", "aim", "")
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        sides = Sides(Path(temporary))
        for title, make, maps, must, aim in ROWS:
            table.add_row(*cells(title, compare(sides, make, maps, runs), must, aim))
        where = "mapped" if private_memory.is_local(sides.store.path) else "never mapped"
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    show(table, f"medians of {runs}, page cache warm, {cpus} processors used, files {where}")
