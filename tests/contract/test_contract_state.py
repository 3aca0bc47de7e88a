"""What the cache relies on in the scheduler's state: what it reads there, and how it changes it."""

from __future__ import annotations

import threading

import pytest
from dask._task_spec import Task, TaskRef
from distributed import Future
from waiting import wait_for

from seamless_dask_cache.dask_internals import (
    as_original,
    ask_holder,
    hand_over,
    hold,
    is_scattered,
    is_started,
    let_go,
    run_again,
)


def double(x):
    return 2 * x


def raising(x):
    raise AssertionError("it must not run")


GATES = {}


def gives_back():
    """Functions of tests travel by reference, so that this one finds the gates."""
    GATES["begun"].set()
    GATES["go"].wait(10)
    return run_again()


async def submit(scheduler, client, graph, keys):
    await scheduler.update_graph(
        client=client.id,
        expr_ser=hand_over(graph, {}),
        keys=set(keys),
        span_metadata={"collections": []},
        internal_priority=None,
        submitting_task=None,
        annotations={},
    )


async def put(scheduler, key, value):
    """Bring a value into the memory of a worker, and tell the scheduler; as bulk restore does."""
    worker = next(iter(scheduler.workers))
    found = await scheduler.rpc(worker).update_data(data={key: value}, stimulus_id="contract")
    scheduler.update_data(who_has={key: [worker]}, nbytes=found["nbytes"])
    return worker


def test_task_states_have_what_is_read(client, on_scheduler):
    """Dependencies both ways, who wants and holds, where it runs, and what it is."""
    address = next(iter(client.scheduler_info()["workers"]))
    first = client.submit(double, 1, key="state-1", workers=[address])
    second = client.submit(double, first, key="state-2")
    assert second.result() == 4

    def look(scheduler):
        one, two = scheduler.tasks["state-1"], scheduler.tasks["state-2"]
        assert one.dependents == {two} and two.dependencies == {one}
        assert not one.waiting_on and not one.waiters
        assert {state.client_key for state in two.who_wants} == {client.id}
        assert {worker.address for worker in two.who_has} <= set(scheduler.workers)
        assert two.processing_on is None and two.state == "memory"
        assert isinstance(two.run_spec, Task) and two.run_spec.key == two.key
        assert two.nbytes > 0
        assert isinstance(two.run_id, int)
        assert set(one.worker_restrictions) == {address} and not two.worker_restrictions
        assert one.annotations is None or isinstance(one.annotations, dict)
        assert isinstance(two.metadata, (dict, type(None)))

    on_scheduler(look)


def test_worker_states_have_what_is_read(client, on_scheduler):
    """Memory and its limit, threads, and whether the worker is running."""
    future = client.submit(double, "x" * 1000, key="held")
    future.result()

    def look(scheduler):
        (holder,) = scheduler.tasks["held"].who_has
        assert holder.nbytes >= 2000
        assert holder.nthreads == 1
        assert holder.memory_limit > 0
        assert holder.memory.optimistic >= 0
        assert holder.status.name == "running"
        assert scheduler.tasks["held"] in holder.has_what
        assert not holder.processing

    on_scheduler(look)


def test_a_task_without_a_place_is_unrunnable(client, on_scheduler):
    """What no worker may run stands among the unrunnable tasks, and is reached by a transition."""
    future = client.submit(double, 1, key="nowhere", resources={"contract": 1})
    wait_for(
        lambda: on_scheduler(lambda s: "nowhere" in s.tasks and s.tasks["nowhere"] in s.unrunnable)
    )

    def let_run(scheduler):
        scheduler.tasks["nowhere"].resource_restrictions = None
        scheduler.transitions({"nowhere": "released"}, stimulus_id="contract")

    on_scheduler(let_run)
    assert future.result(timeout=10) == 2


@pytest.mark.filterwarnings("ignore:.*Detected different")
def test_a_known_task_keeps_what_it_runs(client, on_scheduler, value_of):
    """A later graph does not replace the run_spec of a key that the scheduler holds."""
    future = client.submit(double, 1, key="kept")
    assert future.result() == 2
    before = on_scheduler(lambda scheduler: scheduler.tasks["kept"].run_spec)
    on_scheduler(
        submit,
        client=client,
        graph={"kept": Task("kept", raising, 1), "after": Task("after", double, TaskRef("kept"))},
        keys=["after"],
    )
    assert value_of("after") == 4
    assert on_scheduler(lambda scheduler: scheduler.tasks["kept"].run_spec) is before


