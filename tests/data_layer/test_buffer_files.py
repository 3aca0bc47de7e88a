"""Checksums and buffers in files; large buffers."""

from __future__ import annotations

import hashlib
import mmap
import os
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from seamless_dask_cache import Buffer, Checksum
from seamless_dask_cache.whole_files import write_whole

HEX = hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize("name", ["a", "a.CHECKSUM", "a.txt"])
def test_a_checksum_is_saved_and_loaded(tmp_path, name):
    """As Seamless does it: the suffix is added, hex digits and a newline."""
    Checksum(HEX).save(str(tmp_path / name))
    (file,) = tmp_path.iterdir()
    assert file.name == name.removesuffix(".CHECKSUM") + ".CHECKSUM"
    assert file.read_bytes() == HEX.encode() + b"\n"
    assert Checksum.load(tmp_path / name) == HEX


@pytest.mark.parametrize("content", [HEX, HEX + "\n\n", HEX.upper() + "\r\n", HEX + "  "])
def test_what_others_wrote_is_loaded(tmp_path, content):
    (tmp_path / "a.CHECKSUM").write_text(content, newline="")
    assert Checksum.load(tmp_path / "a") == HEX


@pytest.mark.parametrize("content", [b"", b"abc\n", HEX.encode() * 2, b"\xff" * 64, b" " * 200])
def test_a_file_that_holds_no_checksum(tmp_path, content):
    (tmp_path / "a.CHECKSUM").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.CHECKSUM holds no checksum"):
        Checksum.load(tmp_path / "a")
    with pytest.raises(FileNotFoundError, match=r"b\.CHECKSUM"):
        Checksum.load(tmp_path / "b")


def test_a_buffer_is_saved_and_loaded(tmp_path):
    Buffer([1, 2], "plain").save(tmp_path / "b")
    assert Buffer.load(tmp_path / "b") == Buffer([1, 2], "plain")
    Buffer(b"").save(str(tmp_path / "b"))
    assert Buffer.load(tmp_path / "b").content == b""
    assert os.listdir(tmp_path) == ["b"]


def test_a_link_stays_a_link_and_a_pipe_a_pipe(tmp_path):
    (tmp_path / "there").write_bytes(b"old")
    (tmp_path / "link").symlink_to("there")
    Buffer(b"new").save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there").read_bytes() == b"new"
    code = "import seamless_dask_cache as sdc; sdc.Buffer(b'out').save('/dev/stdout')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"out"


def test_a_long_name(tmp_path):
    name = "é" * 127
    write_whole(tmp_path / name, [b"a", b"b"])
    assert (tmp_path / name).read_bytes() == b"ab"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    """A disk that is full, by a limit on the size of files."""
    file = tmp_path / "b"
    file.write_bytes(b"old")
    code = f"""
import resource, signal, seamless_dask_cache as sdc
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    sdc.Buffer(bytes(2000)).save({str(file)!r})
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "too large" in done.stdout
    assert file.read_bytes() == b"old" and os.listdir(tmp_path) == ["b"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        Buffer(b"x").save(tmp_path / "no" / "b")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """More than 2 GiB of which nothing is on the disk."""
    file = tmp_path_factory.mktemp("large") / "sparse"
    with file.open("wb") as stream:
        stream.truncate(2**31 + 10)
    yield file
    file.unlink()


@pytest.mark.soak
def test_memory_above_2_gib_is_used_without_a_copy(large):
    with (
        large.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        tracemalloc.start()
        buffer = Buffer(view)
        checksum = buffer.checksum
        assert len(buffer) == 2**31 + 10
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()
        digest = hashlib.sha256()
        for _ in range(2**31 // 2**20):
            digest.update(bytes(2**20))
        digest.update(bytes(10))
        assert checksum.hex() == digest.hexdigest()
        buffer.content.release()


@pytest.mark.soak
def test_a_buffer_above_2_gib_in_memory(large, tmp_path):
    """It is loaded, saved, and read as a value."""
    buffer = Buffer.load(large)
    buffer.save(tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_size == 2**31 + 10
    assert len(buffer.get_value("bytes")) == 2**31 + 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 6 * 2**20
    Path(tmp_path / "copy").unlink()
