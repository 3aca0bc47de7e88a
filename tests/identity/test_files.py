"""The state of a file tells every change of it, and that of a folder every change below it."""

from __future__ import annotations

import copy
import os
import pathlib
import pickle
import shutil
import time

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity import Identifier, files
from seamless_dask_cache.identity.files import (
    ContentPath,
    FileStates,
    file_state,
    listing_state,
    path_candidates,
    settled_state,
)


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("aaa")
    return file


def test_nothing_has_no_state(tmp_path):
    assert file_state(str(tmp_path / "none")) is None
    assert file_state("a\0b") is None
    assert listing_state(str(tmp_path / "none")) is None


def test_a_state_stays_while_nothing_is_written(path):
    before = file_state(str(path))
    path.read_text()
    assert file_state(str(path)) == before == file_state(f"file://{path}")


def test_a_change_with_the_old_time_set_back_is_seen(path):
    """As after ``cp -p``, ``rsync -t`` or unpacking an archive."""
    status = path.stat()
    before = settled_state(str(path))
    path.write_text("bbb")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert file_state(str(path)) != before


def test_a_copy_moved_into_place_with_the_old_time_is_seen(path, tmp_path):
    other = tmp_path / "b.txt"
    other.write_text("bbb")
    shutil.copystat(path, other)
    before = settled_state(str(path))
    other.replace(path)
    assert file_state(str(path)) != before


def test_a_folder_sees_a_change_below_it_with_the_old_time_set_back(tmp_path):
    below = tmp_path / "x" / "y"
    below.mkdir(parents=True)
    (below / "f").write_text("aaa")
    status = (below / "f").stat()
    before = settled_state(str(tmp_path))
    (below / "f").write_text("bbb")
    os.utime(below / "f", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file_state(str(tmp_path)) != before


def test_writes_within_one_tick_of_the_clock_are_told_apart(path, monkeypatch):
    """A clock of the file system that stands still for a tick hides no write."""
    now = time.time_ns()
    times = iter([now, now + files.TICK_NS])
    monkeypatch.setattr(files, "_state_and_time", lambda path: (f"{next(times)}", now))
    assert settled_state(str(path)) == f"{now + files.TICK_NS}"


def test_what_was_written_long_ago_is_not_waited_for(path, monkeypatch):
    monkeypatch.setattr(files, "_state_and_time", lambda path: ("state", 5))
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waits"))
    assert settled_state(str(path)) == "state"


@pytest.mark.parametrize("name", ["/proc/loadavg", "/proc/self", "/dev/zero", "/sys/kernel"])
def test_what_the_kernel_makes_up_has_no_state(name):
    """Their times stand still while their content changes."""
    with pytest.raises(RefusedError, match="no ordinary file"):
        file_state(name)


def test_a_pipe_has_no_state(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RefusedError, match="no ordinary file"):
        file_state(str(tmp_path / "pipe"))


def test_the_null_device_is_always_the_same():
    assert file_state(os.devnull) is not None


def change_nothing(folder):
    (folder / "sub" / "deep.txt").write_text("other")


def add_a_file(folder):
    (folder / "new.txt").touch()


def add_a_folder(folder):
    (folder / "new").mkdir()


def remove_a_file(folder):
    (folder / "a.txt").unlink()


def write_a_file(folder):
    (folder / "a.txt").write_text("other")


def rename_a_folder(folder):
    (folder / "sub").rename(folder / "bus")


@pytest.mark.parametrize(
    ("change", "is_seen"),
    [
        (change_nothing, False),
        (add_a_file, True),
        (add_a_folder, True),
        (remove_a_file, True),
        (write_a_file, True),
        (rename_a_folder, True),
    ],
)
def test_a_listing_tells_what_lies_directly_in_a_folder(change, is_seen, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "deep.txt").write_text("x")
    (tmp_path / "a.txt").write_text("aaa")
    before = listing_state(str(tmp_path))
    change(tmp_path)
    assert (listing_state(str(tmp_path)) != before) is is_seen


def test_names_that_are_no_text_can_be_listed(tmp_path):
    (tmp_path / os.fsdecode(b"\xff")).touch()
    assert listing_state(str(tmp_path))
    assert file_state(str(tmp_path))


@pytest.mark.parametrize("state_of", [file_state, listing_state])
def test_a_folder_that_is_too_large_is_refused(state_of, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_FOLDER_ENTRIES", 2)
    for name in "abc":
        (tmp_path / name).touch()
    with pytest.raises(RefusedError, match="too many files"):
        state_of(str(tmp_path))


def test_a_path_whose_content_counts_brings_no_state(path):
    content = ContentPath(str(path), file_state(str(path)))
    assert FileStates().of(content) == {}
    assert FileStates().of(content, str(path)) == {str(path): content.state}


@pytest.mark.parametrize("copied", [copy.copy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_path_whose_content_counts_survives_a_copy(copied):
    again = copied(ContentPath("a", "3-4-5"))
    assert (again, again.state, type(again)) == ("a", "3-4-5", ContentPath)


@pytest.mark.parametrize(
    "value",
    ["a.txt", b"a.txt", pathlib.Path("a.txt"), ["a.txt"], {1: ("a.txt",)}, {"a.txt"}, [b"a.txt"]],
    ids=repr,
)
def test_paths_are_found_in_arguments(value):
    assert "a.txt" in list(path_candidates(value))


def test_a_file_of_fsspec_that_is_not_open_has_the_state_of_its_file(path):
    def checksum():
        return Identifier().value(fsspec.open(str(path)))

    before = checksum()
    assert checksum() == before
    path.write_text("other")
    assert checksum() != before


class OwnSystem(LocalFileSystem):
    """Does whatever it likes."""


@pytest.mark.parametrize(
    "make",
    [
        lambda: fsspec.open("memory://a"),
        lambda: fsspec.filesystem("memory"),
        lambda: fsspec.filesystem("dir", path="/a", fs=fsspec.filesystem("memory")),
        lambda: fsspec.get_mapper("memory://a"),
        lambda: fsspec.filesystem("reference", fo={}, fs=fsspec.filesystem("memory")),
        OwnSystem,
    ],
)
def test_a_file_system_without_certain_states_is_refused(make):
    with pytest.raises(RefusedError, match="not known"):
        Identifier().value(make())


def test_local_file_systems_are_alike():
    first, other = (fsspec.filesystem("dir", path=p, fs=LocalFileSystem()) for p in ("/a", "/b"))
    assert Identifier().value(LocalFileSystem()) == Identifier().value(fsspec.filesystem("file"))
    assert Identifier().value(first) != Identifier().value(other)


@pytest.mark.parametrize(
    "address", ["postgresql://server/a", "mysql+pymysql://server/a", "Redis://server"]
)
def test_the_address_of_a_database_is_refused_wherever_it_stands(address):
    with pytest.raises(RefusedError, match="database"):
        FileStates().of(address)


def test_a_pass_looks_at_each_path_once(path):
    states = FileStates()
    before = states.of(str(path))
    path.write_text("changed")
    assert states.of(str(path)) == before != FileStates().of(str(path))
