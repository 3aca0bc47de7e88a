"""Buffer stores: one contract that every backend passes, and what is special about each."""

import errno
import hashlib
import io
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from seamless_dask_cache.checksum import Checksum
from seamless_dask_cache.errors import ConfigurationError, CorruptBufferError, StoreError
from seamless_dask_cache.results import dump_result, load_result
from seamless_dask_cache.storage import BufferStore, DirectoryStore, MemoryStore, open_store
from seamless_dask_cache.storage.arriving import ArrivingBuffer
from seamless_dask_cache.storage.seals import seal_of

SMALL = b"hello"
LARGE = bytes(range(256)) * 8192  # 2 MiB: beyond the size from which files are mapped


def key_of(content):
    return hashlib.sha256(content).hexdigest()


class StoreContract:
    """What every store must do; a backend adds `store` and the back door `damage`."""

    @pytest.fixture
    def store(self, tmp_path):
        raise NotImplementedError

    def damage(self, store, key, content):
        """Replace the content of a buffer behind the back of the store; None removes it."""
        raise NotImplementedError

    @pytest.mark.parametrize("content", [b"", b"x", SMALL, LARGE], ids=len)
    def test_what_was_put_can_be_had(self, store, content):
        key = key_of(content)
        assert store.put(key, [content]) is True
        assert bytes(store.get(key)) == content
        assert store.has(key)

    def test_a_miss_is_none(self, store):
        assert store.get(key_of(b"x")) is None
        assert not store.has(key_of(b"x"))
        assert store.delete(key_of(b"x")) is False
        assert list(store) == [] and store.nbytes() == 0

    def test_putting_twice_writes_once(self, store):
        assert store.put(key_of(SMALL), [SMALL]) is True
        assert store.put(key_of(SMALL), [SMALL]) is False
        assert list(store) == [key_of(SMALL)]

    @pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=len)
    def test_a_buffer_can_be_added_before_its_checksum_is_known(self, store, content):
        half = len(content) // 2
        for _ in range(2):
            assert store.add([content[:half], b"", content[half:]]) == key_of(content)
            assert list(store) == [key_of(content)]
            assert bytes(store.get(key_of(content))) == content

    def test_adding_replaces_the_remains_of_an_accident(self, store):
        store.put(key_of(SMALL), SMALL)
        self.damage(store, key_of(SMALL), SMALL[:-1])
        assert store.add(SMALL) == key_of(SMALL)
        assert store.get(key_of(SMALL)) == SMALL

    @pytest.mark.parametrize("value", [1, np.arange(500_000.0), [np.arange(500_000.0)]])
    def test_a_result_is_read_once_to_be_stored(self, store, value, monkeypatch):
        computed, sha256 = [], hashlib.sha256
        monkeypatch.setattr(hashlib, "sha256", lambda *args: computed.append(1) or sha256(*args))
        result = dump_result(value)
        checksum = result.store_in(store)
        assert len(computed) == 1 and result.checksum == checksum
        assert bytes(store.get(checksum)) == result.tobytes()

    def test_a_result_of_known_checksum_is_stored_under_it(self, store):
        result = dump_result(SMALL)
        assert result.store_in(store) == result.checksum == result.store_in(store)
        assert list(store) == [result.checksum]

    @pytest.mark.parametrize(
        "frames",
        [
            SMALL,
            bytearray(SMALL),
            memoryview(SMALL),
            [b"", b"he", memoryview(b"llo")],
            np.frombuffer(SMALL, np.uint8).data,
        ],
    )
    def test_content_may_come_whole_or_in_frames(self, store, frames):
        assert store.put(key_of(SMALL), frames)
        assert store.get(key_of(SMALL)) == SMALL

    def test_frames_may_come_from_a_generator(self, store):
        store.put(key_of(SMALL), (part for part in (b"he", b"llo")))
        assert store.get(key_of(SMALL)) == SMALL

    def test_a_checksum_may_have_any_form(self, store):
        checksum = Checksum.of(SMALL)
        store.put(checksum, SMALL)
        for form in (checksum, checksum.hex(), checksum.hex().upper(), checksum.bytes()):
            assert store.has(form) and store.get(form) == SMALL
        assert store.delete(checksum) and not store.has(checksum)

    @pytest.mark.parametrize("wrong", ["", "abc", "../" + "a" * 61, "g" * 64, None, 5])
    def test_what_is_no_checksum_is_an_error(self, store, wrong):
        for method in (store.get, store.has, store.delete, lambda key: store.put(key, b"")):
            with pytest.raises((ValueError, TypeError)):
                method(wrong)

    def test_content_under_a_wrong_checksum_is_refused(self, store):
        with pytest.raises(StoreError, match="checksum"):
            store.put(key_of(b"other"), SMALL)
        assert list(store) == [] and store.get(key_of(b"other")) is None

    def test_listing_size_and_deletion(self, store):
        contents = [bytes([i]) * i for i in range(20)]
        for content in contents:
            store.put(key_of(content), content)
        keys = set(map(key_of, contents))
        assert set(store) == keys and store.nbytes() == sum(map(len, contents))
        assert store.has_many([*keys, key_of(b"missing")]) == keys
        assert store.has_many([]) == set()
        assert store.delete(key_of(contents[3])) is True
        assert set(store) == keys - {key_of(contents[3])}

    @pytest.mark.parametrize("content", [SMALL, LARGE], ids=len)
    @pytest.mark.parametrize("change", ["flip", "truncate", "extend", "empty"])
    def test_a_damaged_buffer_is_an_error_then_a_miss_then_written_anew(
        self, store, content, change
    ):
        key = key_of(content)
        store.put(key, content)
        damaged = {
            "flip": content[:-1] + bytes([content[-1] ^ 1]),
            "truncate": content[:-1],
            "extend": content + b"x",
            "empty": b"",
        }[change]
        self.damage(store, key, damaged)
        with pytest.raises(CorruptBufferError, match=key):
            store.get(key)
        assert store.get(key) is None
        assert store.put(key, content) is True
        assert bytes(store.get(key)) == content

    @pytest.mark.parametrize("damaged", [b"", SMALL[:-1], SMALL + b"x"])
    def test_a_buffer_of_another_size_is_written_anew(self, store, damaged):
        store.put(key_of(SMALL), SMALL)
        self.damage(store, key_of(SMALL), damaged)
        assert store.put(key_of(SMALL), SMALL) is True
        assert store.get(key_of(SMALL)) == SMALL

    def test_verification_can_be_switched_off(self, store):
        store.put(key_of(SMALL), SMALL)
        self.damage(store, key_of(SMALL), b"HELLO")
        store.verify = False
        assert store.get(key_of(SMALL)) == b"HELLO"

    def test_a_buffer_that_vanished_is_a_miss(self, store):
        store.put(key_of(SMALL), SMALL)
        self.damage(store, key_of(SMALL), None)
        assert store.get(key_of(SMALL)) is None and not store.has(key_of(SMALL))
        assert store.put(key_of(SMALL), SMALL) is True

    def test_a_store_can_be_pickled(self, store):
        store.put(key_of(SMALL), SMALL)
        copy = pickle.loads(pickle.dumps(store))
        assert copy.get(key_of(SMALL)) == SMALL and copy.verify == store.verify

    def test_results_from_one_store_are_independent(self, store):
        for value in (np.arange(10.0), np.arange(500_000.0), [np.arange(500_000.0)]):
            result = dump_result(value)
            store.put(result.checksum, result.frames)
            first, second = (load_result(store.get(result.checksum)) for _ in range(2))
            first[0] = 42
            assert second[0] is not None and bytes(store.get(result.checksum)) == result.tobytes()
            assert np.array_equal(second, value)

    def test_many_threads_put_get_and_delete_the_same_buffers(self, store):
        contents = [bytes([i]) * (100 + i) for i in range(5)] + [LARGE]

        def work(seed):
            for step in range(30):
                content = contents[(seed + step) % len(contents)]
                store.put(key_of(content), content)
                found = store.get(key_of(content))
                assert found is None or bytes(found) == content
                if step % 7 == seed % 7:
                    store.delete(key_of(content))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self):
        return MemoryStore()

    def damage(self, store, key, content):
        if content is None:
            del store._buffers[key]
        else:
            store._buffers[key] = content

    def test_only_one_of_many_threads_writes(self, store):
        barrier = threading.Barrier(8)

        def put(_):
            barrier.wait()
            return store.put(key_of(LARGE), LARGE)

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(put, range(8))) == 1


class TestDirectoryStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return DirectoryStore(tmp_path / "not yet" / "there")

    def damage(self, store, key, content):
        path = store.path / key[:2] / key
        if content is None:
            path.unlink()
        else:
            # As an accident would leave it: another file, not a change under a living map.
            path.unlink()
            path.write_bytes(content)

    def test_the_layout_is_that_of_a_seamless_buffer_folder(self, store):
        store.put(key_of(SMALL), SMALL)
        files = [p.relative_to(store.path) for p in store.path.rglob("*") if p.is_file()]
        assert files == [Path(key_of(SMALL)[:2], key_of(SMALL))]

    def test_foreign_files_are_not_listed(self, store):
        store.put(key_of(SMALL), SMALL)
        folder = store.path / key_of(SMALL)[:2]
        for path in (
            store.path / "README",
            folder / "x",
            folder / ("0" * 64 + ".CHECKSUM"),
            store.path / "zz" / ("0" * 64),
            store.path / "00" / ("f" * 64),
        ):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"x")
        assert list(store) == [key_of(SMALL)] and store.nbytes() == len(SMALL)

    def test_adding_what_is_there_writes_nothing(self, store, monkeypatch):
        store.put(key_of(SMALL), SMALL)
        before = (store.path / key_of(SMALL)[:2] / key_of(SMALL)).stat()
        monkeypatch.setattr(os, "fsync", None)
        store.add(SMALL)
        assert (store.path / key_of(SMALL)[:2] / key_of(SMALL)).stat().st_ino == before.st_ino
        assert list((store.path / ".tmp").iterdir()) == []

    def test_another_process_sees_what_was_put(self, store):
        store.put(key_of(LARGE), LARGE)
        assert bytes(DirectoryStore(store.path).get(key_of(LARGE))) == LARGE

    def test_a_large_buffer_is_private_memory(self, store):
        store.put(key_of(LARGE), LARGE)
        first, second = store.get(key_of(LARGE)), store.get(key_of(LARGE))
        first[0] = 99
        assert second[0] == 0 and bytes(store.get(key_of(LARGE))) == LARGE

    def test_a_deleted_buffer_lives_on_for_those_who_have_it(self, store):
        store.put(key_of(LARGE), LARGE)
        content = store.get(key_of(LARGE))
        store.delete(key_of(LARGE))
        assert bytes(content) == LARGE

    def test_leftovers_of_killed_writers_are_removed_when_old(self, store):
        temporary = store.path / ".tmp"
        temporary.mkdir(parents=True)
        old, new = temporary / "old", temporary / "new"
        for path in (old, new):
            path.write_bytes(b"x")
        os.utime(old, (time.time() - 7200,) * 2)
        store.put(key_of(SMALL), SMALL)
        assert not old.exists() and new.exists()
        assert store.sweep(older_than=-1) == 1

    def test_a_killed_writer_leaves_no_buffer(self, store):
        code = """
            import hashlib, os, signal, sys
            from seamless_dask_cache.storage import DirectoryStore
            content = bytes(50_000_000)
            def frames():
                yield content
            store = DirectoryStore(sys.argv[1])
            import seamless_dask_cache.storage.arriving as module
            add = module.Sealing.add
            def add_half(sealing, piece):
                add(sealing, piece)
                if sealing.seal().nbytes > 25_000_000:
                    os.kill(os.getpid(), signal.SIGKILL)
            module.Sealing.add = add_half
            store.put(hashlib.sha256(content).hexdigest(), [content])
        """
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(store.path)])
        assert done.returncode == -signal.SIGKILL
        assert list(store) == [] and store.get(key_of(bytes(50_000_000))) is None
        assert store.sweep(older_than=-1) == 1

    def test_many_processes_put_the_same_buffer(self, store):
        context = multiprocessing.get_context("spawn")
        with context.Pool(4) as pool:
            pool.starmap(_put_all, [(str(store.path), seed) for seed in range(4)])
        contents = [bytes([i]) * 300_000 for i in range(10)]
        assert set(store) == set(map(key_of, contents))
        for content in contents:
            assert bytes(store.get(key_of(content))) == content
        assert list((store.path / ".tmp").iterdir()) == []

    def test_a_full_disk_is_a_store_error_that_leaves_nothing(self, store):
        with _file_size_limit(1 << 20), pytest.raises(StoreError) as caught:
            store.put(key_of(LARGE), LARGE)
        assert caught.value.errno == errno.EFBIG and str(store.path) in str(caught.value)
        assert [p for p in store.path.rglob("*") if p.is_file()] == []
        assert store.put(key_of(LARGE), LARGE) is True

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    @pytest.mark.parametrize("method", ["put", "add"])
    def test_an_interrupted_write_leaves_nothing(self, store, monkeypatch, step, method):
        def fail(*args):
            raise OSError(errno.ENOSPC, "No space left on device")

        if step == "fsync":
            monkeypatch.setattr(os, "fsync", fail)
        else:
            monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(StoreError, match="No space left") as caught:
            store.put(key_of(SMALL), SMALL) if method == "put" else store.add(SMALL)
        assert caught.value.errno == errno.ENOSPC and caught.value.filename
        assert [p for p in store.path.rglob("*") if p.is_file()] == []

    def test_a_folder_that_cannot_be_written_is_a_store_error(self, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        for path in ("/proc/sdc", tmp_path / "file", tmp_path / "file" / "below"):
            store = DirectoryStore(path)
            with pytest.raises(StoreError) as caught:
                store.put(key_of(SMALL), SMALL)
            assert str(path) in str(caught.value) and caught.value.errno
            with pytest.raises(StoreError):
                store.add(SMALL)
            assert store.get(key_of(SMALL)) is None and not store.has(key_of(SMALL))
            assert list(store) == [] and store.delete(key_of(SMALL)) is False

    def test_a_read_only_folder_serves_reads(self):
        # In a process without privileges, because root may write everywhere.
        with tempfile.TemporaryDirectory() as folder:
            store = DirectoryStore(folder)
            store.put(key_of(SMALL), SMALL)
            for path in (store.path / ".tmp", store.path / key_of(SMALL)[:2], store.path):
                path.chmod(0o555)
            script = f"""
import os
from seamless_dask_cache.errors import StoreError
from seamless_dask_cache.storage import DirectoryStore
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
store = DirectoryStore({folder!r})
print(bytes(store.get({key_of(SMALL)!r})) == {SMALL!r})
try:
    store.put({key_of(LARGE)!r}, b"x" * {len(LARGE)})
except StoreError:
    print("StoreError")
"""
            done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
            for path in (store.path, store.path / ".tmp", store.path / key_of(SMALL)[:2]):
                path.chmod(0o755)
        assert done.stdout.split() == ["True", "StoreError"], done.stderr

    def test_a_file_that_takes_a_few_bytes_at_a_time_gets_them_all(self):
        class Slow(io.BytesIO):
            def write(self, chunk):
                return super().write(bytes(chunk)[:3])

        class Place:
            def open(self, *_, **__):
                return Slow()

        buffer = ArrivingBuffer(Place())
        buffer.write(SMALL)
        assert buffer._file.getvalue() == SMALL and buffer.seal().key == key_of(SMALL)

    def test_the_disk_is_only_waited_for_when_durable(self, store, monkeypatch):
        """For the content, and for the name of the file and of a new folder."""
        calls = []
        monkeypatch.setattr(
            os, "fsync", lambda number: calls.append(stat.S_ISDIR(os.fstat(number).st_mode))
        )
        store.put(key_of(SMALL), SMALL)
        DirectoryStore(store.path, durable=False).put(key_of(b"x"), b"x")
        assert calls == [False, True, True]

    def test_a_buffer_that_arrives_in_parts_is_there_when_it_is_whole(self, store):
        parts = [LARGE[:700_000], b"", LARGE[700_000:700_001], LARGE[700_001:]]
        with store.arriving(key_of(LARGE)) as buffer:
            for part in parts:
                assert not store.has(key_of(LARGE))
                buffer.write(part)
        assert bytes(store.get(key_of(LARGE))) == LARGE
        assert store._seal_of_record(key_of(LARGE)) == seal_of(LARGE)

    @pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, StoreError])
    def test_a_buffer_whose_arrival_is_broken_off_leaves_nothing(self, store, error):
        with pytest.raises(error), store.arriving(key_of(LARGE)) as buffer:
            buffer.write(LARGE[:100])
            raise error("broken off")
        with pytest.raises(StoreError), store.arriving(key_of(LARGE)) as buffer:
            buffer.write(LARGE[:-1])
        assert [path for path in store.path.rglob("*") if path.is_file()] == []

    @pytest.mark.parametrize("content", [SMALL, LARGE])
    @pytest.mark.parametrize("sealed", [True, False])
    def test_an_open_buffer_is_verified_and_dropped_when_it_is_damaged(
        self, store, content, sealed
    ):
        key = key_of(content)
        store.put(key, content)
        if not sealed:
            shutil.rmtree(store.path / ".seals", ignore_errors=True)
        with store.open(key) as file:
            store.verify_file(file, key)
            assert os.pread(file.fileno(), len(content) + 1, 0) == content
        damaged = bytearray(content)
        damaged[-1] ^= 1
        store._file(key).write_bytes(damaged)
        with store.open(key) as file, pytest.raises(CorruptBufferError):
            store.verify_file(file, key)
        assert store.open(key) is None

    def test_only_files_are_opened(self, store):
        path = store._file(key_of(SMALL))
        path.parent.mkdir(parents=True)
        os.mkfifo(path)
        assert store.open(key_of(SMALL)) is None
        path.unlink()
        path.mkdir()
        assert store.open(key_of(SMALL)) is None


