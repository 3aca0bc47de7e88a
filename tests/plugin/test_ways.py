"""Every way of giving work to a client is as without the cache, and served the second time."""

from __future__ import annotations

import dask
import numpy as np
import pytest
from dask import delayed
from distributed import (
    Event,
    Lock,
    Queue,
    Semaphore,
    Variable,
    as_completed,
    fire_and_forget,
    get_client,
    rejoin,
    secede,
    span,
    wait,
    worker_client,
)
from test_programs import same
from ways import MANY, addresses, run_all


def increment(x):
    return x + 1


def add(*values):
    return sum(values)


def summed(value):
    """The sum of the numbers in nested containers."""
    if isinstance(value, dict):
        return sum(map(summed, value.values()))
    if isinstance(value, (list, tuple, set)):
        return sum(map(summed, value))
    return value


def fails(x):
    raise KeyError("told", x)


# What is served the second time -------------------------------------------------------------------


def submitted(client):
    return client.submit(add, client.submit(increment, 1), 10).result()


def submitted_twice(client):
    first, second = client.submit(increment, 1), client.submit(increment, 1)
    assert first.key == second.key
    return first.result(), second.result()


def submitted_impure(client):
    futures = [client.submit(increment, 2, pure=False) for _ in range(3)]
    assert len({future.key for future in futures}) == 3
    return client.gather(futures)


def mapped(client):
    return client.gather(client.map(add, range(5), range(5)))


def mapped_in_bulk(client):
    return client.gather(client.map(add, range(MANY), range(MANY)))


def mapped_in_batches(client):
    return client.gather(client.map(increment, range(100, 140), batch_size=7))


def mapped_over_futures(client):
    return client.gather(client.map(increment, client.map(increment, range(200, 200 + MANY))))


def computed(client):
    return client.compute([delayed(increment)(1), delayed(add)(1, 2)], sync=True)


def computed_with_a_key_twice(client):
    value = delayed(increment)(5)
    return client.compute([value, value, [value, {"v": value}]], sync=True)


def persisted(client):
    held = client.persist(delayed(increment)(3))
    return delayed(add)(held, held).compute(), client.compute(held).result()


def got(client):
    graph = {"a": 1, "b": (increment, "a"), ("c", 0): (add, "b", "a"), "d": "b"}
    return client.get(graph, ["b", [("c", 0), "d"], "b"])


def got_nothing(client):
    return client.get({}, []), client.gather([]), dask.compute(), client.compute([], sync=True)


def keys_of_the_user(client):
    named = client.submit(increment, 1, key="mine")
    paired = client.submit(increment, 2, key=("mine", 0, 1.5))
    several = client.map(increment, [3, 4], key=["three", ("four", 4)])
    odd = client.submit(increment, 5, key=b"bytes".decode("latin1") + "\xff\u2603")
    assert paired.key == ("mine", 0, 1.5)
    return client.gather([named, paired, *several, odd])


def futures_as_arguments(client):
    one, two = client.submit(increment, 0), client.submit(increment, 1)
    nested = client.submit(summed, [one, {"a": two, "b": [one, (two, 3)]}, (one,)])
    named = client.submit(add, one, *[two])
    late = client.compute(delayed(summed)([one, {"x": two}]))
    return client.gather([nested, named, late])


def scattered(client):
    data = client.scatter(np.arange(10.0))
    return client.submit(increment, data).result()


def scattered_broadcast(client):
    data = client.scatter({"a": 1, "b": 2}, broadcast=True)
    return client.gather(client.map(add, [data["a"], data["b"]], range(2)))


def scattered_unhashed(client):
    data = client.scatter([1, 2, 3], hash=False)
    return client.submit(summed, data).result()


def annotated(client):
    first = addresses(client)[0]
    with dask.annotate(priority=5, retries=2, workers=[first], allow_other_workers=True):
        values = [delayed(increment)(n) for n in range(300, 300 + MANY)]
    with dask.annotate(resources={"hands": 1}):
        values.append(delayed(increment)(400))
    return client.compute(values, sync=True, optimize_graph=False)


def in_a_span(client):
    with span("outer"), span("inner"):
        values = [delayed(increment)(n) for n in range(500, 500 + MANY)]
        return client.gather(client.compute(values))


def as_they_complete(client):
    futures = client.map(increment, range(600, 600 + MANY))
    more = as_completed(futures[:10], with_results=True)
    more.update(futures[10:])
    return sorted(value for _, value in more)


def in_batches(client):
    futures = client.map(increment, range(700, 700 + MANY))
    batches = as_completed(futures, with_results=True).batches()
    return sorted(value for batch in batches for _, value in batch)


def called_back(client):
    done = []
    futures = client.map(increment, range(3))
    for future in futures:
        future.add_done_callback(lambda ended: done.append(ended.key))
    wait(futures)
    values = client.gather(futures)
    while len(done) < 3:  # callbacks run in a thread of the client
        wait(futures)
    return sorted(values)


def published(client):
    client.publish_dataset(numbers=client.persist(delayed(increment)(800)))
    try:
        assert "numbers" in client.list_datasets()
        return client.get_dataset("numbers").compute()
    finally:
        client.unpublish_dataset("numbers")


def through_a_queue_and_a_variable(client):
    queue, variable = Queue("q", client=client), Variable("v", client=client)
    queue.put(client.submit(increment, 900))
    variable.set(client.submit(increment, 901))
    received = queue.get(), variable.get()
    value = client.submit(add, *received).result()
    variable.delete()
    queue.close()
    return value


