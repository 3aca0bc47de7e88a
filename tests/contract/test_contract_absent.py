"""Where Dask lacks what the plugin is made of, programs work on, with one warning."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

MISSING = [
    "distributed:WorkerPlugin",
    "distributed:SchedulerPlugin",
    "dask._task_spec:_execute_subgraph",
]
"""Names that are imported when the plugin is, by its own modules or by what they need."""

BEGINNING = """
    import importlib, logging, sys

    import dask
    from distributed import Client, LocalCluster

    said = []

    class Listening(logging.Handler):
        def emit(self, record):
            if "The cache is off" in record.getMessage():
                said.append(record.getMessage())

    logging.getLogger().addHandler(Listening())
    module, name = sys.argv[1].split(":")
    delattr(importlib.import_module(module), name)

    import seamless_dask_cache as sdc

    def double(x):
        return 2 * x

    cluster = LocalCluster(
        n_workers=1, processes=False, dashboard_address=":0", silence_logs=False
    )
"""


def program(missing, text, tmp_path):
    """Run a program from whose Dask a name is gone; it tells of a failure by its exit code."""
    source = textwrap.dedent(BEGINNING) + textwrap.dedent(text)
    path = tmp_path / "program.py"
    path.write_text(source)
    done = subprocess.run(
        [sys.executable, str(path), missing, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("missing", MISSING)
def test_enable_leaves_a_program_working(missing, tmp_path):
    """The cache that it returns says of everything that it is off, and changes nothing."""
    text = """
    with Client(cluster) as client:
        original = cluster.scheduler.stream_handlers["update-graph"]
        cache = sdc.enable(client, cache_dir=sys.argv[2] + "/cache", min_seconds=0)
        assert "off" in repr(cache) and name in repr(cache)
        assert cluster.scheduler.stream_handlers["update-graph"] == original
        lazy = dask.delayed(double)(4)
        assert lazy.compute() == 8
        assert client.gather(client.map(double, range(3))) == [0, 2, 4]
        assert name in cache.stats()["disabled"]
        assert cache.flush(1) is True
        assert cache.audit(fraction=0.5).checked == 0
        rows = list(cache.explain(lazy, client.submit(double, 1)))
        assert rows[0].key == lazy.key and len(rows) == 2
        assert all("the cache is off" in row.reason for row in rows)
        assert name in cache.report(sys.argv[2] + "/report.html").read_text()
        cache.disable()
        assert client.submit(double, 21).result() == 42
    cluster.close()
    assert len(said) == 1 and name in said[0], said
    """
    program(missing, text, tmp_path)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("missing", MISSING)
def test_the_plugin_can_be_imported_and_preloaded(missing, tmp_path):
    """A scheduler comes up without its cache, and says so once."""
    text = """
    from seamless_dask_cache.scheduler_plugin import CachePlugin, Policy, dask_setup

    dask_setup(cluster.scheduler)
    assert "seamless-dask-cache" in cluster.scheduler.plugins
    plugin = cluster.scheduler.plugins["seamless-dask-cache"]
    cluster.sync(plugin.start, cluster.scheduler)
    with Client(cluster) as client:
        cache = sdc.Cache(client)
        assert name in cache.stats()["disabled"]
        assert cache.flush(1) is True
        assert client.submit(double, 21).result() == 42
    cluster.close()
    assert len(said) == 1 and name in said[0], said
    """
    program(missing, text, tmp_path)


def test_registering_the_plugin_does_no_harm(tmp_path):
    """Who registers it by hand gets the same warning."""
    text = """
    with Client(cluster) as client:
        client.register_plugin(sdc.CachePlugin(cache_dir=sys.argv[2] + "/cache", min_seconds=0))
        assert client.submit(double, 21).result() == 42
        assert name in sdc.Cache(client).stats()["disabled"]
    cluster.close()
    assert len(said) == 1 and name in said[0], said
    """
    program("distributed:WorkerPlugin", text, tmp_path)


def test_an_asynchronous_client_gets_it_too(tmp_path):
    """The result is awaited, as are its calls."""
    text = """
    import asyncio

    async def main():
        async with LocalCluster(
            n_workers=1, processes=False, dashboard_address=":0", asynchronous=True
        ) as own, Client(own, asynchronous=True) as client:
            cache = await sdc.enable(client)
            assert name in (await cache.stats())["disabled"]
            assert await cache.flush(1) is True
            await cache.disable()
            assert await client.submit(double, 21) == 42

    asyncio.run(main())
    cluster.close()
    """
    program("dask._task_spec:_execute_subgraph", text, tmp_path)