def test_data_that_was_put_there_is_in_memory_without_a_task(client, on_scheduler):
    """``update_data`` of worker and scheduler make data, which has no run_spec."""
    on_scheduler(put, key="data", value=21)

    def look(scheduler):
        task = scheduler.tasks["data"]
        return task.state, task.run_spec, [worker.address for worker in task.who_has]

    state, run_spec, holders = on_scheduler(look)
    assert (state, run_spec) == ("memory", None)
    assert len(holders) == 1
    assert on_scheduler(lambda scheduler: is_scattered(scheduler, "data"))
    assert client.submit(double, Future("data", client)).result() == 42


def test_a_graph_gives_data_its_task_without_running_it(client, on_scheduler, value_of):
    """A later graph sets the missing run_spec; it runs only when the data is lost."""

    async def restore(scheduler):
        await put(scheduler, "restored", 42)
        graph = {
            "restored": Task("restored", double, 4),
            "user": Task("user", double, TaskRef("restored")),
        }
        await submit(scheduler, client, graph, ["restored", "user"])
        return scheduler.tasks["restored"].run_spec is graph["restored"]

    assert on_scheduler(restore)
    assert (value_of("restored"), value_of("user")) == (42, 84)

    def forget(scheduler):
        (holder,) = scheduler.tasks["restored"].who_has
        scheduler.worker_send(
            holder.address, {"op": "free-keys", "keys": ["restored"], "stimulus_id": "contract"}
        )
        scheduler.transitions({"restored": "released"}, stimulus_id="contract")

    on_scheduler(forget)
    assert client.submit(double, Future("restored", client), key="again").result(timeout=10) == 16


def test_scattered_data_is_held_and_let_go_under_a_name_of_its_own(client, on_scheduler):
    """A holder that is no client keeps data alive, and what it released is forgotten."""
    data = client.scatter({"scattered-1": [1, 2, 3]}, hash=False)["scattered-1"]
    key = data.key
    assert on_scheduler(lambda scheduler: hold(scheduler, [key, "unknown"], "holder"))
    data.release()
    wait_for(
        lambda: on_scheduler(
            lambda scheduler: {s.client_key for s in scheduler.tasks[key].who_wants} == {"holder"}
        )
    )
    assert on_scheduler(lambda scheduler: is_scattered(scheduler, key))
    on_scheduler(lambda scheduler: let_go(scheduler, "holder"))
    wait_for(lambda: on_scheduler(lambda s: key not in s.tasks and "holder" not in s.clients))


def test_a_holder_holds_no_tasks(client, on_scheduler):
    """Where there is no data without a task, nobody is made to hold it."""
    client.submit(double, 2, key="made").result()
    assert not on_scheduler(lambda scheduler: hold(scheduler, ["made"], "holder"))
    assert on_scheduler(lambda scheduler: "holder" not in scheduler.clients)


def test_a_worker_that_does_not_know_the_question_gives_no_answer(client, on_scheduler):
    """A question to a holder has an answer or None; a handler of the worker gives it."""
    data = client.scatter({"scattered-2": 1}, hash=False)["scattered-2"]

    async def contract_length(key):
        return f"length of {key}"

    async def ask(scheduler, operation):
        return await ask_holder(scheduler, operation, data.key, 5)

    for worker in client.cluster.workers.values():
        worker.handlers["contract_length"] = contract_length
    assert on_scheduler(ask, operation="contract_length") == f"length of {data.key}"
    assert on_scheduler(ask, operation="contract_nonsense") is None


def test_messages_reach_a_worker(client, on_scheduler):
    """``worker_send`` calls a stream handler of the worker with what the message holds."""
    got = []
    address, worker = next((w.address, w) for w in client.cluster.workers.values())
    worker.stream_handlers["contract"] = lambda number: got.append(number)
    on_scheduler(lambda scheduler: scheduler.worker_send(address, {"op": "contract", "number": 3}))
    wait_for(lambda: got)
    assert got == [3]


def test_a_running_task_given_back_starts_as_what_it_is_by_then(client, on_scheduler):
    """``Reschedule`` releases the task, which starts once more with the run_spec it has then."""
    first = client.submit(double, 5, key="input")
    first.result()
    GATES["begun"], GATES["go"] = threading.Event(), threading.Event()
    future = client.submit(gives_back, key="given-back")
    assert GATES["begun"].wait(10)
    assert on_scheduler(lambda scheduler: is_started(scheduler, "given-back"))
    node = Task("given-back", double, TaskRef("input"))
    assert on_scheduler(lambda scheduler: as_original(scheduler, "given-back", node))
    unknown = Task("given-back", double, TaskRef("nobody-knows"))
    assert not on_scheduler(lambda scheduler: as_original(scheduler, "given-back", unknown))
    GATES["go"].set()
    assert future.result(timeout=10) == 20
    assert not on_scheduler(lambda scheduler: is_started(scheduler, "given-back"))
