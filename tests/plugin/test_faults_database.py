"""A database that dies, refuses or is full at any moment, in a real cluster."""

from __future__ import annotations

import contextlib
import logging
import resource
import sqlite3

import psutil
import pytest
from clusters import cluster_of, kill_server, server_process, wait_until_forgotten
from faults import (
    MANY,
    assert_same,
    compute,
    damaged_after_the_lookup,
    engine_of,
    expected,
    fill,
    many,
    one,
    wait_for,
)
from seamless_dask_cache.scheduler_plugin.connection import Connection
from test_spool_cluster import serving

import seamless_dask_cache as sdc
from seamless_dask_cache.database import AsyncDatabaseClient
from seamless_dask_cache.embedded import ensure_server


def increment(x):
    return x + 1


def nothing(path):
    """Leave a buffer as it is."""


def stored_in(cache_dir):
    """How many results the file holds, whoever serves it."""
    with contextlib.closing(sqlite3.connect(cache_dir / "cache.db")) as database:
        return database.execute("SELECT count(*) FROM transformation").fetchone()[0]


def serve_all(cache_dir, program):
    """Compute in a cluster of its own, which must find everything."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        assert_same(compute(client, program), expected(program))
        assert cache.stats()["computed"] == 0


@contextlib.contextmanager
def killed_within(monkeypatch, cache_dir, asker, name):
    """Kill the server while it is asked something for the first time."""
    original, deaths = getattr(asker, name), []

    async def deadly(self, *args, **kwargs):
        if not deaths:
            deaths.append(name)
            kill_server(cache_dir)
        return await original(self, *args, **kwargs)

    monkeypatch.setattr(asker, name, deadly)
    yield deaths
    monkeypatch.setattr(asker, name, original)


@pytest.mark.parametrize("program", [one, many], ids=lambda f: f.__name__)
@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_a_server_killed_around_a_lookup(cache_dir, monkeypatch, program, moment):
    """The results are right, and nothing that was stored is lost."""
    fill(cache_dir, program)
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        if moment == "before":
            kill_server(cache_dir)
            found = compute(client, program)
        elif moment == "during":
            with killed_within(monkeypatch, cache_dir, Connection, "ask_in_time") as deaths:
                found = compute(client, program)
            assert deaths
        else:
            with damaged_after_the_lookup(client, cache_dir, nothing):
                engine_of(client).restoring = killing_first(engine_of(client).restoring, cache_dir)
                found = compute(client, program)
            assert cache.stats()["computed"] == 0
        assert_same(found, expected(program))
        assert cache.flush(60)
        assert cache.stats()["errors"] == 0
        wait_until_forgotten(client)
    serve_all(cache_dir, program)


def killing_first(restoring, cache_dir):
    """Kill the server when the answers are there already."""

    def wrapped(*args):
        kill_server(cache_dir)
        return restoring(*args)

    return wrapped


@pytest.mark.parametrize("moment", ["during", "after"])
def test_a_server_killed_around_a_write(cache_dir, monkeypatch, moment):
    """What was computed gets there, and is served to the next cluster."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        if moment == "during":
            with killed_within(monkeypatch, cache_dir, AsyncDatabaseClient, "store") as deaths:
                assert_same(compute(client, many), expected(many))
                assert cache.flush(60)
            assert deaths
        else:
            assert_same(compute(client, many), expected(many))
            assert cache.flush(60)
            kill_server(cache_dir)
            assert cache.flush(60)
        stats = cache.stats()
        assert (stats["stored"], stats["errors"]) == (MANY, 0)
    serve_all(cache_dir, many)


def test_nothing_acknowledged_is_lost(cache_dir):
    """Under load, the server is killed again and again; the file holds all that was stored."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        engine = engine_of(client)
        acknowledged = 0
        for turn in range(6):
            numbers = range(200 * turn, 200 * (turn + 1))
            futures = client.map(increment, numbers)
            wait_for(lambda so_far=acknowledged: engine.stats.stored > so_far)
            acknowledged = engine.stats.stored
            kill_server(cache_dir)
            assert stored_in(cache_dir) >= acknowledged
            assert client.gather(futures) == [n + 1 for n in numbers]
        assert cache.flush(60)
        stats = cache.stats()
        assert stats["stored"] == stored_in(cache_dir) == 1200
        assert stats["errors"] == 0
    kill_server(cache_dir)
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        assert client.gather(client.map(increment, range(1200))) == list(range(1, 1201))
        assert cache.stats()["computed"] == 0


def test_a_token_that_changes_on_the_way(tmp_path, caplog):
    """Computations go on without the cache, one warning says why; records wait for the token."""
    server, cache_dir = tmp_path / "server", tmp_path / "cache"
    endpoint = ensure_server(server)
    with cluster_of() as client:
        cache = sdc.enable(
            client, database=endpoint.url, token=endpoint.token, cache_dir=cache_dir, patience=5
        )
        assert client.submit(increment, 0).result() == 1
        assert cache.flush(30)
        kill_server(server)
        kept = (server / "token").read_text()
        (server / "token").chmod(0o600)
        (server / "token").write_text("another" * 8)
        with serving(server, endpoint):
            for n in range(1, 10):
                assert client.submit(increment, n).result() == n + 1
            assert not cache.flush(0.5)
        (server / "token").write_text(kept)
        with serving(server, endpoint):
            assert cache.flush(60)
            assert cache.stats()["stored"] == 10
            cache.disable()
    warnings = [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and "cache database" in record.getMessage()
    ]
    assert len(warnings) <= 2
    assert "refuses the token" in warnings[-1]


def test_a_disk_that_is_full_at_the_database(cache_dir):
    """Nothing is stored and nothing is lost: once there is room, all of it gets there."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        assert client.submit(increment, -1).result() == 0
        assert cache.flush(30)
        process = psutil.Process(server_process(cache_dir).pid)
        soft, hard = process.rlimit(resource.RLIMIT_FSIZE)
        process.rlimit(resource.RLIMIT_FSIZE, (4096, hard))
        assert client.gather(client.map(increment, range(300))) == list(range(1, 301))
        assert_same(compute(client, many), expected(many))
        assert not cache.flush(1.0)
        assert cache.stats()["stored"] == 1
        process.rlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert cache.flush(90)
        assert cache.stats()["stored"] == 301 + MANY == stored_in(cache_dir)
        assert cache.stats()["errors"] == 0
        assert server_process(cache_dir).pid == process.pid
