"""Ways into Dask, run on a cluster without the cache, on one that fills it, and on one it serves.

A way is a function of a client that returns a plain value and leaves no key behind.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import dask
from clusters import forking, kill_server, wait_until_forgotten
from distributed import Client, LocalCluster

import seamless_dask_cache as sdc

STORE_ALL = {"min_seconds": 0, "load_seconds": 0, "load_bytes_per_second": 1e15, "store_share": 1e9}
VALIDATED = {"distributed.scheduler.validate": True, "distributed.worker.validate": True}
MANY = 20
"""Results that are restored in bulk."""


class Runs(NamedTuple):
    """What a way gave without the cache, cold and warm, and what the cache counted."""

    off: Any
    cold: Any
    warm: Any
    cold_stats: dict[str, Any]
    warm_stats: dict[str, Any]


@contextlib.contextmanager
def validating(**options):
    """A cluster that checks its own state at every step, with its client."""
    settings = {"n_workers": 2, "threads_per_worker": 1, "processes": False, **options}
    with (
        dask.config.set(VALIDATED),
        forking() if settings["processes"] else contextlib.nullcontext(),
        LocalCluster(
            dashboard_address=":0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=False,
            **settings,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextlib.contextmanager
def cached(cache_dir, policy=STORE_ALL, **options):
    """Such a cluster with a cache; in the end nothing is wrong with either."""
    with validating(**options) as client:
        cache = sdc.enable(client, cache_dir=cache_dir, **policy)
        yield client, cache
        assert cache.flush(30)
        client.cluster.scheduler.validate_state()
        assert cache.stats()["errors"] == 0


def counted(client, cache, program):
    """What a program gives, and what the cache counted meanwhile; nothing is held afterwards."""
    before = cache.stats()
    value = program(client)
    assert cache.flush(30)
    wait_until_forgotten(client)
    client.cluster.scheduler.validate_state()
    after = cache.stats()
    return value, {name: after[name] - before[name] for name in after if name != "database"}


def addresses(client):
    """The addresses of the workers, in a fixed order."""
    return sorted(worker.address for worker in client.cluster.scheduler.workers.values())


def run_all(ways: Iterable[Callable[[Any], Any]], cache_dir, **options) -> dict[Any, Runs]:
    """Run ways one after the other on three clusters."""
    ways = list(ways)
    with validating(**options) as client:
        off = {way: way(client) for way in ways}
    passes = []
    for _ in range(2):
        with cached(cache_dir, **options) as (client, cache):
            passes.append({way: counted(client, cache, way) for way in ways})
    kill_server(cache_dir)
    return {way: _runs(off[way], passes[0][way], passes[1][way]) for way in ways}


def _runs(off, cold, warm):
    return Runs(off, cold[0], warm[0], cold[1], warm[1])
