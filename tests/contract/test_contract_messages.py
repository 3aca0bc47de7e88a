"""What the cache relies on when messages of clients reach the scheduler."""

from __future__ import annotations

import asyncio
import inspect
import threading

from dask._task_spec import Task
from distributed import Client, Scheduler, SchedulerPlugin
from waiting import wait_for

from seamless_dask_cache.dask_internals import hand_over

OF_CLIENTS = {
    "update-graph",
    "client-desires-keys",
    "client-releases-keys",
    "update-data",
    "report-key",
    "cancel-keys",
    "close-client",
    "subscribe-topic",
    "unsubscribe-topic",
    "heartbeat-client",
}
OF_WORKERS = {"task-finished", "task-erred", "reschedule", "long-running", "add-keys"}


def double(x):
    return 2 * x


def test_one_table_holds_the_handlers_of_clients_and_workers(on_scheduler):
    """All messages of clients are known, and a new one is seen: it may overtake what waits."""

    def handlers(dask_scheduler):
        return {
            name: getattr(handler, "__name__", "")
            for name, handler in dask_scheduler.stream_handlers.items()
        }

    found = on_scheduler(handlers)
    rest = found.keys() - OF_CLIENTS
    assert set(found) >= OF_CLIENTS | OF_WORKERS
    assert not {name for name in rest if "client" in name or "graph" in name}
    assert found["update-graph"] == "update_graph"
    assert found["close-client"] == "remove_client"
    assert found["task-finished"] == "handle_task_finished"


def test_a_handler_is_looked_up_for_every_message_and_awaited(client, on_scheduler):
    """A client's next message waits until the coroutine of the one before has ended."""
    log, gate = [], threading.Event()

    async def first(client, number):
        log.append(("first begins", client, number))
        while not gate.is_set():
            await asyncio.sleep(0.001)
        log.append(("first ends", client, number))

    def second(client, number):
        log.append(("second", client, number))

    def replace(dask_scheduler, handler):
        dask_scheduler.stream_handlers["contract"] = handler

    on_scheduler(replace, handler=first)
    client._send_to_scheduler({"op": "contract", "number": 1})
    client._send_to_scheduler({"op": "contract", "number": 2})
    wait_for(lambda: log)
    on_scheduler(replace, handler=second)
    assert log == [("first begins", client.id, 1)]
    gate.set()
    wait_for(lambda: len(log) == 3)
    assert log[1:] == [("first ends", client.id, 1), ("second", client.id, 2)]


def test_other_clients_do_not_wait(client, on_scheduler):
    """Streams are independent: one that waits holds nobody else."""
    log, gate = [], threading.Event()

    async def waiting(client):
        log.append("waits")
        while not gate.is_set():
            await asyncio.sleep(0.001)

    on_scheduler(
        lambda dask_scheduler: dask_scheduler.stream_handlers.update({"contract": waiting})
    )
    try:
        client._send_to_scheduler({"op": "contract"})
        wait_for(lambda: log)
        with Client(client.scheduler_info()["address"]) as other:
            assert other.submit(double, 4, pure=False).result() == 8
    finally:
        gate.set()


def test_update_graph_takes_the_message_that_is_rewritten():
    """The handler takes the expression, the keys, annotations and actors by these names."""
    parameters = inspect.signature(Scheduler.update_graph).parameters
    assert {"client", "expr_ser", "keys", "annotations", "actors", "stimulus_id"} <= set(parameters)
    assert inspect.iscoroutinefunction(Scheduler.update_graph)


def test_what_the_client_sends_is_what_update_graph_takes(client, on_scheduler):
    """A message of a real client: all of it goes by name into the original handler."""
    messages = []

    def spy(dask_scheduler):
        original = dask_scheduler.stream_handlers["update-graph"]

        async def spying(**message):
            messages.append(dict(message))
            dask_scheduler.stream_handlers["update-graph"] = original
            await original(**message)

        dask_scheduler.stream_handlers["update-graph"] = spying

    on_scheduler(spy)
    future = client.submit(double, 3, key="contract-message", priority=5, retries=2)
    assert future.result() == 6
    (message,) = messages
    inspect.signature(Scheduler.update_graph).bind(None, **message)
    assert message["client"] == client.id
    assert set(message["keys"]) == {"contract-message"}
    assert message["submitting_task"] is None
    assert hasattr(message["expr_ser"], "header") and hasattr(message["expr_ser"], "frames")


def test_a_task_that_submits_names_itself(client, on_scheduler):
    """What a running task submits carries that task's key."""
    seen = []

    def spy(dask_scheduler):
        original = dask_scheduler.stream_handlers["update-graph"]

        async def spying(**message):
            seen.append(message["submitting_task"])
            await original(**message)

        dask_scheduler.stream_handlers["update-graph"] = spying
        return None

    def unspy(dask_scheduler):
        dask_scheduler.stream_handlers["update-graph"] = dask_scheduler.update_graph

    def submitting(x):
        from distributed import worker_client

        with worker_client() as inner:
            return inner.submit(double, x, pure=False).result()

    on_scheduler(spy)
    try:
        assert client.submit(submitting, 2, key="submitter").result() == 4
    finally:
        on_scheduler(unspy)
    assert seen == [None, "submitter"]


