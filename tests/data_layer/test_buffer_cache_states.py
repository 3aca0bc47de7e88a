"""The buffer cache beside a model of it, and used by many threads at once."""

from __future__ import annotations

import gc
import random
import threading

import pytest
from caching import Clock, checksum_of, content_of, make
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seamless_dask_cache import BufferCache
from seamless_dask_cache.errors import ReferenceCountError

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
