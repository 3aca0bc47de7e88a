"""Large buffers as private memory: mapped where the disk is local, read elsewhere."""

import hashlib
import mmap
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import psutil
import pytest

from seamless_dask_cache.results import dump_result, load_result
from seamless_dask_cache.storage import DirectoryStore, private_memory
from seamless_dask_cache.storage.private_memory import is_local, load

ARRAY = np.arange(500_000.0)
Mount = namedtuple("Mount", "mountpoint fstype")


@pytest.fixture(autouse=True)
def no_memory_of_disks():
    is_local.cache_clear()
    yield
    is_local.cache_clear()


@pytest.fixture(params=["mapped", "read", "too many maps"])
def store(request, tmp_path, monkeypatch):
    monkeypatch.setattr(private_memory, "is_local", lambda folder: request.param != "read")
    if request.param == "too many maps":
        monkeypatch.setattr(private_memory, "_MAX_MAPS", 0)
    return DirectoryStore(tmp_path / "store")


def mounted(monkeypatch, *mounts):
    partitions = [Mount(*mount) for mount in mounts]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: partitions)


def restored(store, checksum):
    return load_result(store.get(checksum))


@pytest.mark.parametrize("value", [ARRAY, [ARRAY, ARRAY + 1]], ids=["npy", "pickle"])
def test_a_restored_array_lives_in_the_memory_of_the_buffer(store, value):
    checksum = dump_result(value).store_in(store)
    buffer = store.get(checksum)
    assert isinstance(buffer.obj, mmap.mmap) and not buffer.readonly
    array = load_result(buffer)
    array = array[0] if isinstance(array, list) else array
    assert np.shares_memory(array, np.frombuffer(buffer, np.uint8))
    assert array.ctypes.data % 64 == 0 and np.array_equal(array, ARRAY)


@pytest.mark.parametrize("value", [ARRAY, [ARRAY]], ids=["npy", "pickle"])
def test_changing_a_restored_array_in_place_changes_nothing_else(store, value):
    """A task may change its input; the store and other restored copies must not notice."""
    checksum = dump_result(value).store_in(store)
    file = store.path / checksum[:2] / checksum
    first, second = restored(store, checksum), restored(store, checksum)
    array = first[0] if isinstance(first, list) else first
    array += 1
    array.sort()
    assert hashlib.sha256(file.read_bytes()).hexdigest() == checksum
    for copy in (second, restored(store, checksum)):
        assert np.array_equal(copy, value)


def test_a_restored_array_survives_the_deletion_of_the_file(store):
    checksum = dump_result(ARRAY).store_in(store)
    array = restored(store, checksum)
    store.delete(checksum)
    assert np.array_equal(array, ARRAY)
    array += 1
    assert np.array_equal(array, ARRAY + 1)


def test_a_forked_process_that_changes_an_array_does_not_change_it_here(store):
    checksum = dump_result(ARRAY).store_in(store)
    code = f"""
import os, sys
from seamless_dask_cache.results import load_result
from seamless_dask_cache.storage import DirectoryStore, private_memory
private_memory.is_local = lambda folder: {private_memory.is_local(store.path)}
private_memory._MAX_MAPS = {private_memory._MAX_MAPS}
array = load_result(DirectoryStore({str(store.path)!r}).get({checksum!r}))
child = os.fork()
if not child:
    array[:] = -1
    os._exit(0)
os.waitpid(child, 0)
sys.exit(bool((array < 0).any()))
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_file_descriptors_are_not_used_up(tmp_path, monkeypatch):
    monkeypatch.setattr(private_memory, "is_local", lambda folder: True)
    monkeypatch.setattr(private_memory, "_MAX_MAPS", 5)
    monkeypatch.setattr(private_memory, "_live_maps", type(private_memory._live_maps)())
    store = DirectoryStore(tmp_path)
    checksum = dump_result(ARRAY).store_in(store)
    before = len(list(Path("/proc/self/fd").iterdir()))
    held = [restored(store, checksum) for _ in range(20)]
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 5
    assert len(private_memory._live_maps) == 5
    assert all(np.array_equal(array, ARRAY) for array in held)
    del held
    assert len(private_memory._live_maps) == 0


def test_a_file_that_is_truncated_later_does_no_harm_where_it_was_read(tmp_path, monkeypatch):
    """On a network file system another machine may do that; a map would end the process."""
    monkeypatch.setattr(private_memory, "is_local", lambda folder: False)
    store = DirectoryStore(tmp_path)
    checksum = dump_result(ARRAY).store_in(store)
    array = restored(store, checksum)
    os.truncate(tmp_path / checksum[:2] / checksum, 0)
    assert np.array_equal(array, ARRAY)


def test_a_file_that_becomes_shorter_while_it_is_read_ends_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    with path.open("rb", buffering=0) as file:
        assert private_memory._read(file, 2000) == b"x" * 1000


@pytest.mark.parametrize("fstype", ["ext4", "xfs", "overlay", "tmpfs", "NTFS"])
def test_known_local_file_systems_are_local(tmp_path, monkeypatch, fstype):
    mounted(monkeypatch, ("/", "nfs"), (str(tmp_path), fstype))
    assert is_local(tmp_path / "not" / "there")


@pytest.mark.parametrize("fstype", ["nfs4", "cifs", "fuse.sshfs", "lustre", "9p", ""])
def test_other_file_systems_are_not_local(tmp_path, monkeypatch, fstype):
    mounted(monkeypatch, ("/", "ext4"), (str(tmp_path), fstype))
    assert not is_local(tmp_path / "not" / "there")


def test_the_nearest_mount_counts_and_of_two_the_later(tmp_path, monkeypatch):
    share, scratch = tmp_path / "share", tmp_path / "share" / "scratch"
    mounts = (("/", "ext4"), (str(scratch), "nfs"), (str(scratch), "xfs"), (str(share), "nfs"))
    mounted(monkeypatch, *mounts)
    assert is_local(scratch) and not is_local(share) and is_local(tmp_path)
    assert is_local(tmp_path / "share-not")


def test_a_link_to_a_share_is_not_local(tmp_path, monkeypatch):
    (tmp_path / "share").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "share")
    mounted(monkeypatch, ("/", "ext4"), (str(tmp_path / "share"), "nfs"))
    assert not is_local(tmp_path / "link")


@pytest.mark.parametrize("error", [OSError, psutil.Error])
def test_what_cannot_be_found_out_is_not_local(tmp_path, monkeypatch, error):
    def fail(all):
        raise error

    monkeypatch.setattr(psutil, "disk_partitions", fail)
    assert not is_local(tmp_path)


def test_a_folder_on_no_known_mount_is_not_local(tmp_path, monkeypatch):
    mounted(monkeypatch)
    assert not is_local(tmp_path)


def test_the_folder_of_this_test_can_be_loaded_whatever_it_is_on(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * (1 << 20))
    assert load(tmp_path / "file", tmp_path) == b"x" * (1 << 20)
