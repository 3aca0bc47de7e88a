"""What is worth storing: by what computing and loading cost, by word and by pattern."""

from __future__ import annotations

import time

import dask
import pytest
from clusters import cluster_of
from dask._task_spec import Task, TaskRef
from hypothesis import given
from hypothesis import strategies as st
from seamless_dask_cache.scheduler_plugin.admission import DEFAULT, Admission, StoringPace, Terms
from seamless_dask_cache.scheduler_plugin.policy import Policy

import seamless_dask_cache as sdc
from seamless_dask_cache.database import Cost
from seamless_dask_cache.identity.recipe import Identity

SECONDS = st.floats(0, 100)
BYTES = st.integers(0, 2**40)


def identity(code):
    return Identity(code * 32, b"{}", "f", code)


def chain(length, code="aa"):
    """A chain of tasks of one code, its order, and what they are."""
    graph = {0: Task(0, abs, 1)}
    for n in range(1, length):
        graph[n] = Task(n, abs, TaskRef(n - 1))
    return graph, list(graph), {n: identity(code) for n in graph}


def terms_of(graph, order, known, policy=None, wanted=(), **costs):
    return Admission(policy or Policy(), costs).terms(graph, order, known, set(wanted), str)


def test_without_records_everything_is_up_to_the_worker():
    """Nothing is known in advance, so the default terms hold."""
    assert terms_of(*chain(3)) == {}


def test_a_chain_of_cheap_tasks_is_stored_now_and_then():
    """What was not stored upstream counts, until it is enough to be stored."""
    cost = Cost(10, 10 * 0.008, 0.0, 0, 0.0)
    found = terms_of(*chain(9), aa=cost)
    unsaved = [found.get(n, DEFAULT).unsaved for n in range(9)]
    # 8 ms each: after three of them, 24 ms are worth storing, and it starts anew.
    assert unsaved == pytest.approx([0, 0.008, 0.016, 0, 0.008, 0.016, 0, 0.008, 0.016])
    assert found[2].admit(Policy(), 0.008, 100)
    assert not found[1].admit(Policy(), 0.008, 100)


def test_what_several_use_is_shared_among_them():
    """A diamond does not count its root once for every path."""
    graph = {"a": Task("a", abs, 1), "z": Task("z", sum, [TaskRef(n) for n in range(9)])}
    graph |= {n: Task(n, abs, TaskRef("a")) for n in range(9)}
    order = ["a", *range(9), "z"]
    cost = Cost(1, 0.018, 0.0, 0, 0.0)
    found = terms_of(graph, order, {"a": identity("aa")}, aa=cost)
    assert sum(found[n].unsaved for n in range(9)) == pytest.approx(0.018)


def test_measured_loading_counts():
    """What loads slowly is not stored, what loads fast is."""
    slow, fast = Terms(loading=1.0), Terms(loading=0.001)
    policy = Policy(load_bytes_per_second=1e6)
    assert not slow.admit(policy, 0.5, 10)
    assert not DEFAULT.admit(policy, 0.5, 10_000_000)
    assert fast.admit(policy, 0.5, 10_000_000)
    assert not fast.admit(policy, 0.5, 10_000_000_001)


def test_patterns_name_prefixes():
    """Some prefixes are stored in any case, others never."""
    policy = Policy(always_store="0", never_store=("1", "7*"))
    found = terms_of(*chain(3), policy=policy)
    assert found == {0: Terms(True), 1: Terms(False)}
    assert found[0].admit(policy, 0.0, 10)
    assert not found[1].admit(policy, 100.0, 10)


@pytest.mark.parametrize("value", [3, [3], {"a": 1}, None])
def test_patterns_that_are_none_are_told(value):
    """A wrong setting is named."""
    with pytest.raises(sdc.ConfigurationError, match="never_store must be patterns"):
        Policy(never_store=value)


@given(seconds=SECONDS, unsaved=SECONDS, loading=st.none() | SECONDS, nbytes=BYTES)
def test_by_default_nothing_is_stored_that_loads_slower(seconds, unsaved, loading, nbytes):
    """Nobody asked for it, and computing it again, with what it takes, is as fast."""
    policy = Policy()
    expected = policy.load_seconds + nbytes / policy.load_bytes_per_second
    cost = loading if loading is not None else expected
    if Terms(None, unsaved, loading).admit(policy, seconds, nbytes):
        assert seconds + unsaved > cost
        assert nbytes <= policy.max_bytes


