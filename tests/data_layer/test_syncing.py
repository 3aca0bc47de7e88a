"""Buffers that are brought to the disk soon, by a thread."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import threading

import pytest

from seamless_dask_cache.storage import DirectoryStore, syncing
from seamless_dask_cache.storage.syncing import SYNCING, Syncing


@pytest.fixture
def flushed(monkeypatch):
    """The sizes of the files that were flushed; a test may hold the disk."""
    sizes, disk = [], threading.Event()
    disk.set()
    original = os.fsync

    def fsync(descriptor):
        disk.wait(30)
        sizes.append(os.fstat(descriptor).st_size)
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    yield sizes, disk
    disk.set()
    assert SYNCING.wait(30)


def until_ended(syncing):
    """Wait for the thread's end."""
    for thread in threading.enumerate():
        if thread.name == "sdc-syncing":
            thread.join(30)
    assert not syncing.running


def put(store, content):
    store.put(hashlib.sha256(content).hexdigest(), content)


def test_a_writer_does_not_wait_for_the_disk(tmp_path, flushed):
    """The buffer is there at once, and on the disk as soon as that is done."""
    sizes, disk = flushed
    disk.clear()
    store = DirectoryStore(tmp_path, durable="soon")
    for size in (3, 1, 2):
        put(store, bytes(size))
    assert len(list(store)) == 3
    assert sizes == []
    assert not SYNCING.wait(0.01)
    disk.set()
    assert SYNCING.wait(30)
    assert sizes == [3, 1, 2]


def test_writers_wait_for_a_disk_that_cannot_keep_pace(tmp_path, flushed, monkeypatch):
    """Beyond a number of files, each writer flushes its own."""
    sizes, disk = flushed
    monkeypatch.setattr(syncing, "MOST_WAITING", 2)
    disk.clear()
    store = DirectoryStore(tmp_path, durable="soon")
    put(store, bytes(1))
    put(store, bytes(2))
    writer = threading.Thread(target=put, args=(store, bytes(3)))
    writer.start()
    writer.join(0.05)
    assert writer.is_alive()
    disk.set()
    writer.join(30)
    assert SYNCING.wait(30)
    assert sorted(sizes) == [1, 2, 3]


def test_files_that_vanish_are_no_fault(tmp_path, flushed):
    """Others go on being flushed."""
    sizes, disk = flushed
    disk.clear()
    store = DirectoryStore(tmp_path, durable="soon")
    for size in (1, 2, 3):
        put(store, bytes(size))
    store.delete(hashlib.sha256(bytes(2)).hexdigest())
    disk.set()
    assert SYNCING.wait(30)
    assert sizes == [1, 2, 3]


def test_the_thread_ends_and_starts_again(tmp_path):
    """A process that has been idle for a while has no thread for this."""
    syncing, path = Syncing(idle=0.01), tmp_path / "file"
    for _ in range(3):
        with path.open("wb") as file:
            assert syncing.soon(file.fileno())
        assert syncing.wait(30)
        until_ended(syncing)
    assert syncing.wait(0)


def test_one_thread_serves_many_files(tmp_path, monkeypatch):
    """A writer does not pay for starting a thread each time."""
    started = []
    start = threading.Thread.start
    monkeypatch.setattr(
        threading.Thread, "start", lambda thread: (started.append(thread.name), start(thread))
    )
    syncing, path = Syncing(idle=30), tmp_path / "file"
    for _ in range(3):
        with path.open("wb") as file:
            assert syncing.soon(file.fileno())
        assert syncing.wait(30)
    assert started == ["sdc-syncing"]


def test_no_descriptor_is_left(tmp_path, flushed):
    """Files are closed once they are on the disk."""
    before = len(os.listdir("/proc/self/fd"))
    store = DirectoryStore(tmp_path, durable="soon")
    for size in range(1, 100):
        put(store, bytes(size))
    assert SYNCING.wait(30)
    assert len(os.listdir("/proc/self/fd")) == before


def _in_child(path):
    store = DirectoryStore(path, durable="soon")
    put(store, b"child")
    os._exit(0 if SYNCING.wait(30) else 1)


def test_a_forked_process_has_a_thread_of_its_own(tmp_path, flushed):
    """A child that is forked while its parent waits for the disk can store and flush."""
    _, disk = flushed
    disk.clear()
    put(DirectoryStore(tmp_path, durable="soon"), b"parent")  # its thread waits
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(tmp_path,))
    disk.set()
    child.start()
    child.join(60)
    assert child.exitcode == 0