def replicated(client):
    futures = client.map(increment, range(1000, 1000 + MANY))
    wait(futures)
    client.replicate(futures, n=2)
    assert all(len(holders) == 2 for holders in client.who_has(futures).values())
    client.rebalance()
    return client.gather(client.map(increment, futures))


def forgotten_by_the_client(client):
    async def submitted():
        # Both in one message: Dask keeps for ever what had ended when it was told to forget it.
        future = client.submit(increment, 1100)
        fire_and_forget(future)
        return future

    done = client.sync(submitted)
    wait(done)
    return done.result()


SERVED = [
    submitted,
    submitted_twice,
    submitted_impure,
    mapped,
    mapped_in_bulk,
    mapped_in_batches,
    mapped_over_futures,
    computed,
    computed_with_a_key_twice,
    persisted,
    got,
    keys_of_the_user,
    futures_as_arguments,
    scattered,
    scattered_broadcast,
    scattered_unhashed,
    annotated,
    in_a_span,
    as_they_complete,
    in_batches,
    called_back,
    published,
    through_a_queue_and_a_variable,
    replicated,
    forgotten_by_the_client,
]

# What is left to Dask every time ------------------------------------------------------------------


def asks_a_client(n):
    with worker_client() as client:
        return client.submit(increment, n).result()


def asks_its_worker(n):
    return get_client().submit(increment, n).result()


def leaves_the_pool(n):
    client = get_client()
    futures = client.map(increment, range(n, n + 3))
    secede()
    values = client.gather(futures)
    rejoin()
    return values


def says(name):
    Event(name).set()
    return 1


def hears(name):
    return Event(name).wait(30)


def puts(name, value):
    Queue(name).put(value)
    return value


class Counter:
    """An actor."""

    def __init__(self):
        self.count = 0

    def add(self, n):
        self.count += n
        return self.count


def tasks_that_submit(client):
    tasks = [asks_a_client, asks_its_worker, leaves_the_pool]
    return [client.submit(task, 40).result() for task in tasks]


def events(client):
    heard = client.submit(hears, "event", workers=addresses(client)[:1])
    said = client.submit(says, "event", workers=addresses(client)[1:])
    values = client.gather([heard, said])
    Event("event", client=client).clear()
    return values


def queues_in_tasks(client):
    queue = Queue("inner", client=client)
    client.gather(client.map(puts, ["inner"] * 3, range(3)))
    values = sorted(queue.get() for _ in range(3))
    queue.close()
    return values


def actors(client):
    counter = client.submit(Counter, actor=True).result()
    return [counter.add(n).result() for n in (1, 2, 3)]


def errors(client):
    future = client.submit(fails, 7)
    behind = client.submit(increment, future)
    # Raised here, they would hold the frames of whoever holds the futures.
    caught = [future.exception(), behind.exception()]
    assert future.status == behind.status == "error"
    return [(type(error).__name__, error.args) for error in caught]


LEFT_ALONE = [got_nothing, events, queues_in_tasks, actors, errors]

# What uses both -----------------------------------------------------------------------------------


def locked(name, n):
    with Lock(name):
        return n + 1


def leased(name, n):
    with Semaphore(2, name):
        return n + 1


def locks_and_semaphores(client):
    return client.gather([*client.map(locked, ["l"] * 4, range(4)), client.submit(leased, "s", 1)])


def errors_beside_values(client):
    futures = [client.submit(increment, 1200), client.submit(fails, 1)]
    wait(futures)
    return client.gather(futures, errors="skip")


ANYHOW = [tasks_that_submit, locks_and_semaphores, errors_beside_values]


@pytest.fixture(scope="module")
def runs(shared_cache_dir):
    return run_all([*SERVED, *LEFT_ALONE, *ANYHOW], shared_cache_dir, resources={"hands": 2})


@pytest.mark.parametrize("way", [*SERVED, *LEFT_ALONE, *ANYHOW])
def test_it_gives_what_plain_dask_gives(runs, way):
    """Cold and warm, the value is the one without the cache."""
    same(runs[way].cold, runs[way].off)
    same(runs[way].warm, runs[way].off)


@pytest.mark.parametrize("way", SERVED)
def test_it_is_served_the_second_time(runs, way):
    """On a new cluster nothing is computed."""
    cold, warm = runs[way].cold_stats, runs[way].warm_stats
    assert cold["tasks"] == warm["tasks"] == warm["hits"] > 0
    assert (warm["computed"], warm["misses"], warm["refused"]) == (0, 0, 0)


@pytest.mark.parametrize("way", LEFT_ALONE)
def test_it_is_done_again_the_second_time(runs, way):
    """What errs, talks, submits or keeps state is never stored."""
    cold, warm = runs[way].cold_stats, runs[way].warm_stats
    assert cold["tasks"] == warm["tasks"]
    assert (warm["computed"], warm["tasks"] - warm["hits"]) == (cold["computed"], cold["tasks"])


def test_what_tasks_submit_is_served_to_them(runs):
    """A task that submits others runs again, and gets their results from the cache."""
    warm = runs[tasks_that_submit].warm_stats
    assert (warm["computed"], warm["refused"], warm["hits"]) == (3, 3, 5)


def test_what_bulk_restore_is_meant_for_comes_in_bulk(runs):
    """Ways with many results, none of which says where it must run, need no restore tasks."""
    assert runs[mapped_in_bulk].warm_stats["restored"] == MANY
