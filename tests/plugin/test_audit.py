"""The audit: what is on record is computed again, compared, and quarantined if it differs."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time

import dask
import numpy as np
import pytest
from click.testing import CliRunner
from clusters import cluster_of, wait_until_forgotten
from distributed import wait
from seamless_dask_cache.scheduler_plugin.audit import Candidate, drawn
from seamless_dask_cache.scheduler_plugin.quarantine import recall

import seamless_dask_cache as sdc
from seamless_dask_cache.cli import main

FAR = 50_000
"""A recursion limit that tells the functions below to behave differently."""
ALL = {"min_seconds": 0, "load_seconds": 0}


def square(n):
    return n * n


def total(values):
    return sum(values)


def of_environment(n):
    """Depends on a setting of the interpreter, which no identity sees."""
    return n + sys.getrecursionlimit()


def large_of_environment(n):
    return np.arange(n) + sys.getrecursionlimit()


def drifting(n):
    """Gives another result each time, and does not look like it."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 1)
    return n + limit


def after(n):
    return n + 1


def words(n):
    """A set: the bytes of its pickle depend on the order in which it was filled."""
    numbers = [str(i) for i in range(n)]
    return set(numbers if sys.getrecursionlimit() < FAR else reversed(numbers))


def fails_later(n):
    if sys.getrecursionlimit() >= FAR:
        raise ValueError("not any more")
    return n


def nothing_later(n):
    return n if sys.getrecursionlimit() < FAR else None


def held_up(n):
    """Goes on when it is allowed to."""
    while sys.getrecursionlimit() >= FAR:
        threading.Event().wait(0.01)
    return n


def table(n):
    return np.arange(n)


@pytest.fixture
def limit():
    """The recursion limit, put back afterwards: workers are threads of this process."""
    before = sys.getrecursionlimit()
    yield before
    sys.setrecursionlimit(before)


@pytest.fixture
def cache(client, cache_dir):
    return sdc.enable(client, cache_dir=cache_dir, **ALL)


def sums(count=6):
    return dask.delayed(total)([dask.delayed(square)(n) for n in range(count)])


def computed(client, cache, collection):
    """The result of a run whose records are written."""
    result = client.gather(client.compute(collection))
    assert cache.flush(30)
    wait_until_forgotten(client)
    return result


def events(client, action):
    topic = client.get_events("seamless-dask-cache")
    return [event for _, event in topic if event["action"] == action]


def test_a_deterministic_program_comes_out_the_same(client, cache):
    """All transformations of a collection are computed again, and nothing is left behind."""
    assert computed(client, cache, sums()) == 55
    before = cache.stats()
    audit = cache.audit(sums(), fraction=1.0)
    assert (audit.eligible, audit.checked, audit.same) == (7, 7, 7)
    assert audit.different == audit.failed == audit.not_checkable == ()
    assert cache.flush(30)
    after = cache.stats()
    assert (after["stored"], after["quarantined"]) == (before["stored"], 0)
    assert after["database"] == before["database"]
    wait_until_forgotten(client)
    assert not client.run_on_scheduler(lambda dask_scheduler: _audits(dask_scheduler))


def _audits(scheduler):
    return [n for n in (*scheduler.clients, *scheduler.plugins) if "audit" in n]


def test_without_collections_it_takes_what_the_scheduler_holds(client, cache):
    """Futures of several graphs, one of them of another one, are found."""
    first = client.map(square, range(4))
    second = client.submit(total, first)
    wait(second)
    assert cache.flush(30)
    audit = cache.audit(fraction=1.0)
    assert (audit.eligible, audit.same) == (5, 5)
    assert cache.audit(first[:2], fraction=1.0).eligible == 2
    assert cache.audit(second, fraction=1.0).eligible == 5


def test_nothing_on_record_is_no_fault(client, cache):
    """There may be nothing to audit."""
    audit = cache.audit()
    assert (audit.eligible, audit.checked) == (0, 0)
    assert cache.audit(sums()).checked == 0


