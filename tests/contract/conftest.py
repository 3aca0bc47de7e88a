"""One cluster in this process, whose scheduler and workers the contract tests look into."""

from __future__ import annotations

import inspect

import pytest
from distributed import Client, LocalCluster
from waiting import wait_for


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            dashboard_address=":0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=False,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def on_scheduler(client):
    """Call a function or coroutine function with the scheduler, in its event loop, as it is.

    ``Client.run_on_scheduler`` would pickle the function and all that it refers to.
    """

    def call(function, **arguments):
        async def run():
            found = function(client.cluster.scheduler, **arguments)
            return await found if inspect.isawaitable(found) else found

        return client.cluster.sync(run)

    return call


@pytest.fixture
def value_of(client, on_scheduler):
    """Wait until a key is in memory, and look at its value there; no future has to exist for it."""

    def fetch(key):
        wait_for(lambda: on_scheduler(lambda scheduler: scheduler.tasks[key].state == "memory"))
        workers = client.cluster.workers.values()
        return next(worker.data[key] for worker in workers if key in worker.data)

    return fetch
