"""The caps of the buffer cache: what is let go of, and in which order."""

from __future__ import annotations

import dask
import pytest
from caching import checksum_of, content_of, held, make

from seamless_dask_cache import Buffer, BufferCache, Checksum
from seamless_dask_cache.buffer_costs import LOCAL, REMOTE, DownloadProfile
from seamless_dask_cache.errors import ConfigurationError


def test_above_the_soft_cap_temprefs_give_way_and_references_do_not(clock):
    cache = BufferCache(30, 100, clock=clock)
    cache.incref(checksum_of(0), make(0))
    cache.incref(checksum_of(1), make(1))
    cache.incref(checksum_of(2), make(2))
    for n in (3, 4):
        cache.tempref(checksum_of(n), make(n))
    assert held(cache, *range(5)) == [0, 1, 2]
    cache.incref(checksum_of(5), make(5))
    assert held(cache, 0, 1, 2, 5) == [0, 1, 2, 5] and cache.stats()["strong_bytes"] == 40


def test_what_loses_its_last_reference_above_the_soft_cap_is_not_held_by_its_tempref(clock):
    cache = BufferCache(10, 100, clock=clock)
    for n in (1, 2):
        cache.incref(checksum_of(n), make(n))
        cache.tempref(checksum_of(n))
    cache.decref(checksum_of(1))
    assert held(cache, 1, 2) == [2] and cache.stats()["temprefs"] == 2


def test_above_the_hard_cap_references_give_way_too(clock):
    cache = BufferCache(30, 50, clock=clock)
    for n in range(7):
        cache.incref(checksum_of(n), make(n))
    assert cache.stats()["strong_bytes"] == 50 and cache.stats()["evicted"] == 2
    assert cache.stats()["references"] == 7


def test_what_was_let_go_of_is_held_again_when_it_comes_back():
    cache = BufferCache(10, 10)
    cache.incref(checksum_of(1), make(1))
    cache.incref(checksum_of(2), make(2))
    (gone,) = {1, 2} - set(held(cache, 1, 2))
    cache.decref(checksum_of(3 - gone))
    cache.register(make(gone))
    assert held(cache, 1, 2) == [gone]
    cache.decref(checksum_of(gone))


@pytest.mark.parametrize("order", [1, -1])
def test_what_costs_least_per_byte_goes_first(clock, order):
    cache = BufferCache(1000, 5000, clock=clock)
    sizes = {0: 300, 1: 300, 2: 300, 3: 290}
    costs = {
        0: {"download": DownloadProfile(0, 1e6)},  # 0.3 ms
        1: {"download": REMOTE, "recomputation": 0.0001},  # computing again is faster
        2: {"download": LOCAL, "recomputation": 60},
        3: {"recomputation": 60},
    }
    for n in sorted(sizes, key=lambda n: order * n):
        cache.set_cost(checksum_of(n, sizes[n]), **costs[n])
        cache.tempref(checksum_of(n, sizes[n]), make(n, sizes[n]))
    assert [n for n in sizes if held(cache, n, nbytes=sizes[n])] == [0, 2, 3]
    cache.tempref(checksum_of(4, 300), make(4, 300))  # irreplaceable, as far as is known
    assert [n for n in {**sizes, 4: 300} if held(cache, n, nbytes=sizes.get(n, 300))] == [2, 3, 4]


def test_a_larger_buffer_goes_before_a_smaller_one_of_the_same_cost(clock):
    cache = BufferCache(1000, 5000, clock=clock)
    for n, nbytes in ((0, 100), (1, 900), (2, 50)):
        cache.set_cost(checksum_of(n, nbytes), recomputation=1)
        cache.tempref(checksum_of(n, nbytes), make(n, nbytes))
    assert not held(cache, 1, nbytes=900) and held(cache, 0, nbytes=100)


def test_an_older_interest_goes_before_a_fresh_one(clock):
    cache = BufferCache(40, 50, clock=clock)
    for n in range(4):
        cache.tempref(checksum_of(n), make(n))
        clock.now += 1
    cache.tempref(checksum_of(0))
    cache.tempref(checksum_of(4), make(4))
    assert held(cache, *range(5)) == [0, 3, 4]


def test_more_references_count_for_more():
    cache = BufferCache(10, 20)
    for n in (0, 1, 2):
        for _ in range(3 - n):
            cache.incref(checksum_of(n), make(n))
    assert held(cache, 0, 1, 2) == [0, 1]


def test_a_tempref_that_is_left_above_the_soft_cap_holds_no_more():
    cache = BufferCache(0, 10)
    cache.tempref(checksum_of(0))
    cache.incref(checksum_of(0), make(0))
    assert held(cache, 0) == [0]
    cache.decref(checksum_of(0))
    assert held(cache, 0) == [] and cache.stats()["strong_bytes"] == 0


def test_an_empty_buffer_can_be_held():
    cache = BufferCache(0, 0)
    cache.incref(Checksum.of(b""), Buffer(b""))
    assert cache.get(Checksum.of(b"")) is not None
    cache.decref(Checksum.of(b""))


def test_lower_caps_are_enforced_at_once():
    cache = BufferCache(100, 100)
    for n in range(10):
        cache.incref(checksum_of(n), make(n))
    cache.set_caps(20, 30)
    assert cache.stats()["strong_bytes"] == 30
    assert (cache.soft_cap, cache.hard_cap) == (20, 30)


def test_caps_are_configured():
    assert (BufferCache().soft_cap, BufferCache().hard_cap) == (5 * 10**9, 50 * 10**9)
    with dask.config.set({"seamless-dask-cache.buffer-cache.soft-cap": "1 kB"}):
        cache = BufferCache()
        cache.tempref(checksum_of(1, 600), make(1, 600))
        cache.tempref(checksum_of(2, 600), make(2, 600))
        assert cache.stats()["soft_cap"] == 1000 and cache.stats()["strong_bytes"] == 600
        cache.clear()


@pytest.mark.parametrize(
    ("soft", "hard", "named"),
    [(-1, 5, "-1"), (10, 5, "hard_cap 5 is below"), ("x", 5, "'x'"), (1.5, 5, "1.5")],
)
def test_caps_that_make_no_sense_are_refused(soft, hard, named):
    with pytest.raises(ConfigurationError, match=named):
        BufferCache(soft, hard)


def test_a_configured_size_that_makes_no_sense_is_refused():
    with (
        dask.config.set({"seamless-dask-cache.buffer-cache.hard-cap": "much"}),
        pytest.raises(ConfigurationError, match="'much'"),
    ):
        _ = BufferCache().hard_cap


@pytest.mark.parametrize(
    "wrong",
    [
        {"interest": 0},
        {"interest": float("inf")},
        {"fade_factor": 1},
        {"fade_interval": 0},
        {"interest": "much"},
    ],
)
def test_temprefs_that_make_no_sense_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=name):
        BufferCache(1, 1).tempref(checksum_of(1), **wrong)


@pytest.mark.parametrize(
    "wrong", [{"download": (1, 2)}, {"download": DownloadProfile(0, 0)}, {"recomputation": -1}]
)
def test_costs_that_make_no_sense_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=name):
        BufferCache(1, 1).set_cost(checksum_of(1), **wrong)


def test_memory_that_may_change_is_copied():
    cache, memory = BufferCache(100, 100), bytearray(content_of(1))
    cache.incref(checksum_of(1), Buffer(memoryview(memory)))
    memory[:] = content_of(2)
    assert cache.get(checksum_of(1)).content == content_of(1)