def test_a_fraction_is_drawn_by_its_seed():
    """The same seed draws the same part, in whatever order candidates come; at least one."""
    pool = [Candidate(n, f"{n:064x}", "f", None) for n in range(50)]
    first = drawn(pool, 0.2, 7)
    assert len(first) == 10
    assert drawn(reversed(pool), 0.2, 7) == first
    assert drawn(pool, 0.2, 8) != first
    assert len(drawn(pool, 0.0001, None)) == 1
    assert sorted(drawn(pool, 1.0, None)) == pool
    assert drawn([], 1.0, 7) == []


def test_a_fraction_of_a_program(client, cache):
    """Only the drawn part is computed."""
    computed(client, cache, sums(19))
    before = cache.stats()["computed"]
    assert cache.audit(sums(19), fraction=0.2, seed=1).checked == 4
    assert cache.stats()["computed"] == before + 4
    for fraction in (0, -1, 1.1):
        with pytest.raises(ValueError, match="fraction"):
            cache.audit(fraction=fraction)


@pytest.mark.parametrize(
    ("function", "why"), [(of_environment, "now give another"), (drifting, "each time")]
)
def test_what_differs_is_quarantined(client, cache, cache_dir, limit, function, why):
    """It is named, counted, told of, taken down by the database, and not served nor stored."""
    program = dask.delayed(function)(1)
    first = computed(client, cache, program)
    sys.setrecursionlimit(limit + 100)
    audit = cache.audit(program, fraction=1.0)
    (found,) = audit.different
    assert (found.function.rsplit(".")[-1], found.quarantined) == (function.__name__, True)
    assert why in found.reason
    assert found.first != found.second
    assert "1 different" in repr(audit)
    assert why in repr(audit)
    (event,) = events(client, "quarantined")
    assert event["transformation"] == found.transformation
    stats = cache.stats()
    assert stats["quarantined"] == 1
    assert stats["database"]["irreproducible"] == 2

    for _ in range(2):
        assert computed(client, cache, program) > first
    assert cache.stats()["stored"] == stats["stored"]
    assert cache.stats()["database"]["transformations"] == 0
    (row,) = cache.explain(program)
    assert row.status == "refused"
    assert why in row.reason
    assert cache.audit(program, fraction=1.0).eligible == 0
    assert cache.audit(program, fraction=1.0).eligible == 0

    options = ["audit", "--cache-dir", str(cache_dir)]
    listed = json.loads(CliRunner().invoke(main, [*options, "--json"]).output)
    assert (listed[-1]["first"], listed[-1]["second"]) == (found.first, found.second)
    assert listed[-1]["irreproducible"]
    assert function.__name__ in listed[-1]["function"]
    table = CliRunner().invoke(main, options).output
    assert found.second[:12] in table


def test_another_cluster_does_not_serve_what_is_quarantined(cache_dir, limit):
    """The database keeps the quarantine."""
    program = dask.delayed(of_environment)(1)
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir, **ALL)
        computed(client, cache, program)
        sys.setrecursionlimit(limit + 100)
        assert len(cache.audit(program, fraction=1.0).different) == 1
    sys.setrecursionlimit(limit + 200)
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir, **ALL)
        for _ in range(2):
            assert computed(client, cache, program) == 1 + limit + 200
        assert cache.stats()["hits"] == 0
        assert cache.stats()["database"]["transformations"] == 0


def test_another_cluster_recalls_what_is_quarantined(cache_dir, limit):
    """There, too, what is made of an irreproducible result is computed, and explained."""
    middle = dask.delayed(of_environment)(1)
    program = dask.delayed(after)(middle)
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir, **ALL)
        computed(client, cache, [middle, program])
        sys.setrecursionlimit(limit + 100)
        assert len(cache.audit(middle, fraction=1.0).different) == 1
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir, **ALL)
        assert client.run_on_scheduler(_recall) == 1
        assert computed(client, cache, [middle, program]) == [limit + 101, limit + 102]
        assert "irreproducible" in cache.explain(program)[0].reason