def _put_all(path, seed):
    store = DirectoryStore(path)
    for i in range(10):
        content = bytes([(i + seed) % 10]) * 300_000
        store.put(key_of(content), content)
        assert bytes(store.get(key_of(content))) == content


class _file_size_limit:
    """Make this process fail to write files beyond a size, as on a full disk."""

    def __init__(self, size):
        self.size = size

    def __enter__(self):
        self.handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self.limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.limits[1]))

    def __exit__(self, *error):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)
        signal.signal(signal.SIGXFSZ, self.handler)


def test_a_setting_opens_a_store(tmp_path):
    store = MemoryStore()
    assert open_store(store) is store
    assert isinstance(open_store("memory://"), MemoryStore)
    for spec in (tmp_path, str(tmp_path), f"file://{tmp_path}"):
        opened = open_store(spec)
        assert isinstance(opened, DirectoryStore) and opened.path == tmp_path
    assert open_store("~/x").path == Path.home() / "x"


@pytest.mark.parametrize("spec", ["s3://bucket", "", None, 5, "file://host/x"])
def test_an_unknown_store_is_refused_by_name(spec):
    with pytest.raises(ConfigurationError, match="store"):
        open_store(spec)


def test_the_interface_cannot_be_used_itself():
    with pytest.raises(TypeError):
        BufferStore()
