"""A scheduler and workers started by hand, with the preload."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import dask
import pytest
from clusters import kill_server
from distributed import Client

import seamless_dask_cache as sdc
from seamless_dask_cache.cluster import Cache


def make_power():
    """A function that travels by value, as one of a notebook does."""

    def power(base, exponent=2):
        return base**exponent

    return power


power = make_power()


@contextlib.contextmanager
def started(*command, environment, until):
    """Run a command until the block ends; begins when it printed `until`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli." + command[0], *command[1:]],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        seen = []
        for line in process.stdout:
            seen.append(line)
            if until in line:
                break
        else:
            raise AssertionError("".join(seen))
        yield "".join(seen)
    finally:
        process.terminate()
        process.communicate(timeout=30)


@contextlib.contextmanager
def cluster_by_hand(environment):
    """`dask scheduler --preload ...` and one `dask worker`; yields a client."""
    options = ["--port", "0", "--host", "127.0.0.1", "--no-dashboard"]
    preload = ["--preload", "seamless_dask_cache.scheduler_plugin"]
    with started(
        "dask_scheduler", *options, *preload, environment=environment, until="Scheduler at:"
    ) as printed:
        address = printed.split("Scheduler at:")[1].split()[0]
        with (
            started(
                "dask_worker",
                address,
                "--no-dashboard",
                "--nthreads",
                "1",
                environment=environment,
                until="Starting established connection",
            ),
            Client(address) as client,
        ):
            yield client


@pytest.fixture
def environment(cache_dir):
    return {**os.environ, "DASK_SEAMLESS_DASK_CACHE__CACHE_DIR": str(cache_dir)}


def test_preloaded_scheduler_caches(environment):
    """What one hand-started cluster computed, the next one restores."""
    for hits in (0, 10):
        with cluster_by_hand(environment) as client:
            assert client.gather(client.map(power, range(10))) == [n * n for n in range(10)]
            cache = Cache(client)
            assert cache.flush(30)
            assert cache.stats()["hits"] == hits
            assert cache.stats()["errors"] == 0


def test_preload_with_a_database_that_is_not_there(environment, cache_dir):
    """A scheduler whose cache cannot start schedules all the same."""
    environment["DASK_SEAMLESS_DASK_CACHE__DATABASE"] = "http://127.0.0.1:9"
    with cluster_by_hand(environment) as client:
        assert client.submit(power, 3).result() == 9
    kill_server(cache_dir)


def test_workers_that_hold_other_code(environment, cache_dir, tmp_path):
    """A worker with an older module than the scheduler stores nothing, and that is told."""
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, factor in ((old, 2), (new, 3)):
        folder.mkdir()
        (folder / "shared_helpers.py").write_text(f"def scale(x):\n    return {factor} * x\n")
    options = ["--port", "0", "--host", "127.0.0.1", "--no-dashboard"]
    preload = ["--preload", "seamless_dask_cache.scheduler_plugin"]
    newer = {**environment, "PYTHONPATH": str(new)}
    older = {**environment, "PYTHONPATH": str(old)}
    sys.path.insert(0, str(new))
    try:
        import shared_helpers

        with started(
            "dask_scheduler", *options, *preload, environment=newer, until="Scheduler at:"
        ) as printed:
            address = printed.split("Scheduler at:")[1].split()[0]
            with (
                started(
                    "dask_worker",
                    address,
                    "--no-dashboard",
                    "--nthreads",
                    "1",
                    environment=older,
                    until="Starting established connection",
                ),
                Client(address) as client,
            ):
                first = client.submit(shared_helpers.scale, 5)
                assert first.result() == 10
                assert client.submit(power, first).result() == 100
                cache = Cache(client)
                assert cache.flush(30)
                stats = cache.stats()
                assert stats["computed"] == 2
                assert stats["stored"] == 0
    finally:
        sys.path.remove(str(new))
        sys.modules.pop("shared_helpers", None)


def test_the_plugin_can_be_registered(client, cache_dir):
    """`client.register_plugin` is enough; settings come from arguments over the configuration."""
    with dask.config.set({"seamless-dask-cache.policy": {"min-seconds": 3, "patience": 4}}):
        client.register_plugin(sdc.CachePlugin(cache_dir=cache_dir, patience=5))
    assert client.submit(power, 3).result() == 9
    cache = Cache(client)
    assert cache.flush(30)
    assert cache.stats()["stored"] == 1

    def policy_of(dask_scheduler):
        policy = dask_scheduler.plugins["seamless-dask-cache"].policy
        return policy.min_seconds, policy.patience

    assert client.run_on_scheduler(policy_of) == (3, 5)
