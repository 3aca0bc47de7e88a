"""The embedded server: found, started, shared, taken over."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading

import pytest
from serving import hex_of

from seamless_dask_cache import embedded
from seamless_dask_cache.database import DatabaseClient
from seamless_dask_cache.embedded import Endpoint, default_cache_dir, ensure_server
from seamless_dask_cache.errors import DatabaseError, DatabaseUnavailableError

TF, RESULT = hex_of("t"), hex_of("r")


@pytest.fixture
def cache_dir(tmp_path, kill_embedded):
    folder = tmp_path / "cache"
    yield folder
    kill_embedded(folder)


def _use(endpoint: Endpoint) -> str | None:
    with DatabaseClient(endpoint.url, endpoint.token) as client:
        if endpoint.writable:
            client.set_transformation_result(TF, RESULT)
        return client.get_transformation_result(TF)


def test_a_server_is_started_and_found_again(cache_dir):
    """On loopback, with a token that only this user can read and that is needed."""
    endpoint = ensure_server(cache_dir)
    assert endpoint.url.startswith("http://127.0.0.1:")
    assert endpoint.writable and endpoint.buffers == cache_dir / "buffers"
    assert _use(endpoint) == RESULT
    assert ensure_server(cache_dir) == endpoint
    assert stat.S_IMODE((cache_dir / "token").stat().st_mode) == 0o600
    assert endpoint.token not in repr(endpoint)
    with DatabaseClient(endpoint.url) as stranger, pytest.raises(DatabaseError, match="401"):
        stranger.lookup([TF])


def test_processes_that_start_at_once_share_one_server(cache_dir):
    """Two processes with two threads each: one process holds the file, all have its address."""
    program = f"""
import threading, pathlib
from seamless_dask_cache.embedded import ensure_server
found = []
run = lambda: found.append(ensure_server(pathlib.Path({str(cache_dir)!r})).url)
threads = [threading.Thread(target=run) for _ in range(2)]
[t.start() for t in threads]; [t.join() for t in threads]
print(*found)
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    urls = [url for process in processes for url in process.communicate(timeout=60)[0].split()]
    assert len(urls) == 4 and len(set(urls)) == 1
    assert (cache_dir / "server.log").read_text().count("serving") == 1
    assert _use(ensure_server(cache_dir)) == RESULT  # it outlived those who started it


def test_a_killed_server_is_replaced_and_nothing_is_lost(cache_dir, kill_embedded):
    """Its status file still says running, its lock file is still there."""
    first = ensure_server(cache_dir)
    _use(first)
    assert kill_embedded(cache_dir)
    assert json.loads((cache_dir / "server.json").read_text())["status"] == "running"
    second = ensure_server(cache_dir)
    with DatabaseClient(second.url, second.token) as client:
        assert client.get_transformation_result(TF) == RESULT


def test_somebody_elses_server_at_the_old_port_is_not_taken(cache_dir, kill_embedded, start_server):
    """The port of a killed server was taken by one that asks for no token, or another."""
    ensure_server(cache_dir)
    kill_embedded(cache_dir)
    (cache_dir / "other").write_text("another")
    open_one = start_server(cache_dir / "open.db")
    guarded = start_server(cache_dir / "guarded.db", "--token-file", str(cache_dir / "other"))
    for stranger in (open_one, guarded):
        (cache_dir / "server.json").write_text(json.dumps(stranger.status))
        assert ensure_server(cache_dir).url != stranger.url
        kill_embedded(cache_dir)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"status": "running"}', '{"port": "x"}'])
def test_a_broken_status_file_is_replaced(cache_dir, content):
    """Whatever it says."""
    cache_dir.mkdir()
    (cache_dir / "server.json").write_text(content)
    assert _use(ensure_server(cache_dir)) == RESULT


def test_a_start_that_fails_shows_the_end_of_the_log(cache_dir):
    """And fails at once, not after the time-out."""
    cache_dir.mkdir()
    (cache_dir / "cache.db").write_text("not a database " * 100)
    with pytest.raises(DatabaseUnavailableError, match="cannot open"):
        ensure_server(cache_dir)


def test_a_file_that_another_server_holds_is_told_after_the_timeout(cache_dir, start_server):
    """With the name of the holder, from the log."""
    cache_dir.mkdir()
    holder = start_server(cache_dir / "cache.db")
    with pytest.raises(DatabaseUnavailableError, match=f"process {holder.process.pid}"):
        ensure_server(cache_dir, timeout=2.0)


def test_a_server_that_is_just_stopping_is_waited_for(cache_dir, start_server):
    """It holds the file a moment longer than it answers."""
    cache_dir.mkdir()
    holder = start_server(cache_dir / "cache.db")
    stopper = threading.Timer(1.0, holder.stop)
    stopper.start()
    assert _use(ensure_server(cache_dir)) == RESULT
    stopper.join()


def test_a_folder_that_cannot_be_written_gives_lookups_only(cache_dir, kill_embedded, monkeypatch):
    """State goes to a private temporary folder; without a database there is nothing to serve."""
    _use(ensure_server(cache_dir))
    kill_embedded(cache_dir)
    before = {path.name for path in cache_dir.iterdir()}
    monkeypatch.setenv("TMPDIR", str(cache_dir.parent))
    monkeypatch.setattr(embedded.tempfile, "tempdir", str(cache_dir.parent))
    monkeypatch.setattr(embedded.os, "access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setattr(embedded, "IDLE_SECONDS", 3.0)
    endpoint = ensure_server(cache_dir)
    assert not endpoint.writable
    assert _use(endpoint) == RESULT
    assert ensure_server(cache_dir) == endpoint
    with (
        DatabaseClient(endpoint.url, endpoint.token) as client,
        pytest.raises(DatabaseError, match="405"),
    ):
        client.set_transformation_result(TF, RESULT)
    new = {path.name for path in cache_dir.iterdir()} - before
    assert new <= {"cache.db-wal", "cache.db-shm"}  # SQLite's own
    with pytest.raises(DatabaseUnavailableError, match="cannot be written"):
        ensure_server(cache_dir / "none")


def test_modules_in_the_users_folder_do_not_reach_the_server(cache_dir, tmp_path, monkeypatch):
    """A ``random.py`` in the working folder must not be imported instead of Python's."""
    (tmp_path / "random.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    assert _use(ensure_server(cache_dir)) == RESULT


def test_the_default_folder_is_that_of_this_user():
    """Where the platform keeps caches."""
    assert default_cache_dir().name == "seamless-dask-cache"
