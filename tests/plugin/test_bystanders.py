"""What else goes on in a worker's process while a task runs, and is not the task's doing."""

from __future__ import annotations

import threading

import pytest

import seamless_dask_cache as sdc
from seamless_dask_cache.storage.directory import DirectoryStore


class Gates:
    """What two tasks of one process wait for; its identity is that there is one."""

    def __init__(self):
        self.clear()

    def clear(self):
        self.begun, self.done = threading.Event(), threading.Event()


GATES = Gates()
sdc.register_identity(Gates, lambda gates: "gates")


@pytest.fixture(autouse=True)
def gates():
    GATES.clear()


def waits_for_the_other(text):
    GATES.begun.set()
    assert GATES.done.wait(20)
    return len(text)


def large(size):
    assert GATES.begun.wait(20)
    return bytes(size)


def writes(path):
    """Refused, so that nobody looks at it while it runs."""
    assert GATES.begun.wait(20)
    with open(path, "w") as file:
        file.write("1")
    GATES.done.set()
    return 1


def addresses(client):
    return [worker.address for worker in client.cluster.workers.values()]


def test_storing_taints_no_task_in_another_thread(client, cache, monkeypatch):
    """What the cache writes after one task is no reason not to store what runs beside it."""
    add = DirectoryStore.add

    def add_and_tell(self, *arguments):
        found = add(self, *arguments)
        GATES.done.set()
        return found

    monkeypatch.setattr(DirectoryStore, "add", add_and_tell)
    first, second = addresses(client)
    waiting = client.submit(waits_for_the_other, "x", workers=[first])
    big = client.submit(large, 100_000, workers=[second])
    assert (waiting.result(), len(big.result())) == (1, 100_000)
    assert cache.flush(20)
    assert cache.stats()["stored"] == 2


def test_a_refused_task_taints_no_task_in_another_thread(client, cache, tmp_path):
    """What a task does that is not cached anyway is its own."""
    first, second = addresses(client)
    waiting = client.submit(waits_for_the_other, "y", workers=[first])
    writing = client.submit(writes, str(tmp_path / "x"), workers=[second])
    assert (waiting.result(), writing.result()) == (1, 1)
    assert cache.flush(20)
    assert cache.stats()["refused"] == 1
    assert cache.stats()["stored"] == 1
