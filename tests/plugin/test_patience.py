"""A slow database in a real cluster: one graph waits for it, and the others do not."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
from clusters import kill_server
from proxies import Proxy

import seamless_dask_cache as sdc
from seamless_dask_cache.embedded import ensure_server


@contextlib.contextmanager
def proxy_of(port):
    """A proxy with an event loop of its own."""
    loop = asyncio.new_event_loop()
    # Under a name of Dask's: what a thread that nobody knows does is held against all tasks.
    thread = threading.Thread(target=loop.run_forever, name="IO loop")
    thread.start()

    def run(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    proxy = Proxy(port)
    try:
        run(proxy.__aenter__())
        yield proxy
        run(proxy.__aexit__())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def endpoint(tmp_path):
    yield ensure_server(tmp_path / "server")
    kill_server(tmp_path / "server")


def increment(x):
    return x + 1


def failures(dask_scheduler):
    return dask_scheduler.plugins["seamless-dask-cache"].engine.link.failures


def test_only_one_graph_waits_for_a_slow_database(client, endpoint, tmp_path):
    """Ten seconds for every answer cost one patience; what was computed is stored later."""
    with proxy_of(int(endpoint.url.rpartition(":")[2])) as proxy:
        cache = sdc.enable(
            client,
            database=proxy.url,
            token=endpoint.token,
            cache_dir=tmp_path / "cache",
            patience=0.5,
        )
        proxy.delay = 10.0
        for n in range(30):
            assert client.submit(increment, n).result(timeout=60) == n + 1
        assert client.run_on_scheduler(failures) == 1
        proxy.delay = 0.0
        assert cache.flush(120)
        assert cache.stats()["stored"] == 30
        cache.disable()
