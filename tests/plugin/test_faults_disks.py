"""Full disks, and schedulers that die with records which nobody has written yet."""

from __future__ import annotations

import os
import resource

import psutil
import pytest
from clusters import cluster_of, kill_server, wait_until_forgotten
from faults import assert_same, buffer_files, compute, expected, many, one, spooled, wait_for
from test_by_hand import cluster_by_hand
from test_spool_cluster import serving

import seamless_dask_cache as sdc
from seamless_dask_cache.cluster import Cache
from seamless_dask_cache.embedded import ensure_server


def make_add():
    """A function that travels by value, as the scheduler and the workers have no module of it."""

    def add(x):
        return x + 100

    return add


add = make_add()


def limit(process, nbytes=None):
    """Let a process write no file that is longer than this: a write fails as on a full disk."""
    _, hard = process.rlimit(resource.RLIMIT_FSIZE)
    process.rlimit(resource.RLIMIT_FSIZE, (hard if nbytes is None else nbytes, hard))


@pytest.mark.parametrize("program", [one, many], ids=lambda f: f.__name__)
def test_a_disk_that_is_full_at_the_workers(cache_dir, program):
    """Everything is computed, nothing half is stored; once there is room, all of it is stored."""
    with cluster_of(processes=True) as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        workers = [psutil.Process(pid) for pid in client.run(os.getpid).values()]
        for worker in workers:
            limit(worker, 8_000)
        assert_same(compute(client, program), expected(program))
        assert cache.flush(30)
        stats = cache.stats()
        assert (stats["stored"], stats["errors"]) == (0, len(program()))
        assert buffer_files(cache_dir) == []
        assert not list((cache_dir / "buffers").glob(".tmp/*"))
        wait_until_forgotten(client)
        for worker in workers:
            limit(worker)
        assert_same(compute(client, program), expected(program))
        assert cache.flush(30)
        assert cache.stats()["stored"] == len(program())
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        assert_same(compute(client, program), expected(program))
        assert cache.stats()["computed"] == 0


@pytest.fixture
def endpoint(tmp_path):
    yield ensure_server(tmp_path / "server")
    kill_server(tmp_path / "server")


@pytest.fixture
def environment(cache_dir, endpoint, tmp_path):
    settings = {"CACHE_DIR": cache_dir, "DATABASE": endpoint.url}
    settings["TOKEN_FILE"] = tmp_path / "server" / "token"
    named = {f"DASK_SEAMLESS_DASK_CACHE__{name}": str(s) for name, s in settings.items()}
    return {**os.environ, **named}


def test_a_scheduler_killed_with_records_unwritten(environment, endpoint, cache_dir, tmp_path):
    """The database was away and the scheduler is killed: the next one writes what it left."""
    with cluster_by_hand(environment) as client:
        scheduler = psutil.Process(client.run_on_scheduler(os.getpid))
        kill_server(tmp_path / "server")
        assert client.gather(client.map(add, range(50))) == list(range(100, 150))
        wait_for(lambda: sum(map(records, spooled(cache_dir))) == 50)
        scheduler.kill()
        scheduler.wait(10)
    with cluster_by_hand(environment) as client, serving(tmp_path / "server", endpoint):
        cache = Cache(client)
        assert cache.flush(60)
        assert spooled(cache_dir) == []
        assert client.gather(client.map(add, range(50))) == list(range(100, 150))
        stats = cache.stats()
        assert (stats["hits"], stats["computed"]) == (50, 0)


def records(path):
    """The name of a spooled file tells how many records it holds."""
    return int(path.stem.rpartition("-")[2])


def test_a_disk_that_is_full_at_the_spool(environment, endpoint, cache_dir, tmp_path):
    """Records wait in memory; once there is room or a database, they get there."""
    with cluster_by_hand(environment) as client:
        cache = Cache(client)
        scheduler = psutil.Process(client.run_on_scheduler(os.getpid))
        limit(scheduler, 100)
        kill_server(tmp_path / "server")
        assert client.gather(client.map(add, range(50))) == list(range(100, 150))
        assert not cache.flush(1.5)
        assert spooled(cache_dir) == []
        assert not list(cache_dir.glob("spool/*/*/*.tmp"))
        with serving(tmp_path / "server", endpoint):
            assert cache.flush(60)
            stats = cache.stats()
            assert (stats["stored"], stats["errors"]) == (50, 0)
