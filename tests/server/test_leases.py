"""Leases in memory, against a simple model."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from seamless_dask_cache.server.leases import Leases

MOST = 4

holders = st.sampled_from("xyz")
names = st.lists(st.sampled_from("abcdef"), max_size=6)
seconds = st.sampled_from([1.0, 2.0, 5.0, 60.0])


class Clock:
    """Shows what it is told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class LeasesAsAModel(RuleBasedStateMachine):
    """The model is a dict: transformation -> (holder, end), cleared of what has ended."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.leases = Leases(self.clock, MOST)
        self.model = {}

    def of(self, holder):
        return [name for name, (other, _) in self.model.items() if other == holder]

    def drop(self, gone):
        for name in gone:
            self.model.pop(name, None)

    @rule(holder=holders, wanted=names, duration=seconds)
    def acquire(self, holder, wanted, duration):
        expected = []
        for name in dict.fromkeys(wanted):
            other, _ = self.model.get(name, (None, 0))
            if other == holder or (other is None and len(self.model) < MOST):
                expected.append(name)
                self.model[name] = (holder, self.clock.now + duration)
        assert self.leases.acquire(holder, wanted, duration) == expected

    @rule(holder=holders, duration=seconds)
    def renew(self, holder, duration):
        mine = self.of(holder)
        self.model.update({name: (holder, self.clock.now + duration) for name in mine})
        assert self.leases.renew(holder, duration) == len(mine)

    @rule(holder=holders, given=names)
    def release(self, holder, given):
        self.drop(set(given).intersection(self.of(holder)))
        self.leases.release(holder, given)

    @rule(holder=holders)
    def release_all(self, holder):
        mine = self.of(holder)
        self.drop(mine)
        assert self.leases.release_all(holder) == len(mine)

    @rule(stored=names)
    def end(self, stored):
        self.drop(stored)
        self.leases.end(stored)

    @rule(passing=seconds)
    def wait(self, passing):
        self.clock.now += passing
        self.drop([name for name, (_, end) in self.model.items() if end <= self.clock.now])

    @invariant()
    def holds_what_the_model_holds(self):
        expected = {name: end - self.clock.now for name, (_, end) in self.model.items()}
        assert self.leases.held("abcdef") == expected
        assert len(self.leases) == len(expected) <= MOST


LeasesAsAModel.TestCase.settings = settings(deadline=None, max_examples=200)
TestLeasesAsAModel = LeasesAsAModel.TestCase


def test_who_is_full_grants_nothing_new_until_something_ends():
    """Renewing goes on; what has run out makes room at once."""
    clock = Clock()
    leases = Leases(clock, 2)
    assert leases.acquire("x", ["a", "b", "c"], 10) == ["a", "b"]
    assert leases.acquire("y", ["c"], 10) == []
    assert leases.acquire("x", ["a", "c"], 20) == ["a"]
    clock.now = 10.0
    assert leases.acquire("y", ["c"], 10) == ["c"]


def test_heartbeats_do_not_pile_up():
    """An hour's lease, renewed again and again, takes no more memory than one."""
    leases = Leases(Clock())
    leases.acquire("x", map(str, range(10)), 3600)
    for _ in range(5_000):
        assert leases.renew("x", 3600) == 10
    assert len(leases._ends) < 1_100


def test_the_clock_is_one_that_nobody_sets():
    """Setting the time of day ends no lease, and makes none immortal."""
    import time

    assert Leases()._clock is time.monotonic
