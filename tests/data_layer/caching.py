"""Buffers by number, a clock that is told the time, and what a cache holds."""

from __future__ import annotations

import gc

from seamless_dask_cache import Buffer, Checksum


class Clock:
    """A clock that stands still unless it is told."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def content_of(n, nbytes=10):
    return f"{n:0{nbytes}d}".encode()


def checksum_of(n, nbytes=10):
    return Checksum.of(content_of(n, nbytes))


def held(cache, *numbers, nbytes=10):
    """Which buffers the cache itself keeps alive."""
    gc.collect()
    return [n for n in numbers if cache.get(checksum_of(n, nbytes)) is not None]


def make(n, nbytes=10):
    return Buffer(content_of(n, nbytes))
