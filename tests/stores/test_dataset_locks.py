"""Locks of datasets: across threads and processes, with a limit, and gone with their holder."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import filelock
import pytest

from seamless_dask_cache import stores

HOLDER = """
import os, sys, time
from seamless_dask_cache import stores

with stores.dirdb(sys.argv[1])["x"] as entry:
    os.write(1, b"held\\n")
    sys.stdin.read()
    entry.meta.late = True
"""

COUNTER = """
import sys
from seamless_dask_cache import stores

for _ in range(25):
    with stores.dirdb(sys.argv[1])["x"] as entry:
        entry.meta.count = entry.meta.get("count", 0) + 1
"""


@pytest.fixture
def db(tmp_path):
    return stores.dirdb(tmp_path)


@pytest.fixture
def holder(db):
    """Another process that holds the lock of x until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(db.path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_another_process_is_waited_for(db, holder):
    """Its changes are there when the lock is."""
    entered = threading.Event()

    def wait():
        with db["x"] as entry:
            found.update(entry.meta)
            entered.set()

    found = {}
    thread = threading.Thread(target=wait)
    thread.start()
    assert not entered.wait(0.2)
    holder.stdin.close()
    thread.join()
    assert found == {"late": True}


def test_waiting_ends_in_time(db, holder):
    """By the limit of the store, or of the block; nothing is changed then."""
    impatient = stores.dirdb(db.path, timeout=0.05)
    for attempt in (
        lambda: impatient["x"].__enter__(),
        lambda: impatient["x"].put_data(1),
        lambda: setattr(impatient["x"], "meta", {"a": 1}),
        lambda: impatient["x"].delete(),
        lambda: db["x"].locked(timeout=0).__enter__(),
        lambda: db["x"].lock.acquire(timeout=0),
    ):
        with pytest.raises(filelock.Timeout) as caught:
            attempt()
        assert isinstance(caught.value, TimeoutError) and "x.lock" in str(caught.value)
    assert os.listdir(db.path) == ["x.lock"]
    impatient["y"].put_data(2)  # the lock is that of one dataset


def test_reading_waits_for_nobody(db, holder):
    """A single read needs no lock."""
    (db.path / "x.pickle").write_bytes(b"\x80\x05K\x01.")
    (db.path / "x.json").write_text('{"a": 2}')
    impatient = stores.dirdb(db.path, timeout=0)
    assert impatient["x"].get_data() == 1 and impatient["x"].meta.a == 2
    assert impatient["x"].stat().size == 5 and impatient.names() == ["x"]


def test_a_killed_holder_holds_no_more(db, holder):
    """Whatever it was about to do."""
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with db["x"].locked(timeout=0) as entry:
        entry.meta.a = 1
    assert stores.dirdb(db.path)["x"].meta == {"a": 1}


def test_no_update_of_metadata_is_lost(db):
    """Two processes and two threads count to 100 together."""
    command = [sys.executable, "-c", COUNTER, str(db.path)]
    processes = [subprocess.Popen(command) for _ in range(2)]

    def count():
        for _ in range(25):
            with stores.dirdb(db.path)["x"] as entry:
                entry.meta.count = entry.meta.get("count", 0) + 1

    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for worker in threads:
        worker.join()
    assert [process.wait() for process in processes] == [0, 0]
    assert db["x"].meta == {"count": 100}


def test_one_thread_may_enter_again(db):
    """By the same entry and by another one of the same name; each level lets go of its own."""
    entry, other = db["x"], db["x"]
    with entry, other, entry:
        other.put_data(1, {"a": 1})
        assert entry.lock.is_locked and entry.lock is other.lock
    assert not entry.lock.is_locked
    with entry.locked() as same:
        assert same is entry and other.lock.is_locked
    assert not other.lock.is_locked


def test_threads_exclude_each_other(db):
    """Although they are of one process."""
    refused = []

    def attempt():
        try:
            with db["x"].locked(timeout=0):
                pass
        except filelock.Timeout:
            refused.append(True)

    with db["x"]:
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    assert refused == [True]
    attempt()
    assert refused == [True]


def test_readers_see_whole_datasets_while_somebody_writes(db):
    """Without locks, from another thread, all the time."""
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            db["x"].put_data([number] * 1000, {"number": number}, mmap=bool(number % 2))

    db["x"].put_data([0] * 1000, {"number": 0})
    thread = threading.Thread(target=write)
    thread.start()
    try:
        last = 0
        for _ in range(150):
            entry = stores.dirdb(db.path)["x"]
            before, data, after = entry.meta.number, entry.get_data(mmap=True), db["x"].meta.number
            assert len(set(data)) == 1 and before <= data[0] <= after and last <= before
            last = before
    finally:
        stop.set()
        thread.join()
    assert last > 0


def test_a_forked_process_has_locks_of_its_own(db):
    """Entries made before can be used there; what the parent holds is held for it, too."""
    entry, other = db["x"], db["y"]
    entry.put_data(0)
    fork = multiprocessing.get_context("fork")
    child = fork.Process(target=lambda: entry.put_data("by the child"))
    child.start()
    child.join()
    assert child.exitcode == 0 and entry.get_data() == "by the child"
    with other:
        child = fork.Process(target=lambda: other.locked(timeout=0).__enter__())
        child.start()
        child.join()
        assert child.exitcode == 1 and other.lock.is_locked


def test_a_lock_of_the_users_own_is_no_obstacle(db):
    """Whatever options it has."""
    own = filelock.FileLock(db.path / "x.lock", is_singleton=True, timeout=3)
    db["x"].put_data(1)
    assert not own.is_locked


def test_a_linked_folder_has_the_same_locks(db, tmp_path_factory):
    """They are those of the files, not of the paths."""
    link = tmp_path_factory.mktemp("links") / "db"
    link.symlink_to(db.path)
    with db["x"], stores.dirdb(link)["x"] as entry:
        assert entry.lock is db["x"].lock
