"""A folder of datasets: workers dump large arrays, a collector adds statistics to their metadata.

Run it with ``python examples/datasets.py``; it prints what it finds, and cleans up.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from dask.distributed import Client

from seamless_dask_cache import stores


def simulate(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(loc=seed, size=(1000, 500))


def main(folder: Path) -> None:
    db = stores.dirdb(folder / "runs")
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=":0") as client:
        # Each array is saved by the worker that made it, and does not travel.
        saved = [db.put_delayed(f"run-{s}", client.submit(simulate, s)) for s in range(6)]
        print("saved:", [entry.name for entry in client.gather(saved)])

    # Somebody else, at any time: iterate, and write down what was found.
    for entry in db.entries("run-*"):
        with entry:  # locked, for other processes as well; saved at the end, also by an error
            data = entry.get_data()
            entry.meta.stats = {"mean": data.mean(), "std": data.std()}
            entry.meta.unit = "m/s"

    largest = db.sort("stats.mean", reverse=True)[0]
    print(f"largest mean: {largest.name}, {largest.meta.stats.mean:.3f} {largest.meta.unit}")

    # With a second file beside the pickle, arrays are mapped instead of being read.
    db["all"].put_data(np.stack([entry.get_data() for entry in db]), mmap=True, checksum=True)
    everything = db["all"].get_data(mmap=True, verify=True)
    facts = db["all"].stat()
    print(f"mapped: {everything.shape}, {facts.size} bytes, checksum {facts.checksum[:8]}...")
    assert facts.checksum == db["all"].meta.checksum

    # A plain folder: readable without this library, and by dirdb.
    print("files:", sorted(path.name for path in db.path.glob("run-0.*")))
    del db["run-0"]
    print("left:", db.names("run-*"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
