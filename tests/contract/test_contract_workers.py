"""What the cache relies on at the workers: what a task can find out, and what is installed."""

from __future__ import annotations

import threading

from distributed import Client, LocalCluster, SchedulerPlugin, WorkerPlugin, get_worker

from seamless_dask_cache.dask_internals import (
    add_worker_plugin,
    attach_to_current_task,
    current_key,
    current_worker,
    inside_task,
    remove_worker_plugin,
    take_from_task,
    thread_runs_task,
)


def facts():
    attach_to_current_task("contract", {"key": current_key()})
    worker = get_worker()
    state = worker.state.tasks[current_key()]
    return {
        "same": worker is current_worker(),
        "inside": inside_task() and thread_runs_task(),
        "key": current_key(),
        "metadata": dict(state.metadata),
        "thread": threading.current_thread().name,
        "data": hasattr(worker.data, "__getitem__"),
        "helper": on_a_thread_of_its_own(),
    }


def on_a_thread_of_its_own():
    """What a thread that a task starts is told: it runs no task."""
    found = []
    thread = threading.Thread(target=lambda: found.append(thread_runs_task()))
    thread.start()
    thread.join()
    return found[0]


def test_a_task_knows_its_worker_its_key_and_its_state(client):
    """Within a task, and only there; also what is attached to it stands in its state."""
    found = client.submit(facts, key="facts").result()
    assert found["key"] == "facts"
    assert found["metadata"]["contract"] == {"key": "facts"}
    assert found["same"] and found["inside"] and found["data"]
    assert not found["helper"]
    assert "Dask-Default-Threads" in found["thread"]
    assert current_worker() is None and current_key() is None
    assert not inside_task() and not thread_runs_task()


def test_the_thread_of_a_task_forgets_it_afterwards(client, on_scheduler):
    """What runs in a worker's pool outside of tasks is taken for nobody's task."""
    client.submit(facts).result()
    for worker in client.cluster.workers.values():
        assert worker.executors["default"].submit(thread_runs_task).result() is False


def test_what_a_task_attaches_comes_with_its_end(client, on_scheduler):
    """The facts are there in the transition hook, and can be taken away."""
    scheduler, taken = client.cluster.scheduler, []

    class Taking(SchedulerPlugin):
        name = "contract-taking"

        def transition(self, key, start, finish, *args, **kwargs):
            if (key, start, finish) == ("attached", "processing", "memory"):
                taken.append(take_from_task(scheduler, key, "contract"))
                taken.append(take_from_task(scheduler, key, "contract"))

    on_scheduler(lambda scheduler: scheduler.add_plugin(Taking()))
    try:
        client.submit(facts, key="attached").result()
    finally:
        on_scheduler(lambda scheduler: scheduler.remove_plugin("contract-taking"))
    assert taken == [{"key": "attached"}, None]


class Installed(WorkerPlugin):
    name = "contract-installed"

    def __init__(self, number):
        self.number = number

    def setup(self, worker):
        worker.handlers["contract_number"] = self.answer

    def teardown(self, worker):
        del worker.handlers["contract_number"]

    async def answer(self):
        return self.number


async def numbers(scheduler):
    return [await scheduler.rpc(address).contract_number() for address in scheduler.workers]


def test_a_worker_plugin_is_on_all_workers_once_it_is_installed(client, on_scheduler):
    """Installed, replaced under the same name, and removed; a second removal does no harm."""
    for number in (1, 2):
        on_scheduler(add_worker_plugin, plugin=Installed(number), name=Installed.name)
        assert on_scheduler(numbers) == [number, number]
    workers = list(client.cluster.workers.values())
    assert all(worker.plugins[Installed.name].number == 2 for worker in workers)
    for _ in range(2):
        on_scheduler(remove_worker_plugin, name=Installed.name)
    assert not any("contract_number" in worker.handlers for worker in workers)
    assert not any(Installed.name in worker.plugins for worker in workers)


def test_a_worker_that_comes_later_has_the_plugins_before_its_first_task():
    """New workers get what is registered with the scheduler before they take tasks."""
    options = {"processes": False, "threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        LocalCluster(n_workers=1, silence_logs=False, **options) as cluster,
        Client(cluster) as client,
    ):

        async def install():
            await add_worker_plugin(cluster.scheduler, Installed(3), Installed.name)

        cluster.sync(install)
        cluster.scale(2)
        client.wait_for_workers(2, timeout=20)
        assert cluster.sync(numbers, cluster.scheduler) == [3, 3]