def test_a_graph_can_be_handed_over(client, on_scheduler, value_of):
    """The original handler schedules a graph that never was serialized, and reports its keys."""

    async def submit(dask_scheduler):
        graph = {"handed-over": Task("handed-over", double, 21)}
        await dask_scheduler.update_graph(
            client=client.id,
            expr_ser=hand_over(graph, {}),
            keys={"handed-over"},
            span_metadata={"collections": []},
            internal_priority=None,
            submitting_task=None,
            annotations={},
        )
        return dask_scheduler.tasks["handed-over"].run_spec is graph["handed-over"]

    assert on_scheduler(submit)
    assert value_of("handed-over") == 42


class Recorder(SchedulerPlugin):
    """Writes down which hooks are called, with what, in which state of the tasks."""

    name = "contract-recorder"

    def __init__(self):
        self.log = []

    async def start(self, scheduler):
        self.scheduler = scheduler

    def update_graph(self, scheduler, *, tasks, **kwargs):
        states = {key: scheduler.tasks[key].state for key in tasks}
        self.log.append(("update_graph", states, set(kwargs)))

    def transition(self, key, start, finish, *args, **kwargs):
        known = key in self.scheduler.tasks
        self.log.append(("transition", key, start, finish, args, set(kwargs), known))

    def remove_client(self, scheduler, client):
        self.log.append(("remove_client", client))


def recorded(client, on_scheduler, program):
    recorder = Recorder()
    client.register_plugin(recorder)
    try:
        found = program()
    finally:
        real = on_scheduler(lambda dask_scheduler: dask_scheduler.plugins[Recorder.name])
        client.unregister_scheduler_plugin(Recorder.name)
    return found, real.log


def test_the_hook_comes_between_new_tasks_and_their_first_transition(client, on_scheduler):
    """``update_graph`` names the new tasks, still released, and what they touch."""

    names = ("hook-1", "hook-2")

    def program():
        first = client.submit(double, 1, key=names[0])
        client.submit(double, first, key=names[1]).result()

    _, log = recorded(client, on_scheduler, program)
    hooks = [entry for entry in log if entry[0] == "update_graph"]
    assert [entry[1][name] for name, entry in zip(names, hooks, strict=True)] == ["released"] * 2
    assert {"client", "keys", "annotations", "priority", "stimulus_id"} <= hooks[0][2]
    for name, entry in zip(names, hooks, strict=True):
        first = next(i for i, e in enumerate(log) if e[0] == "transition" and e[1] == name)
        assert log.index(entry) < first


def test_nothing_is_awaited_between_new_tasks_and_the_hook():
    """Nothing is awaited between the new task states, the hook and the first transition."""
    source = inspect.getsource(Scheduler._create_taskstate_from_graph)
    assert source.index("_generate_taskstates") < source.index("plugin.update_graph")
    assert source.index("plugin.update_graph") < source.index("self.transitions(")
    assert not inspect.iscoroutinefunction(Scheduler._create_taskstate_from_graph)


def test_the_transition_hook_sees_every_step(client, on_scheduler):
    """Key, start and finish by position, the rest by name; a forgotten task can still be had."""

    def program():
        future = client.submit(double, 1, key="steps")
        future.result()
        del future
        wait_for(lambda: on_scheduler(lambda dask_scheduler: "steps" not in dask_scheduler.tasks))

    _, log = recorded(client, on_scheduler, program)
    steps = [entry for entry in log if entry[:2] == ("transition", "steps")]
    pairs = [(start, finish) for _, _, start, finish, *_ in steps]
    assert ("processing", "memory") in pairs
    assert pairs[-1][1] == "forgotten"
    assert all(args == () and "stimulus_id" in names for *_, args, names, _ in steps)
    assert all(known for *_, known in steps)
    finished = next(entry for entry in steps if entry[3] == "memory")
    assert {"worker", "nbytes", "startstops"} <= finished[5]


def test_a_client_that_leaves_is_removed(client, on_scheduler):
    """``add_client`` calls ``remove_client`` when the stream ends, whatever the handlers are."""
    removed = []

    def spy(dask_scheduler):
        original = dask_scheduler.remove_client

        def spying(client, stimulus_id=None):
            removed.append(client)
            return original(client=client, stimulus_id=stimulus_id)

        dask_scheduler.remove_client = spying

    def unspy(dask_scheduler):
        del dask_scheduler.remove_client

    def program():
        on_scheduler(spy)
        try:
            with Client(client.scheduler_info()["address"]) as other:
                name = other.id
            wait_for(lambda: name in removed)
        finally:
            on_scheduler(unspy)
        return name

    name, log = recorded(client, on_scheduler, program)
    assert ("remove_client", name) in log
    assert on_scheduler(lambda dask_scheduler: name not in dask_scheduler.clients)


def test_a_graph_on_its_way_keeps_the_scheduler_busy(on_scheduler):
    """While the count of updates under way is not zero, the scheduler is not idle."""

    def judge(dask_scheduler):
        assert dask_scheduler._active_graph_updates == 0
        dask_scheduler._active_graph_updates += 1
        try:
            dask_scheduler.check_idle()
            return dask_scheduler.idle_since
        finally:
            dask_scheduler._active_graph_updates -= 1

    assert on_scheduler(judge) is None


def test_events_reach_subscribers(client):
    """A message logged on the scheduler under a topic comes to the client that subscribed."""
    got = []
    client.subscribe_topic("contract-topic", lambda event: got.append(event[1]))
    try:
        client.run_on_scheduler(_log)
        wait_for(lambda: got)
    finally:
        client.unsubscribe_topic("contract-topic")
    assert got[0]["hits"] == 3
    assert client.get_events("contract-topic")[0][1]["hits"] == 3


def _log(dask_scheduler):
    dask_scheduler.log_event("contract-topic", {"hits": 3})
