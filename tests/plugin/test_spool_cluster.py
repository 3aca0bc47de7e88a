"""A scheduler that ends while its database is away loses no record."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time

from clusters import cluster_of, kill_server, wait_until_forgotten
from links import hurry
from seamless_dask_cache.scheduler_plugin import CachePlugin

import seamless_dask_cache as sdc
from seamless_dask_cache.embedded import ensure_server


def increment(x):
    return x + 1


@contextlib.contextmanager
def serving(folder, endpoint):
    """Serve a folder again where its dead server did."""
    status = folder / "again.json"
    status.write_text("{}")
    command = [sys.executable, "-m", "seamless_dask_cache.server", str(folder / "cache.db")]
    command += ["--host", "127.0.0.1", "--port", endpoint.url.rpartition(":")[2], "--writable"]
    command += ["--token-file", str(folder / "token"), "--status-file", str(status)]
    process = subprocess.Popen([*command, "--buffers", str(endpoint.buffers)])
    try:
        while json.loads(status.read_text() or "{}").get("status") != "running":
            assert process.poll() is None
            time.sleep(0.01)
        yield
    finally:
        process.terminate()
        process.wait(10)


def test_a_later_cluster_writes_what_an_earlier_one_could_not(tmp_path):
    """The server dies, the cluster ends; the next one finds its results as hits."""
    server, cache_dir = tmp_path / "server", tmp_path / "cache"
    endpoint = ensure_server(server)
    options = {"database": endpoint.url, "token": endpoint.token, "cache_dir": cache_dir}
    with cluster_of() as client:
        cache = sdc.enable(client, **options)
        kill_server(server)
        assert client.gather(client.map(increment, range(20))) == list(range(1, 21))
        assert not cache.flush(0.1)
    assert list(cache_dir.glob("spool/*/*/*.jsonl"))
    with cluster_of() as client, serving(server, endpoint):
        cache = sdc.enable(client, **options)
        assert cache.flush(60)
        assert not list(cache_dir.glob("spool/*/*/*.jsonl"))
        wait_until_forgotten(client)
        assert client.gather(client.map(increment, range(20))) == list(range(1, 21))
        stats = cache.stats()
        assert (stats["hits"], stats["computed"], stats["stored"]) == (20, 0, 0)


def events_about_the_database(client):
    topic = client.get_events("seamless-dask-cache")
    return [event for _, event in topic if event["action"].startswith("database-")]


def test_the_way_of_the_database_is_told_as_events(tmp_path, monkeypatch):
    """That it is away and that it is back stand in Dask's event log, each once per change."""
    hurry(monkeypatch)
    server, cache_dir = tmp_path / "server", tmp_path / "cache"
    endpoint = ensure_server(server)
    options = {"database": endpoint.url, "token": endpoint.token, "cache_dir": cache_dir}
    with cluster_of() as client:
        cache = sdc.enable(client, **options)
        assert client.submit(increment, 0).result() == 1
        assert events_about_the_database(client) == []
        kill_server(server)
        assert client.gather(client.map(increment, range(1, 5))) == [2, 3, 4, 5]
        assert client.submit(increment, 9).result() == 10
        with serving(server, endpoint):
            assert cache.flush(60)
            deadline = time.monotonic() + 30
            while len(found := events_about_the_database(client)) < 2:
                assert time.monotonic() < deadline
            away, back = found
            assert away["action"] == "database-away"
            assert away["reason"].startswith("does not answer (")
            assert back == {"action": "database-back"}
            assert [event["action"] for event in cache_events(client)] == [
                "database-away",
                "database-back",
            ]


def cache_events(client):
    """What the report shows of them."""
    plugin = client.cluster.scheduler.plugins["seamless-dask-cache"]
    return plugin.seeing.history.as_dict()["events"]


def test_a_database_that_is_away_from_the_start_is_told_of(tmp_path):
    """Also where the cache is enabled though nobody answers."""
    plugin = CachePlugin(
        database="http://127.0.0.1:9", cache_dir=tmp_path / "cache", must_answer=False
    )
    with cluster_of() as client:
        client.register_plugin(plugin)
        assert [e["action"] for e in events_about_the_database(client)] == ["database-away"]
