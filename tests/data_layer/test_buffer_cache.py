"""The buffer cache: what is held, for how long, and what is let go of first."""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
import time

import dask
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seamless_dask_cache import Buffer, BufferCache, Checksum, get_buffer_cache
from seamless_dask_cache.buffer_costs import LOCAL, REMOTE, DownloadProfile
from seamless_dask_cache.errors import ConfigurationError, ReferenceCountError
from seamless_dask_cache.temprefs import MINIMAL_INTEREST, TempRef


class Clock:
    """A clock that stands still unless it is told."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


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


def test_a_buffer_is_found_while_somebody_holds_it():
    cache = BufferCache(100, 100)
    buffer = cache.register(make(1))
    assert cache.get(checksum_of(1)) is buffer
    assert cache.register(make(1)) is buffer
    del buffer
    assert held(cache, 1) == []


def test_a_reference_holds_a_buffer_until_it_is_taken_back():
    cache = BufferCache(100, 100)
    cache.incref(checksum_of(1), make(1))
    cache.incref(checksum_of(1).hex())
    assert held(cache, 1) == [1] and cache.references(checksum_of(1)) == 2
    cache.decref(checksum_of(1).bytes())
    assert held(cache, 1) == [1]
    cache.decref(checksum_of(1))
    assert held(cache, 1) == [] and cache.stats()["strong_bytes"] == 0


def test_a_reference_may_come_before_its_buffer():
    cache = BufferCache(100, 100)
    cache.incref(checksum_of(1))
    assert cache.stats()["strong_bytes"] == 0
    cache.register(make(1))
    assert held(cache, 1) == [1] and cache.stats()["strong_bytes"] == 10


def test_taking_back_more_than_was_given_is_an_error():
    cache = BufferCache(100, 100)
    with pytest.raises(ReferenceCountError, match=checksum_of(1).hex()):
        cache.decref(checksum_of(1))
    cache.tempref(checksum_of(1), make(1))
    with pytest.raises(ReferenceCountError):
        cache.decref(checksum_of(1))
    assert cache.stats()["references"] == 0 and held(cache, 1) == [1]


def test_a_buffer_of_another_checksum_is_refused():
    cache = BufferCache(100, 100)
    with pytest.raises(ValueError, match=checksum_of(2).hex()):
        cache.incref(checksum_of(1), make(2))
    with pytest.raises(ValueError, match=checksum_of(2).hex()):
        cache.tempref(checksum_of(1), make(2))
    assert cache.stats()["references"] == cache.stats()["temprefs"] == 0


def test_a_tempref_fades(clock):
    cache = BufferCache(100, 100, clock=clock)
    ref = cache.tempref(checksum_of(1), make(1), interest=8, fade_factor=4, fade_interval=3)
    clock.now += 3
    assert ref.current_interest() == pytest.approx(2)
    clock.now = ref.ends_at() - 0.001
    assert held(cache, 1) == [1] and ref.current_interest() > MINIMAL_INTEREST
    clock.now += 0.002
    cache.evict()
    assert held(cache, 1) == [] and cache.stats()["faded"] == 1


def test_by_default_a_tempref_lasts_28_seconds(clock):
    assert TempRef(clock=clock).ends_at() - clock.now == pytest.approx(28)


def test_there_is_one_tempref_and_it_is_renewed(clock):
    cache = BufferCache(100, 100, clock=clock)
    first = cache.tempref(checksum_of(1), make(1))
    clock.now += 20
    assert cache.tempref(checksum_of(1)) is first
    clock.now += 20
    cache.evict()
    assert held(cache, 1) == [1] and cache.stats()["temprefs"] == 1
    clock.now += 9
    cache.evict()
    assert held(cache, 1) == []


def test_renewing_with_less_does_not_lower_the_interest(clock):
    cache = BufferCache(100, 100, clock=clock)
    ref = cache.tempref(checksum_of(1), make(1), interest=128)
    cache.tempref(checksum_of(1), interest=1)
    assert ref.current_interest() == 128


def test_a_tempref_that_is_renewed_to_end_sooner_ends_sooner(clock):
    cache = BufferCache(100, 100, clock=clock)
    cache.tempref(checksum_of(1), make(1), fade_interval=100)
    cache.tempref(checksum_of(1), fade_interval=1)
    clock.now += 20
    cache.evict()
    assert held(cache, 1) == []


def test_a_tempref_can_be_refreshed_and_cleared(clock):
    cache = BufferCache(100, 100, clock=clock)
    ref = cache.tempref(checksum_of(1), make(1))
    clock.now += 27
    ref.refresh()
    clock.now += 27
    cache.evict()
    assert held(cache, 1) == [1]
    ref.clear()
    assert held(cache, 1) == []
    ref.refresh()
    assert ref.current_interest() == 0


def test_temprefs_end_although_nobody_uses_the_cache():
    cache = BufferCache(100, 100)
    cache.tempref(checksum_of(1), make(1))
    cache.tempref(checksum_of(2), make(2), interest=1, fade_factor=1e9, fade_interval=0.05)
    deadline = time.monotonic() + 20
    while cache._strong.nbytes != 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert cache._strong.nbytes == 10
    cache.clear()


def test_references_and_temprefs_hold_together(clock):
    cache = BufferCache(100, 100, clock=clock)
    cache.incref(checksum_of(1), make(1))
    cache.tempref(checksum_of(1))
    cache.decref(checksum_of(1))
    assert held(cache, 1) == [1]
    cache.incref(checksum_of(1))
    clock.now += 100
    cache.evict()
    assert held(cache, 1) == [1] and cache.stats()["temprefs"] == 0


# Caps ---------------------------------------------------------------------------------------------


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


# The cache of the process -------------------------------------------------------------------------


def test_checksums_and_buffers_use_the_cache_of_the_process():
    before = get_buffer_cache().stats()
    buffer = Buffer(b"of the process")
    buffer.incref()
    checksum = buffer.checksum
    del buffer
    assert checksum.resolve().content == b"of the process"
    checksum.incref()
    checksum.decref()
    checksum.resolve().tempref()
    checksum.resolve().decref()
    assert checksum.resolve().content == b"of the process"
    checksum.tempref().clear()
    with pytest.raises(ReferenceCountError):
        checksum.decref()
    after = get_buffer_cache().stats()
    assert after["strong_bytes"] == before["strong_bytes"]


def test_a_forked_process_can_use_the_cache():
    cache = get_buffer_cache()
    ref = cache.tempref(checksum_of(7), make(7))
    children = []
    forking = threading.Thread(target=lambda: children.append(os.fork() or _as_child()))
    with cache._lock:  # another thread holds it at the moment of the fork
        forking.start()
        forking.join(20)
    (child,) = children
    deadline = time.monotonic() + 10
    ended, status = 0, 0
    while not ended and time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if not ended:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended and os.waitstatus_to_exitcode(status) == 0
    ref.clear()


def _as_child():
    code = 1
    try:
        buffer = make(8)
        buffer.incref()
        buffer.decref()
        code = 0
    finally:
        os._exit(code)


# All operations in any order ----------------------------------------------------------------------

NUMBERS = st.integers(0, 5)


class Machine(RuleBasedStateMachine):
    """The cache beside a model of it that holds counts and ends; buffers of 10 to 15 bytes."""

    @initialize(soft=st.integers(0, 60), more=st.integers(0, 30))
    def start(self, soft, more):
        self.clock = Clock()
        self.cache = BufferCache(soft, soft + more, clock=self.clock)
        self.references = dict.fromkeys(range(6), 0)
        self.ends = {}
        self.mine = {}

    def given(self, n):
        return self.mine.get(n) or make(n, 10 + n)

    def checksum(self, n):
        return checksum_of(n, 10 + n)

    @rule(n=NUMBERS)
    def hold_myself(self, n):
        self.mine[n] = self.cache.register(self.given(n))

    @rule(n=NUMBERS)
    def hold_no_more(self, n):
        self.mine.pop(n, None)

    @rule(n=NUMBERS, bring=st.booleans())
    def incref(self, n, bring):
        self.cache.incref(self.checksum(n), self.given(n) if bring else None)
        self.references[n] += 1

    @rule(n=NUMBERS)
    def decref(self, n):
        if self.references[n]:
            self.cache.decref(self.checksum(n))
            self.references[n] -= 1
        else:
            with pytest.raises(ReferenceCountError):
                self.cache.decref(self.checksum(n))

    @rule(n=NUMBERS, bring=st.booleans(), interest=st.sampled_from([0.5, 8, 128]))
    def tempref(self, n, bring, interest):
        ref = self.cache.tempref(
            self.checksum(n), self.given(n) if bring else None, interest=interest
        )
        self.ends[n] = ref.ends_at()

    @rule(seconds=st.sampled_from([0.5, 5, 30]))
    def pass_time(self, seconds):
        self.clock.now += seconds
        self.cache.evict()

    @precondition(lambda self: hasattr(self, "cache"))
    @invariant()
    def agrees(self):
        gc.collect(0)
        stats = self.cache.stats()
        alive = {n for n, end in self.ends.items() if end > self.clock.now}
        assert stats["references"] == sum(self.references.values())
        assert stats["temprefs"] == len(alive)
        wanted = {n for n in self.references if self.references[n]} | alive
        found = {n for n in range(6) if self.cache.get(self.checksum(n)) is not None}
        assert set(self.mine) <= found <= set(self.mine) | wanted
        held = {
            n
            for n in wanted
            if self.cache._strong.entries[self.checksum(n).hex()].buffer is not None
        }
        assert stats["strong_bytes"] == sum(10 + n for n in held)
        assert stats["strong_bytes"] <= self.cache.hard_cap
        unreferenced = [n for n in held if not self.references[n]]
        assert stats["strong_bytes"] <= self.cache.soft_cap or not unreferenced


Machine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestMachine = Machine.TestCase


def test_eight_threads_at_once():
    """Counts come out even, bytes add up, and no buffer is ever another one."""
    cache = BufferCache(2_000, 4_000)
    wrong = []
    start = threading.Barrier(8)

    def work(seed):
        draw = random.Random(seed)
        start.wait()
        try:
            for _ in range(4_000):
                n = draw.randrange(40)
                checksum = checksum_of(n, 100)
                kind = draw.randrange(5)
                if kind == 0:
                    cache.incref(checksum, make(n, 100))
                    cache.decref(checksum)
                elif kind == 1:
                    cache.tempref(checksum, make(n, 100), interest=draw.choice([1e-3, 1, 8]))
                elif kind == 2:
                    cache.register(make(n, 100))
                elif kind == 3:
                    found = cache.get(checksum)
                    assert found is None or found.content == content_of(n, 100)
                else:
                    assert cache.stats()["strong_bytes"] <= 4_000
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=[seed]) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == [] and not any(thread.is_alive() for thread in threads)
    assert cache.stats()["references"] == 0
    assert cache._strong.nbytes == sum(entry.nbytes for entry in cache._strong.entries.values())
    cache.clear()
    assert cache.stats()["strong_bytes"] == 0