@given(seconds=SECONDS, unsaved=SECONDS, storing=st.none() | SECONDS, nbytes=BYTES)
def test_by_default_storing_takes_a_tenth_of_computing_at_most(seconds, unsaved, storing, nbytes):
    """What nobody asked for costs a program next to nothing; what is small needs no file."""
    policy = Policy()
    expected = nbytes / 300e6 if storing is None else storing
    if Terms(None, unsaved).admit(policy, seconds, nbytes, storing=storing):
        assert nbytes <= policy.inline_bytes or expected <= (seconds + unsaved) / 10


@given(st.lists(st.tuples(st.integers(1, 10**9), st.floats(1e-9, 1e-6)), max_size=20))
def test_the_pace_of_storing_is_between_the_slowest_and_the_fastest_seen(stored):
    """And what is expected grows with the size."""
    pace = StoringPace()
    for nbytes, per_byte in stored:
        pace.note(nbytes, nbytes * per_byte)
    seen = [1 / 300e6, *(per_byte for _, per_byte in stored)]
    assert min(seen) * 0.999 <= pace.seconds(10**6) / 10**6 <= max(seen) * 1.001
    assert pace.seconds(0) == 0 < pace.seconds(1) < pace.seconds(2)


def test_the_latest_results_count_most():
    """A disk that became slow is noticed after some 100 MB."""
    pace = StoringPace()
    for _ in range(100):
        pace.note(10_000_000, 0.01)
    for _ in range(30):
        pace.note(10_000_000, 1.0)
    assert 0.9 < pace.seconds(10_000_000) <= 1.0


@given(
    store=st.sampled_from([None, True, False]),
    requested=st.booleans(),
    seconds=SECONDS,
    loading=st.none() | SECONDS,
    nbytes=BYTES,
)
def test_size_wins_over_wishes_and_wishes_over_costs(store, requested, seconds, loading, nbytes):
    """Also over that a client asked for it, which wins over costs."""
    policy = Policy(max_bytes=1_000_000)
    admitted = Terms(store, 0.0, loading).admit(policy, seconds, nbytes, requested=requested)
    if nbytes > policy.max_bytes or store is False:
        assert not admitted
    elif store or requested:
        assert admitted
    else:
        assert admitted == policy.worth_storing(seconds, nbytes, loading)


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize(("always", "never"), [("*", ""), ("", "*"), ("*", "*")])
def test_the_user_s_word_wins_over_patterns(trusted, always, never):
    """And of patterns, those for never win."""
    policy = Policy(always_store=always, never_store=never)
    found = terms_of(*chain(1), policy=policy, wanted=[0] if trusted else [])
    assert found[0].store is (trusted or not never)


# With a real scheduler ----------------------------------------------------------------------------


class SlowToLoad:
    """Takes long to be unpickled, and no time to be made."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        return loaded_slowly, (self.number,)


def loaded_slowly(number):
    time.sleep(0.3)
    return SlowToLoad(number)


def make(number):
    time.sleep(0.03)
    return SlowToLoad(number)


def number_of(made):
    return made.number


def one_more(made):
    return made.number + 1


def big(number):
    return bytes(number)


def inc(x):
    return x + 1


def step(x):
    time.sleep(0.009)
    return x + 1


def steps(count):
    value = dask.delayed(step)(0)
    for _ in range(count - 1):
        value = dask.delayed(step)(value)
    return value


def ran(cache, value):
    before = cache.stats()["computed"]
    assert value.compute() is not None
    assert cache.flush(30)
    return cache.stats()["computed"] - before


def test_records_of_earlier_runs_make_checkpoints(cache_dir):
    """Cheap steps are checkpointed once it is known what they cost, whoever found that out."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        assert ran(cache, steps(12)) == 12
        assert cache.stats()["stored"] == 1
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        value = dask.delayed(inc)(dask.delayed(inc)(steps(11)))
        # The shorter chain was not stored, and now some of its steps are.
        assert ran(cache, value) == 13
        stored = cache.stats()["stored"]
        assert stored > 3
        assert ran(cache, dask.delayed(step)(steps(9))) < 9


