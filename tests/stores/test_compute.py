"""Computing into a store: once for each provenance."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from seamless_dask_cache.stores import GenomeStore, Provenance, ProvenanceStore, TrackStore
from seamless_dask_cache.stores.operations import ORDER
from seamless_dask_cache.stores.turns import TURNS, Turns

SECONDS = 30


@pytest.fixture
def store():
    return ProvenanceStore()


def counted(function):
    """A function, and the list of what it was called with."""
    calls = []

    def call(*args, **kwargs):
        calls.append((args, kwargs))
        return function(*args, **kwargs)

    return call, calls


def never(*items, **params):
    pytest.fail("this is known already")


def test_the_function_runs_once(store):
    """A second call with the same provenance gives the same id, and computes nothing."""
    add, calls = counted(lambda a, b, by: a + b + by)
    ids = sorted([store.put(1), store.put(2)])
    made = store.compute("add", ids, {"by": 10}, add)
    assert store.compute("add", iter(ids), [("by", 10)], add) == made
    assert store[made].item == 13
    assert len(calls) == 1
    assert store.compute("add", ids, {"by": 11}, add) != made
    assert store.compute("sum", ids, {"by": 10}, add) != made
    assert store.compute("add", ids[:1] * 2, {"by": 10}, add) != made
    assert len(calls) == 4


def test_sorted_inputs_give_the_plain_provenance(store):
    """Who writes the provenance by hand finds what was computed, and the other way round."""
    ids = sorted([store.put(1), store.put(2)])
    made = store.compute("add", ids, {"by": 10}, lambda a, b, by: a + b + by)
    assert store.find(Provenance("add", ids, {"by": 10})) == made
    assert store.put("another", provenance=Provenance("add", ids, {"by": 10})) == made
    known = store.put("known", provenance=Provenance("count", ids))
    assert store.compute("count", ids, {}, never) == known


def test_the_order_of_inputs_counts(store):
    """Each order of the same inputs is another result."""
    ids = [store.put(text) for text in "abc"]
    found = {
        order: store.compute("join", order, {}, lambda *parts: "".join(parts))
        for order in itertools.permutations(ids)
    }
    assert len(set(found.values())) == 6
    for order, made in found.items():
        assert store[made].item == "".join(store[id].item for id in order)
        assert store.compute("join", order, {}, never) == made
    plain = [made for made in found.values() if ORDER not in dict(store[made].provenance.params)]
    assert plain == [found[tuple(sorted(ids))]]


def test_records_are_inputs(store):
    """A record stands for its id; one that was deleted meanwhile still has its item."""
    id = store.put(3)
    record = store[id]
    made = store.compute("double", [record], {}, lambda x: 2 * x)
    assert store.compute("double", [id], {}, never) == made
    store.delete(id)
    assert store.compute("double", [record], {}, never) == made
    assert store[store.compute("triple", [record], {}, lambda x: 3 * x)].item == 9


def test_inputs_come_from_linked_stores():
    """An input may be in a store that is linked, or linked with one that is."""
    genomes = GenomeStore()
    genome = genomes.put({"chr1": "GATTACA"})
    tracks = TrackStore(linked=[genomes])
    hits = tracks.compute("find", [genome], {"what": "TTA"}, lambda g, what: g["chr1"].find(what))
    assert tracks[hits].track == 2
    further = ProvenanceStore(linked=[tracks, tracks])
    both = further.compute("both", [genome, hits], {}, lambda g, hit: (len(g), hit))
    assert further[both].item == (1, 2)
    with pytest.raises(KeyError, match="here or in a linked store"):
        genomes.compute("back", [hits], {}, print)


def test_a_function_that_takes_nothing_is_called_without(store):
    """Its inputs are in its closure; they stand in the provenance all the same."""
    id = store.put(5)
    item = store[id].item
    made = store.compute("double", [id], {"by": 2}, lambda: 2 * item)
    assert store[made].item == 10
    assert store[made].provenance == Provenance("double", [id], {"by": 2})


def test_functions_that_do_not_tell_what_they_take_are_called(store):
    """Some functions written in C have no signature."""
    assert store[store.compute("larger", [store.put(1), store.put(2)], {}, max)].item == 2


async def coroutine(x):
    return x


@pytest.mark.parametrize(
    ("inputs", "params", "function", "text"),
    [
        (1, {}, lambda a, b: None, r"of \(a, b\) cannot be called with 1 inputs and .* \[\]"),
        (1, {"by": 2}, lambda a: None, r"1 inputs and the parameters \['by'\]: .*'by'"),
        (2, {"by": 2}, lambda a, by: None, "compute 'op': .* multiple values for argument 'by'"),
        (1, {}, lambda a, *, by: None, "missing a required .*'by'"),
        (1, {}, "len", "expected a function, not 'len'"),
        (1, {}, coroutine, "an async function"),
        (1, {"by": [1]}, lambda a, by: None, "'by' is a list"),
        (0, {}, len, "cannot be called with 0 inputs"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_runs(store, inputs, params, function, text):
    """The error names the operation and the parameters."""
    ids = [store.put("x") for _ in range(inputs)]
    with pytest.raises(TypeError, match=text):
        store.compute("op", ids, params, function)
    assert len(store) == inputs


@pytest.mark.parametrize(
    ("inputs", "error", "text"),
    [
        ("an id", TypeError, "several ids or records, not 'an id'"),
        (None, TypeError, "several ids or records, not None"),
        ([5], TypeError, "an id or a record, not 5"),
        (["nobody"], KeyError, "no record has the id 'nobody'"),
    ],
)
def test_inputs_that_are_none_are_named(store, inputs, error, text):
    """An input that no store knows gives an error with its id."""
    with pytest.raises(error, match=text):
        store.compute("op", inputs, {}, lambda *items: items)
    assert len(store) == 0


def test_a_single_record_is_not_taken_for_several(store):
    """A record must be in a list."""
    with pytest.raises(TypeError, match="several ids or records"):
        store.compute("op", store[store.put(1)], {}, print)


def test_a_failure_is_raised_and_not_remembered(store):
    """What the function raises goes to the caller; the next call tries anew."""
    with pytest.raises(ZeroDivisionError):
        store.compute("divide", [], {}, lambda: 1 / 0)
    assert len(store) == 0
    assert store[store.compute("divide", [], {}, lambda: 1)].item == 1
    assert len(TURNS) == 0


# Threads ------------------------------------------------------------------------------------------


def test_many_threads_compute_once(store):
    """Threads that ask for the same at the same time wait for one of them."""
    barrier, running = threading.Barrier(8), threading.Event()
    runs = []

    def slow():
        runs.append(threading.get_ident())
        running.wait(SECONDS)
        return len(runs)

    def ask(_):
        barrier.wait(SECONDS)
        return store.compute("slow", [], {}, slow)

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, number) for number in range(8)]
        wait_until(lambda: waiting(TURNS) == 8)
        running.set()
        assert len({one.result(SECONDS) for one in asked}) == 1
    assert len(runs) == 1
    assert len(TURNS) == 0


def waiting(turns):
    with turns._guard:
        return sum(turn.users for turn in turns._turns.values())


def wait_until(condition):
    """Wait for what another thread does; fail when it does not."""
    tick = threading.Event()
    for _ in range(SECONDS * 100):
        if condition():
            return
        tick.wait(0.01)
    raise AssertionError("still waiting")


def test_different_provenances_do_not_wait_for_each_other(store):
    """Two computations run at the same time: each goes on when the other has begun."""
    both = threading.Barrier(2)

    def meet(name):
        both.wait(SECONDS)
        return name

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(store.compute, "meet", [], {"name": name}, meet) for name in "ab"]
        assert {store[one.result(SECONDS)].item for one in asked} == {"a", "b"}


def test_after_a_failure_the_next_one_waiting_tries(store):
    """An error goes to who ran the function; one of those that waited runs it again."""
    runs, entered, go_on = [], threading.Event(), threading.Event()

    def flaky():
        runs.append(None)
        entered.set()
        go_on.wait(SECONDS)
        if len(runs) == 1:
            raise ValueError("the first time")
        return "done"

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(store.compute, "flaky", [], {}, flaky)
        assert entered.wait(SECONDS)
        others = [pool.submit(store.compute, "flaky", [], {}, flaky) for _ in range(3)]
        wait_until(lambda: waiting(TURNS) == 4)
        go_on.set()
        with pytest.raises(ValueError, match="the first time"):
            first.result(SECONDS)
        assert len({other.result(SECONDS) for other in others}) == 1
    assert len(runs) == 2


def test_what_needs_itself_is_an_error(store):
    """A function that asks for its own result gets an error instead of waiting forever."""

    def again():
        return store.compute("again", [], {}, again)

    with pytest.raises(RuntimeError, match=r"\'again\' .* needed to compute itself"):
        store.compute("again", [], {}, again)
    assert len(store) == len(TURNS) == 0


def test_functions_may_compute_what_they_need(store):
    """Another provenance may be computed inside of a function, also in the same store."""

    def outer():
        return store[store.compute("inner", [], {}, lambda: 20)].item + 1

    assert store[store.compute("outer", [], {}, outer)].item == 21
    assert len(store) == 2


def test_threads_that_would_wait_for_each_other_get_an_error(store):
    """Of two functions that need each other's results in two threads, one gets an error."""
    both_run = threading.Barrier(2)
    errors = []

    def need(name, other):
        def function():
            both_run.wait(SECONDS)
            store.compute(other, [], {}, lambda: "never, or after the other one gave up")

        try:
            store.compute(name, [], {}, function)
        except RuntimeError as error:
            errors.append(error)

    # Not in a pool, which would wait for threads that wait for each other.
    threads = [threading.Thread(target=need, args=pair, daemon=True) for pair in ("ab", "ba")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    assert errors
    assert all("needed to compute itself" in str(error) for error in errors)
    assert len(TURNS) == 0


def test_turns_are_gone_when_nobody_needs_them():
    """Many keys leave nothing behind, also after errors."""
    turns = Turns()
    for number in range(100):
        with pytest.raises(ValueError, match="inside"), turns.of(str(number)):
            assert len(turns) == 1
            raise ValueError("inside")
    assert len(turns) == 0
    assert not turns._awaited


def test_a_circle_through_two_stores_is_an_error():
    """Whoever closes it gets the error; nobody waits for ever."""
    one, other = ProvenanceStore(), ProvenanceStore()
    barrier = threading.Barrier(2)
    errors = []

    def need(store, name, inner, inner_name):
        def function():
            barrier.wait(SECONDS)
            return inner.compute(inner_name, [], {}, lambda: 1)

        try:
            store.compute(name, [], {}, function)
        except RuntimeError as error:
            errors.append(error)

    threads = [
        threading.Thread(target=need, args=arguments, daemon=True)
        for arguments in ((one, "a", other, "b"), (other, "b", one, "a"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    assert errors and all("needed to compute itself" in str(error) for error in errors)
    assert len(TURNS) == 0
    assert one.compute("a", [], {}, lambda: 2) and other.compute("a", [], {}, lambda: 3)


def test_a_forked_process_waits_for_nobody(store):
    """Threads that were computing when it was forked are not there."""
    started, done = threading.Event(), threading.Event()

    def slow():
        started.set()
        done.wait(SECONDS)
        return "slow"

    thread = threading.Thread(target=lambda: store.compute("slow", [], {}, slow))
    thread.start()
    started.wait(SECONDS)
    child = multiprocessing.get_context("fork").Process(
        target=lambda: store.compute("slow", [], {}, lambda: "by the child")
    )
    child.start()
    child.join(SECONDS)
    assert child.exitcode == 0
    done.set()
    thread.join()


@pytest.mark.parametrize("given", [False, True])
def test_the_order_of_inputs_is_not_the_callers_parameter(store, given):
    """It would be taken for what `compute` notes by itself."""
    ids = sorted([store.put(5), store.put(2)], reverse=given)
    with pytest.raises(ValueError, match="in which order"):
        store.compute("subtract", ids, {ORDER: (1, 0)}, lambda x, y, **_: x - y)


def test_inputs_in_a_set_are_refused(store):
    """They would come in any order."""
    with pytest.raises(TypeError, match="sorted"):
        store.compute("add", {store.put(1), store.put(2)}, {}, lambda a, b: a + b)


def test_a_decorated_function_is_called_by_what_its_wrapper_takes(store):
    """Unless the wrapper takes anything, and then by what it wraps."""

    def constant():
        return 10

    @functools.wraps(constant)
    def plus(x, by):
        return x + by + constant()

    @functools.wraps(constant)
    def logged(*args, **kwargs):
        return constant(*args, **kwargs)

    one = store.put(1)
    assert store[store.compute("plus", [one], {"by": 5}, plus)].item == 16
    assert store[store.compute("logged", [one], {"by": 5}, logged)].item == 10


class AsyncCall:
    async def __call__(self, x):
        return x


def test_an_object_with_an_async_call_is_refused(store):
    """As an async function is: what it returns is no result."""
    with pytest.raises(TypeError, match="async"):
        store.compute("wait", [store.put(1)], {}, AsyncCall())


def test_numbers_of_very_many_digits(store):
    """They cannot be shown, and are no obstacle."""
    many = store.compute("many", [], {"n": 10**5000}, lambda n: n % 7)
    assert store[many].item == 10**5000 % 7
    assert "cannot be shown" in str(store.lineage(many)) and repr(store[many].provenance)
