"""Several clients, clients in an event loop, and graphs that are large."""

from __future__ import annotations

import asyncio
import threading

import dask
from clusters import cluster_of, kill_server, wait_until_forgotten
from distributed import Client, LocalCluster
from ways import MANY, STORE_ALL, VALIDATED, cached

import seamless_dask_cache as sdc


def increment(x):
    return x + 1


def double(x):
    return 2 * x


def add(*values):
    return sum(values)


def total(values):
    return sum(values)


def test_several_clients_at_once(cache_dir):
    """Clients that submit the same and overlapping graphs at once all get their values."""

    def graph(first, count):
        leaves = [dask.delayed(increment)(n) for n in range(first, first + count)]
        return dask.delayed(total)([dask.delayed(double)(leaf) for leaf in leaves])

    def expected(first, count):
        return sum(2 * (n + 1) for n in range(first, first + count))

    def works(client, results, shift):
        for part in range(4):
            first = part * 5 + shift % 2 * 3
            value = client.compute(graph(first, MANY), optimize_graph=bool(shift % 3)).result()
            mapped = client.gather(client.map(increment, range(first, first + MANY)))
            sums = value - expected(first, MANY), sum(mapped) - sum(range(first, first + MANY))
            results.append(sums)

    for _ in range(2):
        with cached(cache_dir) as (client, cache):
            address = client.cluster.scheduler.address
            clients = [Client(address, set_as_default=False) for _ in range(4)]
            results: list[tuple[int, int]] = []
            threads = [
                threading.Thread(target=works, args=(each, results, shift))
                for shift, each in enumerate(clients)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            for each in clients:
                each.close()
            assert results == [(0, MANY)] * 16
            wait_until_forgotten(client)
            assert cache.flush(30)


async def test_an_asynchronous_client(tmp_path):
    """From within an event loop, values and counters are those of a synchronous client."""
    values, counters = [], []
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False}
    with dask.config.set(VALIDATED):
        for _ in range(2):
            async with (
                LocalCluster(
                    dashboard_address=":0",
                    scheduler_kwargs={"dashboard": False},
                    asynchronous=True,
                    **options,
                ) as cluster,
                Client(cluster, asynchronous=True) as client,
            ):
                cache = await sdc.enable(client, cache_dir=tmp_path, **STORE_ALL)
                futures = client.map(increment, range(MANY))
                last = client.submit(total, futures)
                values.append((await client.gather(futures), await last))
                done = await client.compute(dask.delayed(add)(1, 2))
                assert done == 3
                assert await cache.flush(30)
                counters.append(await cache.stats())
                cluster.scheduler.validate_state()
    await asyncio.to_thread(kill_server, tmp_path)
    assert values[0] == values[1] == (list(range(1, MANY + 1)), sum(range(1, MANY + 1)))
    assert [c["computed"] for c in counters] == [MANY + 2, 0]
    assert [c["errors"] for c in counters] == [0, 0]


def sums_of_sums(leaves):
    """A graph of so many leaves, of which each 200 are the same work, and two levels of sums."""
    graph = {("leaf", n): (increment, n % 200) for n in range(leaves)}
    for n in range(0, leaves, 100):
        graph["sum", n] = (total, [("leaf", n + i) for i in range(100)])
    graph["all"] = (total, [key for key in graph if key[0] == "sum"])
    return graph


def test_a_very_large_graph(cache_dir):
    """Of 20,000 tasks that were all done before under other keys, only the last one is computed."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir, **STORE_ALL)
        assert client.get(sums_of_sums(200), "all") == sum(range(1, 201))
        for computed in (1, 0):
            wait_until_forgotten(client)
            assert cache.flush(30)
            before = cache.stats()
            assert client.get(sums_of_sums(19_800), "all") == 99 * sum(range(1, 201))
            after = cache.stats()
            assert after["tasks"] - before["tasks"] == 19_999
            assert after["computed"] - before["computed"] == computed
            assert after["errors"] == 0
