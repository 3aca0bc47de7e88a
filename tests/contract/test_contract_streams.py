"""Messages from the scheduler to its workers: what restoring in bulk relies upon."""

from __future__ import annotations

from distributed import Client

from seamless_dask_cache.dask_internals import free_keys, put_data, tell_worker


async def test_a_plugins_message_arrives_in_order_with_those_on_tasks():
    """What is put into memory at the word of a message is gone after the next one frees it."""
    async with Client(
        asynchronous=True,
        processes=False,
        n_workers=1,
        dashboard_address=":0",
        scheduler_kwargs={"dashboard": False},
    ) as client:
        scheduler = client.cluster.scheduler
        (worker,) = client.cluster.workers.values()
        seen = []

        def keep(n):
            put_data(worker, {"x": n})
            seen.append(worker.data["x"])

        worker.stream_handlers["keep"] = keep
        for n in range(20):
            tell_worker(scheduler, worker.address, "keep", {"n": n})
            free_keys(scheduler, worker.address, ["x"])
        assert await client.submit(int, 5, key="y") == 5
        assert seen == list(range(20))
        assert "x" not in worker.data
