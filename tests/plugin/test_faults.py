"""No fault of the cache fails a computation."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import dask
import numpy as np
import psutil
import pytest
from clusters import cluster_of, kill_server, server_process

import seamless_dask_cache as sdc


def make(n):
    return np.arange(n, dtype="float64") * 2


def total(*arrays):
    return float(sum(a.sum() for a in arrays))


def slow(x):
    time.sleep(0.05)
    return x


def program(n=20_000):
    return dask.delayed(make)(n)


def buffers(cache_dir):
    return [path for path in (cache_dir / "buffers").glob("*/*") if len(path.name) == 64]


def filled(cache_dir):
    """Compute a large array once, on a cluster of its own; returns it."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        value = program().compute()
        assert cache.flush(30)
        assert cache.stats()["stored"] == 1
        del client
    assert len(buffers(cache_dir)) == 1
    return value


def test_a_wrong_url_is_told_at_enable(client):
    """Nobody listens there: enable says so, with the URL."""
    with pytest.raises(sdc.DatabaseError, match=r"127\.0\.0\.1:9"):
        sdc.enable(client, database="http://127.0.0.1:9")
    assert program().compute()[1] == 2.0


@pytest.mark.parametrize("url", ["localhost:5522", "ftp://x", ""])
def test_what_is_no_url_is_told_at_enable(client, url):
    """A database that is no URL is named in the error."""
    with pytest.raises(sdc.ConfigurationError, match="database must be a URL"):
        sdc.enable(client, database=url)


def test_unknown_settings_are_told_at_enable(client, cache_dir):
    """A misspelt setting is named, with the known ones."""
    with pytest.raises(sdc.ConfigurationError, match="min_second"):
        sdc.enable(client, cache_dir=cache_dir, min_second=3)


def test_server_killed_in_the_middle(client, cache, cache_dir):
    """Computation goes on, and the cache comes back by itself."""
    futures = client.map(slow, range(20))
    kill_server(cache_dir)
    assert client.gather(futures) == list(range(20))
    assert client.submit(slow, 100).result() == 100
    assert cache.flush(60)
    assert cache.stats()["stored"] == 21
    assert server_process(cache_dir) is not None


def test_server_gone_for_good(client, tmp_path, caplog):
    """With a database that does not come back, everything is computed; one warning says so."""
    from seamless_dask_cache.embedded import ensure_server

    endpoint = ensure_server(tmp_path / "elsewhere")
    cache = sdc.enable(
        client, database=endpoint.url, token=endpoint.token, cache_dir=tmp_path, patience=1
    )
    kill_server(tmp_path / "elsewhere")
    for n in range(5):
        assert client.submit(slow, n).result() == n
    warnings = [r for r in caplog.records if "does not answer" in r.message]
    assert len(warnings) == 1
    assert cache.stats()["computed"] == 5


@pytest.mark.parametrize("damage", ["delete", "truncate", "flip"])
@pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
def test_unusable_buffers_are_recomputed_and_stored_again(cache_dir, damage, processes):
    """A buffer that is gone or damaged after the lookup is healed."""
    value = filled(cache_dir)
    (path,) = buffers(cache_dir)
    content = path.read_bytes()
    with cluster_of(processes=processes, workers=1) as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        if damage == "truncate":
            path.chmod(0o644)
            path.write_bytes(content[:1000])
        elif damage == "flip":
            path.chmod(0o644)
            path.write_bytes(content[:-5] + b"\xff" + content[-4:])
        else:
            # Present at the lookup, gone at the restore.
            client.run_on_scheduler(delete_after_lookup, path=str(path))
        np.testing.assert_array_equal(program().compute(), value)
        assert cache.flush(30)
        stats = cache.stats()
        assert stats["healed"] == 1
        assert stats["stored"] == 1
        assert stats["errors"] == 0
    assert path.read_bytes() == content
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        np.testing.assert_array_equal(program().compute(), value)
        assert cache.stats()["computed"] == 0


def delete_after_lookup(dask_scheduler, path):
    """Make the plugin's next lookup be followed by the loss of a buffer."""
    engine = dask_scheduler.plugins["seamless-dask-cache"].engine
    servable = engine._servable

    def lossy(answers):
        found = servable(answers)
        if os.path.exists(path):
            os.unlink(path)
        return found

    engine._servable = lossy


