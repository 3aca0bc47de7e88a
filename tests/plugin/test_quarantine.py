"""What one scheduler's audit found, others that are running hear of with their next question."""

from __future__ import annotations

import sys

import dask
import pytest
from clusters import cluster_of, wait_until_forgotten
from distributed import wait

import seamless_dask_cache as sdc

ALL = {"min_seconds": 0, "load_seconds": 0}


def of_environment(n):
    """Depends on a setting of the interpreter, which no identity sees."""
    return n + sys.getrecursionlimit()


def after(n):
    return n + 1


def last(n):
    return n * 10


@pytest.fixture
def limit():
    """The recursion limit, put back afterwards: workers are threads of this process."""
    before = sys.getrecursionlimit()
    yield before
    sys.setrecursionlimit(before)


@pytest.fixture
def two(cache_dir):
    """Two clusters that share a database; each a client and its cache."""
    with cluster_of(workers=1) as first, cluster_of(workers=1) as second:
        yield [(c, sdc.enable(c, cache_dir=cache_dir, **ALL)) for c in (first, second)]


def program():
    with dask.config.set({"optimization.fuse.active": False}):
        return dask.delayed(last)(dask.delayed(after)(dask.delayed(of_environment)(1)))


def computed(client, cache, collection):
    result = client.gather(client.compute(collection))
    assert cache.flush(30)
    wait_until_forgotten(client)
    return result


def audited(cache, collection):
    """Let an audit find that the environment is another one now."""
    sys.setrecursionlimit(sys.getrecursionlimit() + 100)
    audit = cache.audit(collection, fraction=1.0)
    assert [row.function.split(".")[-1] for row in audit.different] == ["of_environment"]


def statuses(cache, collection):
    return {row.status for row in cache.explain(collection)}


def test_a_running_scheduler_serves_no_more_what_another_one_found(two, limit):
    """What is irreproducible is refused there, with all that is made of it, though on record."""
    (first, mine), (second, theirs) = two
    assert computed(first, mine, program()) == 10 * (limit + 2)
    assert statuses(theirs, program()) == {"hit"}
    audited(mine, program())
    rows = theirs.explain(program())
    assert {row.status for row in rows} == {"refused"}
    assert all("irreproducible: an audit found" in row.reason for row in rows)
    assert computed(second, theirs, program()) == 10 * (limit + 102)
    stats = theirs.stats()
    assert (stats["hits"], stats["refused"], stats["errors"]) == (0, 3, 0)


def test_what_is_made_of_held_futures_is_refused(two, limit):
    """A future that was served before has no identity any more, nor has what another graph adds."""
    (first, mine), (second, theirs) = two
    start = dask.delayed(of_environment)(1)
    assert computed(first, mine, start) == limit + 1
    held = second.submit(of_environment, 1)
    behind = second.submit(after, held)
    wait([held, behind])
    assert theirs.stats()["hits"] >= 1
    audited(mine, start)
    direct, further = second.submit(last, held), second.submit(last, behind)
    assert (direct.result(), further.result()) == (10 * (limit + 1), 10 * (limit + 2))
    assert theirs.flush(30)
    assert "irreproducible" in theirs.explain(direct)[-1].reason
    assert statuses(theirs, further) == {"refused"}
    assert theirs.stats()["refused"] == 2


def test_waiting_graphs_hear_of_it_together(two, limit):
    """Graphs of a client that are judged at once are refused though they come one by one."""
    (first, mine), (second, theirs) = two
    computed(first, mine, program())
    audited(mine, program())
    chain = [second.submit(of_environment, 1)]
    for _ in range(20):
        chain.append(second.submit(after, chain[-1]))
    assert chain[-1].result() == limit + 121
    assert theirs.flush(30)
    stats = theirs.stats()
    assert (stats["refused"], stats["stored"], stats["errors"]) == (21, 0, 0)
