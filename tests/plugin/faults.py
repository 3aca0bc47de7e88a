"""Faults that tests inject, and the programs that must not notice."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import dask
import numpy as np
from clusters import cluster_of, wait_until_forgotten

import seamless_dask_cache as sdc

STORE_ALL = {"min_seconds": 0, "load_seconds": 0, "load_bytes_per_second": 1e15, "store_share": 1e9}
MANY = 20
"""Results, more than enough for them to be restored in bulk."""


def make(n):
    """A result whose buffer is a file of its own."""
    return np.arange(n, dtype="float64") * 2


def scale(x, factor):
    """Another one, made from it."""
    return x * factor


def many():
    """A graph whose results are restored in bulk."""
    return [dask.delayed(make)(2_000 + n) for n in range(MANY)]


def one():
    """A graph whose result is restored by a task; a memory map, as it is large."""
    return [dask.delayed(make)(200_000)]


def two_steps():
    """A graph with results in between that nobody asked for."""
    return [dask.delayed(scale)(value, 3) for value in many()]


def compute(client, program):
    """The results of a program."""
    return client.gather(client.compute(program()))


def expected(program):
    """What plain Dask gives, in this thread."""
    return list(dask.compute(*program(), scheduler="synchronous"))


def assert_same(found, wanted):
    """Compare lists of arrays."""
    assert len(found) == len(wanted)
    for mine, right in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(mine, right)


def fill(cache_dir, program, **options):
    """Compute a program with the cache on, in a cluster of its own."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir, **options)
        compute(client, program)
        assert cache.flush(30)
        assert cache.stats()["errors"] == 0
        wait_until_forgotten(client)
        found = cache.explain(program())
        assert found.counts()["miss"] == found.counts()["refused"] == 0, str(found)


def buffer_files(cache_dir):
    """The files of all buffers."""
    return [path for path in (cache_dir / "buffers").glob("??/*") if len(path.name) == 64]


# What can happen to a buffer ----------------------------------------------------------------------


def delete(path):
    path.unlink()


def empty(path):
    path.chmod(0o644)
    path.write_bytes(b"")


def truncate(path):
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def swap(path):
    """Put a well-formed buffer of another result in its place."""
    from seamless_dask_cache.results import dump_result

    path.chmod(0o644)
    path.write_bytes(dump_result(np.zeros(3)).tobytes())


def obstruct(path):
    """Nobody can read it, not even root."""
    path.unlink()
    path.mkdir()


def dangle(path):
    path.unlink()
    path.symlink_to("nowhere")


DAMAGES = [delete, empty, truncate, flip, swap, obstruct, dangle]


@contextlib.contextmanager
def damaged_after_the_lookup(client, cache_dir, damage):
    """Damage all buffers between the look at them and their use, on a scheduler in this process."""
    engine = engine_of(client)
    original, files = engine.restoring, []

    def damaging(*args):
        if not files:
            files.extend(buffer_files(cache_dir))
            for path in files:
                damage(path)
        return original(*args)

    engine.restoring = damaging
    try:
        yield files
    finally:
        engine.restoring = original


def engine_of(client):
    """The engine on the scheduler, which is in this process."""
    return client.cluster.scheduler.plugins["seamless-dask-cache"].engine


def spooled(cache_dir):
    """The files of records that wait."""
    return list(Path(cache_dir).glob("spool/*/*/*.jsonl"))


def wait_for(condition, seconds=30):
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)