def test_a_missing_buffer_is_no_hit(cache_dir):
    """A promised buffer that is not there is noticed at the lookup already."""
    value = filled(cache_dir)
    (path,) = buffers(cache_dir)
    path.unlink()
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        np.testing.assert_array_equal(program().compute(), value)
        assert cache.flush(30)
        stats = cache.stats()
    assert (stats["hits"], stats["computed"], stats["stored"]) == (0, 1, 1)
    assert path.exists()


def test_a_read_only_database_is_looked_up(cache_dir, tmp_path):
    """With a server that takes no writes, hits are served and nothing is stored."""
    value = filled(cache_dir)
    kill_server(cache_dir)
    from serving_read_only import read_only_server

    with read_only_server(cache_dir / "cache.db") as url, cluster_of() as client:
        cache = sdc.enable(client, database=url, buffers=cache_dir / "buffers")
        np.testing.assert_array_equal(program().compute(), value)
        assert client.submit(slow, 3).result() == 3
        assert cache.flush(30)
        stats = cache.stats()
    assert (stats["hits"], stats["computed"], stats["stored"]) == (1, 1, 0)


def test_a_buffer_folder_that_cannot_be_written(client, tmp_path):
    """Workers that cannot store compute; small results are stored all the same."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    cache = sdc.enable(client, cache_dir=tmp_path / "cache", buffers=blocked)
    try:
        assert program().compute()[1] == 2.0
        assert client.submit(slow, 3).result() == 3
        assert cache.flush(30)
        stats = cache.stats()
        assert stats["errors"] == 1
        assert stats["stored"] == 1
    finally:
        kill_server(tmp_path / "cache")


def test_a_worker_killed_while_storing(cache_dir, tmp_path):
    """Dask repeats the task elsewhere; no half-written buffer is served."""
    with cluster_of(processes=True) as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        flag = tmp_path / "died"
        client.run(die_in_put, flag=str(flag))
        assert program(300_000).compute()[-1] == 2.0 * 299_999
        assert flag.exists()
        assert cache.flush(30)
    assert len(buffers(cache_dir)) == 1
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        assert program(300_000).compute()[-1] == 2.0 * 299_999
        assert cache.stats()["computed"] == 0
        assert cache.stats()["healed"] == 0


def die_in_put(dask_worker, flag):
    """Make the first store of a buffer end its process in the middle."""
    store = type(dask_worker.plugins["seamless-dask-cache"].store)
    write = store._write

    def dying(self, views, expected=None):
        try:
            os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return write(self, views, expected)
        with self._temporary() as path:
            path.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)

    store._write = dying


def test_a_lost_restored_result_comes_back(cache_dir):
    """When the worker with a restored result dies, the result is restored once more."""
    value = filled(cache_dir)
    with cluster_of(processes=True) as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        future = client.compute(program())
        np.testing.assert_array_equal(future.result(), value)
        (addresses,) = client.who_has([future]).values()
        pid = client.run(os.getpid, workers=[addresses[0]])[addresses[0]]
        psutil.Process(pid).kill()
        restored = client.submit(total, future).result()
        assert restored == value.sum()
        assert cache.stats()["restored"] >= 2


async def test_an_asynchronous_client(cache_dir):
    """The cache works with asynchronous clients, whose calls are awaited."""
    from distributed import Client

    async with Client(
        asynchronous=True,
        processes=False,
        n_workers=1,
        dashboard_address=":0",
        scheduler_kwargs={"dashboard": False},
    ) as client:
        cache = await sdc.enable(client, cache_dir=cache_dir)
        assert await client.submit(slow, 1) == 1
        assert await cache.flush(30)
        stats = await cache.stats()
        assert stats["stored"] == 1
        await asyncio.wait_for(cache.disable(), 30)
        assert await client.submit(slow, 2) == 2


def test_disable_leaves_plain_dask(client, cache):
    """After disable, nothing of the cache is in the way."""
    assert client.submit(slow, 1).result() == 1
    cache.disable()
    assert client.submit(slow, 2).result() == 2

    def traces(dask_scheduler):
        handler = dask_scheduler.stream_handlers["update-graph"]
        return list(dask_scheduler.plugins), handler == dask_scheduler.update_graph

    plugins, original = client.run_on_scheduler(traces)
    assert "seamless-dask-cache" not in plugins
    assert original


def test_enabling_twice_replaces(client, cache, tmp_path):
    """A second enable takes the place of the first."""
    try:
        second = sdc.enable(client, cache_dir=tmp_path / "second")
        assert client.submit(slow, 1).result() == 1
        assert second.flush(30)
        assert second.stats()["graphs"] == 1
        second.disable()
        assert client.submit(slow, 2).result() == 2
    finally:
        kill_server(tmp_path / "second")