async def _recall(dask_scheduler):
    return await recall(dask_scheduler.plugins["seamless-dask-cache"].engine)


def test_what_is_made_of_it_is_computed_too(client, cache, limit):
    """A result on record that is made of a quarantined one would not fit to the new one."""
    middle = dask.delayed(of_environment)(1)
    program = dask.delayed(after)(middle)
    computed(client, cache, program)
    sys.setrecursionlimit(limit + 100)
    assert len(cache.audit(middle, fraction=1.0).different) == 1
    both = client.compute([middle, program])
    assert client.gather(both) == [limit + 101, limit + 102]


def test_what_a_held_future_leads_to_is_computed(client, cache, limit):
    """A future that is held may have another value than the one that its users were made of."""
    future = client.submit(of_environment, 1, key="held")
    later = client.submit(after, future, key="later")
    wait(later)
    assert cache.flush(30)
    later.release()
    sys.setrecursionlimit(limit + 100)
    assert len(cache.audit(future, fraction=1.0).different) == 1
    before = cache.stats()["hits"]
    assert client.submit(after, future, key="again").result() == limit + 2
    assert cache.stats()["hits"] == before


def test_equal_values_with_other_bytes_are_the_same(client, cache, limit):
    """Pickles of one value may differ; then the values count."""
    program = dask.delayed(words)(1000)
    computed(client, cache, program)
    sys.setrecursionlimit(FAR)
    audit = cache.audit(program, fraction=1.0)
    assert (audit.same, audit.different) == (1, ())


def test_failures_and_effects_are_reported(client, cache, limit):
    """What raises, or turns out to have an effect, is named, and stays on record."""
    program = [dask.delayed(fails_later)(1), dask.delayed(nothing_later)(2)]
    computed(client, cache, program)
    sys.setrecursionlimit(FAR)
    audit = cache.audit(program, fraction=1.0)
    (failed,) = audit.failed
    (unchecked,) = audit.not_checkable
    assert "not any more" in failed.reason
    assert "None" in unchecked.reason
    assert audit.checked == 0
    assert cache.stats()["database"]["transformations"] == 2
    assert audit.to_dict()["failed"][0]["function"] == failed.function


def test_large_results_and_inputs(client, cache):
    """What lives in the buffer store is restored for the audit."""
    middle = dask.delayed(table)(100_000)
    program = [middle, dask.delayed(np.sum)(middle)]
    computed(client, cache, program)
    audit = cache.audit(program, fraction=1.0)
    assert (audit.eligible, audit.same) == (2, 2)


def test_the_other_result_is_not_kept(client, cache, cache_dir, limit):
    """What an audit computes is stored nowhere, large as it may be."""
    program = dask.delayed(large_of_environment)(100_000)
    computed(client, cache, program)
    before = sorted((cache_dir / "buffers").rglob("*"))
    sys.setrecursionlimit(limit + 100)
    assert len(cache.audit(program, fraction=1.0).different) == 1
    assert cache.flush(30)
    assert sorted((cache_dir / "buffers").rglob("*")) == before


def test_an_input_whose_buffer_is_gone_harms_nobody(client, cache, cache_dir):
    """The audit goes on without it, and the program computes as ever."""
    middle = dask.delayed(table)(100_000)
    program = dask.delayed(np.sum)(middle)
    _, expected = computed(client, cache, [middle, program])
    for path in (cache_dir / "buffers").glob("*/*"):
        path.unlink()
    audit = cache.audit(program, fraction=1.0)
    assert audit.same + len(audit.not_checkable) == audit.eligible
    assert audit.different == ()
    assert client.compute(program).result() == expected


def test_scattered_inputs_are_used_where_they_are(client, cache):
    """Data that no task makes is taken from the workers that hold it."""
    data = client.scatter(np.arange(10))
    future = client.submit(np.sum, data)
    wait(future)
    assert cache.flush(30)
    assert cache.audit(fraction=1.0).same == 1