@pytest.mark.parametrize("setting", ["always_store", "never_store"])
def test_patterns_in_the_settings(client, cache_dir, setting):
    """A pattern stores what is cheap, or does not store what is dear; the rest is found anyway."""
    cache = sdc.enable(client, cache_dir=cache_dir, **{setting: "step*"})
    value = dask.delayed(inc)(steps(3))
    assert ran(cache, value) == 4
    assert cache.stats()["stored"] == (4 if setting == "always_store" else 1)
    assert ran(cache, value) == 0


def test_the_user_s_word_stores(client, cache):
    """What is annotated with cache=True is stored however cheap it is."""
    with dask.annotate(cache=True):
        cheap = dask.delayed(inc)(1)
    with dask.config.set({"optimization.fuse.active": False}):
        assert ran(cache, dask.delayed(inc)(cheap)) == 2
    assert cache.stats()["stored"] == 2


def test_what_loads_slower_than_it_is_made_is_not_stored_again(cache_dir):
    """Once a load was seen to take longer than the computation, results of that code stay away."""
    with cluster_of(workers=1) as client, dask.config.set({"optimization.fuse.active": False}):
        cache = sdc.enable(client, cache_dir=cache_dir)
        assert ran(cache, dask.delayed(number_of)(dask.delayed(make)(1))) == 2
        assert cache.stats()["stored"] == 2
        assert ran(cache, dask.delayed(one_more)(dask.delayed(make)(1))) == 1
        assert ran(cache, dask.delayed(one_more)(dask.delayed(make)(2))) == 2
        assert cache.stats()["stored"] == 4


def test_what_is_never_stored_is_not_stored_when_a_client_asks_for_it(client, cache_dir):
    """Nor waited for by another cluster; the user's word for one task wins."""
    cache = sdc.enable(client, cache_dir=cache_dir, never_store="step*")
    flight = client.cluster.scheduler.plugins["seamless-dask-cache"].engine.flight
    future = client.submit(step, 1, key="step-1")
    while future.key not in client.cluster.scheduler.tasks:
        time.sleep(0.001)
    assert not flight.leases
    assert future.result() == 2
    with dask.annotate(cache=True):
        assert client.submit(step, 2, key="step-2").result() == 3
    assert cache.flush(30)
    assert cache.stats()["stored"] == 1


@pytest.mark.parametrize("word", [True, None])
def test_what_is_too_large_is_not_stored_whatever_is_said(client, cache_dir, word):
    """Neither by word nor by pattern nor as a client asked for it."""
    cache = sdc.enable(client, cache_dir=cache_dir, max_bytes=10_000, always_store="*")
    with dask.annotate(**({} if word is None else {"cache": word})):
        future = client.submit(big, 20_000)
        small = client.submit(len, future)
    assert small.result() == 20_000
    assert cache.flush(30)
    assert cache.stats()["stored"] == 1


def test_the_user_s_no_wins_over_patterns(client, cache_dir):
    """What is annotated with cache=False is not stored, though a pattern says so."""
    cache = sdc.enable(client, cache_dir=cache_dir, always_store="*")
    with dask.annotate(cache=False):
        assert client.submit(step, 1).result() == 2
    assert cache.flush(30)
    assert cache.stats()["stored"] == 0


def costs_of(dask_scheduler, code):
    link = dask_scheduler.plugins["seamless-dask-cache"].engine.link
    return link.connection.current.look_up([], [code])


def test_runs_and_loads_are_on_record(cache_dir):
    """What computing and loading took is summed up in the database, by code."""
    code = sdc.code_checksum(step)
    for _ in range(2):
        with cluster_of() as client:
            cache = sdc.enable(client, cache_dir=cache_dir)
            assert client.submit(step, 1).result() == 2
            assert cache.flush(30)
            costs = client.sync(costs_on, client.cluster.scheduler, code)
    assert (costs.runs, costs.loads) == (1, 1)
    assert costs.seconds > 0.005
    assert 0 < costs.load_seconds < 1


async def costs_on(scheduler, code):
    return (await costs_of(scheduler, code)).costs[code]
