"""Divergences: a run writes back another result than the one on record."""

from __future__ import annotations

import sys
import time

import dask
import pytest
from clusters import cluster_of, wait_until_forgotten

import seamless_dask_cache as sdc
from seamless_dask_cache.database import Lookup


def of_environment(n):
    """Depends on a setting of the interpreter, which no identity sees."""
    return n + sys.getrecursionlimit()


@pytest.fixture
def limit():
    """The recursion limit, put back afterwards: workers are threads of this process."""
    before = sys.getrecursionlimit()
    yield before
    sys.setrecursionlimit(before)


def _look_nothing_up(dask_scheduler):
    """As of a cluster that computes at the same time as another one."""
    engine = dask_scheduler.plugins["seamless-dask-cache"].engine
    looks = engine.link.look_up

    async def nothing(*args):
        return Lookup()

    engine.link.look_up = nothing
    engine.link.looks = looks


def _look_up_again(dask_scheduler):
    link = dask_scheduler.plugins["seamless-dask-cache"].engine.link
    link.look_up = link.looks


def events(client):
    """Wait for the events of divergences."""
    deadline = time.monotonic() + 10
    while True:
        topic = client.get_events("seamless-dask-cache")
        found = [event for _, event in topic if event["action"] == "diverged"]
        if found:
            return found
        assert time.monotonic() < deadline


def test_the_first_result_stays_and_the_second_is_told_of(cache_dir, limit):
    """A divergence is counted, logged and explained, and no stored result."""
    program = dask.delayed(of_environment)(1)
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        assert client.compute(program).result() == limit + 1
        assert cache.flush(30)
        first = cache.explain(program)[0].result
        wait_until_forgotten(client)
        sys.setrecursionlimit(limit + 100)
        client.run_on_scheduler(_look_nothing_up)
        assert client.compute(program).result() == limit + 101
        assert cache.flush(30)
        wait_until_forgotten(client)
        (event,) = events(client)
        assert event["first"] == first
        assert event["second"] != first
        stats = cache.stats()
        assert (stats["stored"], stats["diverged"]) == (1, 1)
        client.run_on_scheduler(_look_up_again)
        (row,) = cache.explain(program)
        assert (row.status, row.result) == ("hit", first)
        assert event["second"][:12] in row.reason
        assert client.compute(program).result() == limit + 1


def test_an_audit_outweighs_the_word_of_the_user(cache_dir, limit):
    """A task that is declared pure, and is not, is refused like any other."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)

        def run():
            with dask.annotate(cache=True):
                future = client.submit(of_environment, 1, key="trusted")
            result = future.result()
            assert cache.flush(30)
            return future, result

        future, _ = run()
        sys.setrecursionlimit(limit + 100)
        (found,) = cache.audit(future, fraction=1.0).different
        del future
        wait_until_forgotten(client)
        future, result = run()
        assert result == limit + 101
        assert "irreproducible" in cache.explain(future)[0].reason
        assert found.quarantined


def test_what_is_irreproducible_is_recalled(cache_dir, limit):
    """A cache that is enabled later refuses it at once."""
    program = dask.delayed(of_environment)(1)
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        client.compute(program).result()
        assert cache.flush(30)
        sys.setrecursionlimit(limit + 100)
        assert len(cache.audit(program, fraction=1.0).different) == 1
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        assert "irreproducible" in cache.explain(program)[0].reason