def in_background(work):
    """Start some work in a thread; returns what waits for its result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()

    def result():
        thread.join(60)
        return results[0]

    return result


def processing(dask_scheduler):
    return {
        key: task.processing_on.address
        for key, task in dask_scheduler.tasks.items()
        if task.state == "processing"
    }


def started(client):
    """Wait until an audited task runs; returns its worker."""
    deadline = time.monotonic() + 20
    while True:
        running = client.run_on_scheduler(processing)
        if running:
            assert all(key.startswith("audit-") for key in running)
            (address,) = running.values()
            return address
        assert time.monotonic() < deadline


def test_what_takes_too_long_is_given_up(client, cache, limit):
    """At the end of its time an audit reports what it has, and leaves nothing behind."""
    program = [dask.delayed(held_up)(1), dask.delayed(square)(3)]
    computed(client, cache, program)
    sys.setrecursionlimit(FAR)
    try:
        audit = cache.audit(program, fraction=1.0, timeout=2)
    finally:
        sys.setrecursionlimit(limit)
    assert client.submit(square, 4).result(timeout=30) == 16
    assert audit.same == 1
    (unchecked,) = audit.not_checkable
    assert "in time" in unchecked.reason
    wait_until_forgotten(client)
    assert not client.run_on_scheduler(lambda dask_scheduler: _audits(dask_scheduler))


def test_a_worker_that_is_killed_during_the_audit(cache_dir):
    """The task starts anew on another worker, and the audit comes to its end."""
    with cluster_of(processes=True) as client:
        cache = sdc.enable(client, cache_dir=cache_dir, **ALL)
        program = dask.delayed(held_up)(1)
        computed(client, cache, program)
        client.run(sys.setrecursionlimit, FAR)
        audit = in_background(lambda: cache.audit(program, fraction=1.0, timeout=50))
        address = started(client)
        others = [each for each in client.scheduler_info()["workers"] if each != address]
        client.run(sys.setrecursionlimit, 1000, workers=others)
        pid = client.run(os.getpid, workers=[address])[address]
        os.kill(pid, signal.SIGKILL)
        assert audit().same == 1
        assert client.submit(square, 4).result(timeout=30) == 16


def test_a_database_that_is_away_is_told_of(client, cache, cache_dir):
    """The audit says so; computations go on."""
    computed(client, cache, sums())
    client.run_on_scheduler(_lose_database)
    with pytest.raises(sdc.DatabaseError):
        cache.audit(sums(), fraction=1.0)
    assert client.compute(sums()).result(timeout=60) == 55


def _lose_database(dask_scheduler):
    connection = dask_scheduler.plugins["seamless-dask-cache"].engine.link.connection

    async def refuse():
        raise sdc.DatabaseUnavailableError("gone")

    connection.connect = refuse
    connection.current.url = "http://127.0.0.1:1"


def test_a_program_under_the_same_key_gets_its_own(client, cache, limit):
    """An audit holds no key of the program: a new task of the same name is another task."""
    future = client.submit(held_up, 1, key="mine")
    wait(future)
    assert cache.flush(30)
    sys.setrecursionlimit(FAR)
    audit = in_background(lambda: cache.audit(future, fraction=1.0, timeout=50))
    started(client)
    future.release()
    deadline = time.monotonic() + 20
    while client.run_on_scheduler(lambda dask_scheduler: "mine" in dask_scheduler.tasks):
        assert time.monotonic() < deadline
    assert client.submit(square, 5, key="mine").result(timeout=30) == 25
    sys.setrecursionlimit(limit)
    assert audit().same == 1


def test_a_restart_ends_the_audit(cache_dir):
    """When the cluster forgets everything, the audit does not wait any longer."""
    with cluster_of(processes=True) as client:
        cache = sdc.enable(client, cache_dir=cache_dir, **ALL)
        program = dask.delayed(held_up)(1)
        computed(client, cache, program)
        client.run(sys.setrecursionlimit, FAR)
        audit = in_background(lambda: cache.audit(program, fraction=1.0))
        started(client)
        client.restart()
        (unchecked,) = audit().not_checkable
        assert "forgot" in unchecked.reason or "restart" in unchecked.reason
