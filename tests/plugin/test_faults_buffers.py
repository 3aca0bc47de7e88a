"""Buffers that are damaged between the lookup and the restore; each kind of restore."""

from __future__ import annotations

import dask
import pytest
from clusters import cluster_of, wait_until_forgotten
from faults import (
    DAMAGES,
    MANY,
    STORE_ALL,
    assert_same,
    buffer_files,
    compute,
    damaged_after_the_lookup,
    expected,
    fill,
    make,
    many,
    obstruct,
    one,
    two_steps,
)

import seamless_dask_cache as sdc


@pytest.fixture(autouse=True)
def a_scheduler_that_validates_its_state():
    with dask.config.set({"distributed.scheduler.validate": True}):
        yield


def heal(cache_dir, program, damage):
    """Compute with buffers that are damaged after the lookup; returns the counters."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        with damaged_after_the_lookup(client, cache_dir, damage) as damaged:
            assert_same(compute(client, program), expected(program))
        assert damaged
        assert cache.flush(30)
        wait_until_forgotten(client)
        return cache.stats()


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("program", [one, many], ids=lambda f: f.__name__)
def test_what_is_damaged_after_the_lookup_is_computed(cache_dir, program, damage):
    """The results are those of plain Dask; the next cluster restores what was healed."""
    fill(cache_dir, program)
    stats = heal(cache_dir, program, damage)
    assert stats["healed"] == len(program())
    if damage is obstruct:
        # Nothing can be stored in its place either, which is counted.
        assert stats["errors"] == len(program())
    else:
        assert (stats["stored"], stats["errors"]) == (len(program()), 0)
        with cluster_of() as client:
            cache = sdc.enable(client, cache_dir=cache_dir)
            assert_same(compute(client, program), expected(program))
            assert cache.stats()["computed"] == 0


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_what_is_damaged_before_the_lookup_is_computed(cache_dir, damage):
    """So it is when the lookup already finds the damage, and nothing is left behind."""
    fill(cache_dir, many)
    for path in buffer_files(cache_dir):
        damage(path)
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        assert_same(compute(client, many), expected(many))
        assert cache.flush(30)
        stats = cache.stats()
        assert stats["computed"] == MANY
        wait_until_forgotten(client)


def test_only_some_of_a_bulk_are_damaged(cache_dir):
    """What is whole is restored all the same, and what was pruned comes back for what is not."""
    fill(cache_dir, two_steps)

    def every_third(path):
        if int(path.name, 16) % 3 == 0:
            path.unlink()

    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        with damaged_after_the_lookup(client, cache_dir, every_third):
            assert_same(compute(client, two_steps), expected(two_steps))
        assert cache.flush(30)
        stats = cache.stats()
        assert stats["healed"] >= 1
        assert stats["restored"] + stats["healed"] >= MANY
        assert stats["errors"] == 0
        wait_until_forgotten(client)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_what_is_cut_off_and_damaged_is_computed(cache_dir, damage):
    """A result that early cutoff found, and that cannot be used, is computed with what it needs."""

    def same(n):
        m = n
        return make(m)

    def program(first):
        return [dask.delayed(scaled)(dask.delayed(first)(2_000 + n)) for n in range(3)]

    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir, **STORE_ALL)
        wanted = compute(client, lambda: program(make))
        assert cache.flush(30)
        wait_until_forgotten(client)
        with damaged_after_the_lookup(client, cache_dir, damage) as damaged:
            assert_same(compute(client, lambda: program(same)), wanted)
        assert damaged
        assert cache.flush(30)
        wait_until_forgotten(client)
        stats = cache.stats()
        assert stats["cut"] >= 1
        assert stats["healed"] >= 1
        assert damage is obstruct or stats["errors"] == 0


def scaled(x):
    return x * 3
