"""``File`` counts by content, whatever the file system says of it."""

from __future__ import annotations

import hashlib
import os
import pathlib
import pickle
import subprocess
import sys
import time

import pytest

import seamless_dask_cache as sdc
from seamless_dask_cache.errors import ConfigurationError, RefusedError
from seamless_dask_cache.identity import Identifier, content, value_checksum
from seamless_dask_cache.identity.files import ContentPath, file_state

OLD = 1_000_000_000


@pytest.fixture
def data(tmp_path):
    """A file that was written long ago."""
    path = tmp_path / "data.csv"
    path.write_text("a,b\n1,2\n")
    os.utime(path, (OLD, OLD))
    return path


@pytest.fixture
def folder(tmp_path):
    """A folder with a file, a file below, and an empty folder."""
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "a.txt").write_text("a")
    (folder / "below" / "b.txt").write_text("b")
    return folder


def test_a_file_is_a_path_for_everything_that_takes_paths(data):
    file = sdc.File(data)
    assert os.fspath(file) == file.path == str(data)
    with open(file) as opened:
        assert opened.read() == data.read_text()
    assert pathlib.Path(file) == data


def test_a_file_is_a_value(data):
    file = sdc.File("data.csv")
    assert repr(file) == "File('data.csv')"
    assert file == sdc.File("data.csv") != sdc.File("other.csv")
    assert file != "data.csv"
    assert {file, sdc.File(pathlib.Path("data.csv"))} == {file}
    assert pickle.loads(pickle.dumps(file)) == file


def test_home_and_file_urls_are_understood(data, monkeypatch):
    monkeypatch.setenv("HOME", str(data.parent))
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    for path in ("~/data.csv", f"file://{data}"):
        file = sdc.File(path)
        assert (file.path, file.checksum, os.fspath(file)) == (path, digest, str(data))


@pytest.mark.parametrize("path", ["", 3, None, b"data.csv", ["data.csv"], "a\0b"])
def test_what_is_no_path_is_named(path):
    with pytest.raises(ConfigurationError) as caught:
        sdc.File(path)
    assert repr(path) in str(caught.value)


def test_a_file_cannot_be_changed():
    for name in ("path", "note", "_path"):
        with pytest.raises(AttributeError):
            setattr(sdc.File("a"), name, "b")


def test_a_file_cannot_be_subclassed():
    with pytest.raises(TypeError):
        type("Own", (sdc.File,), {})


def test_the_checksum_is_that_of_the_bytes(data):
    assert sdc.File(data).checksum == hashlib.sha256(data.read_bytes()).hexdigest()
    assert sdc.File(data.parent / "missing").checksum is None


def test_touching_a_file_changes_nothing(data):
    before = value_checksum(sdc.File(data))
    data.touch()
    assert value_checksum(sdc.File(data)) == before
    data.write_bytes(data.read_bytes())
    assert value_checksum(sdc.File(data)) == before


def test_a_changed_byte_is_another_file_even_if_size_and_time_are_the_same(data):
    before = value_checksum(sdc.File(data))
    assert value_checksum(sdc.File(data)) == before
    data.write_text("a,b\n1,3\n")
    os.utime(data, (OLD, OLD))
    assert value_checksum(sdc.File(data)) != before


def test_writes_in_quick_succession_are_all_seen(data):
    found = set()
    for number in range(5):
        data.write_text(f"a,b\n1,{number}\n")
        found.add(value_checksum(sdc.File(data)))
    assert len(found) == 5


def test_a_file_that_appears_or_goes_is_another(data):
    there = value_checksum(sdc.File(data))
    text = data.read_text()
    data.unlink()
    missing = value_checksum(sdc.File(data))
    data.write_text("")
    empty = value_checksum(sdc.File(data))
    data.write_text(text)
    assert len({there, missing, empty}) == 3
    assert value_checksum(sdc.File(data)) == there


def test_the_path_counts_too(data):
    """A function may look at it."""
    copy = data.with_name("copy.csv")
    copy.write_bytes(data.read_bytes())
    assert sdc.File(data).checksum == sdc.File(copy).checksum
    assert value_checksum(sdc.File(data)) != value_checksum(sdc.File(copy))
    assert value_checksum(sdc.File(data)) != value_checksum(str(data))


def test_a_file_counts_in_every_place(data):
    """As an argument, in a container, in an object, as a global, a default and in a closure."""

    class Reader:
        def __init__(self, file):
            self.file = file

    def checksums():
        file = sdc.File(data)
        names = {"FILE": file}
        exec("def f(): return open(FILE).read()\ndef g(file=FILE): return file", names)

        def inner():
            return file

        identifier = Identifier()
        values = [file, [file], {"a": {file}}, Reader(file), Reader(Reader(file))]
        codes = [names["f"], names["g"], inner]
        return [
            *map(identifier.value, values),
            *(identifier.code(function).checksum for function in codes),
        ]

    before = checksums()
    data.touch()
    assert checksums() == before
    data.write_text("a,b\n1,3\n")
    assert not set(checksums()) & set(before)


def test_a_file_is_noted_with_the_state_it_had(data):
    (noted,) = Identifier().describe([sdc.File(data)]).files
    assert type(noted) is ContentPath
    assert (noted, noted.state) == (str(data), file_state(str(data)))
    (missing,) = Identifier().describe([sdc.File(data.parent / "missing")]).files
    assert missing.state is None


def test_one_pass_sees_one_content(data):
    identifier = Identifier()
    before = identifier.value([sdc.File(data)])
    data.write_text("changed meanwhile")
    assert identifier.value([sdc.File(data)]) == before
    assert Identifier().value([sdc.File(data)]) != before


def test_an_unchanged_file_is_read_once_in_a_process(data, monkeypatch):
    reads = []
    hashed = content._hashed
    monkeypatch.setattr(content, "_hashed", lambda file: reads.append(file) or hashed(file))
    monkeypatch.setattr(content, "_is_old", lambda status, started: True)
    for _ in range(3):
        value_checksum(sdc.File(data))
    assert len(reads) == 1
    data.touch()
    value_checksum(sdc.File(data))
    assert len(reads) == 2


def test_a_kept_digest_is_dropped_when_only_the_change_time_tells(data, monkeypatch):
    monkeypatch.setattr(content, "_is_old", lambda status, started: True)
    before = sdc.File(data).checksum
    data.write_text("a,b\n1,3\n")
    os.utime(data, (OLD, OLD))
    assert sdc.File(data).checksum != before


def test_what_was_written_just_now_is_read_each_time(data, monkeypatch):
    """On a file system with coarse times, the next write could leave the same ones."""
    reads = []
    hashed = content._hashed
    monkeypatch.setattr(content, "_hashed", lambda file: reads.append(file) or hashed(file))
    data.touch()
    for _ in range(3):
        value_checksum(sdc.File(data))
    assert len(reads) == 3


def test_age_counts_by_both_times(data):
    """The modification time can be set back, the change time can't."""
    status = data.stat()
    assert not content._is_old(status, time.time_ns())
    assert content._is_old(status, status.st_ctime_ns + 3 * 10**9)


def test_a_file_that_is_written_all_the_time_is_refused(data, monkeypatch):
    states = iter(range(100))
    monkeypatch.setattr(content, "file_state", lambda path: str(next(states)))
    with pytest.raises(RefusedError, match="changes while it is read"):
        value_checksum(sdc.File(data))


@pytest.mark.parametrize("url", ["s3://bucket/a.csv", "http://a.org/a.csv", "memory://a.csv"])
def test_other_file_systems_are_refused_when_they_are_identified(url):
    file = sdc.File(url)
    assert os.fspath(file) == url
    with pytest.raises(RefusedError, match="remote"):
        value_checksum(file)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_ordinary_file_is_refused(tmp_path, make):
    make(tmp_path / "odd")
    for path in (tmp_path / "odd", tmp_path):
        with pytest.raises(RefusedError, match="ordinary"):
            value_checksum(sdc.File(path))


# Folders ------------------------------------------------------------------------------------------


def _edit(path, text="c"):
    def edit(folder):
        (folder / path).write_text(text)

    return edit


EDITS = {
    "a file changes": _edit("a.txt"),
    "a file below changes": _edit("below/b.txt"),
    "a file is added": _edit("c.txt"),
    "an empty file is added below": _edit("below/c.txt", ""),
    "a file goes": lambda folder: (folder / "a.txt").unlink(),
    "an empty folder goes": lambda folder: (folder / "empty").rmdir(),
    "an empty folder is added": lambda folder: (folder / "below" / "empty").mkdir(),
    "a file is renamed": lambda folder: (folder / "a.txt").rename(folder / "b.txt"),
    "a file moves": lambda folder: (folder / "a.txt").rename(folder / "empty" / "a.txt"),
    "a link to nothing is added": lambda folder: (folder / "l").symlink_to("nothing"),
    "a file becomes a folder": lambda folder: (
        (folder / "a.txt").unlink(),
        (folder / "a.txt").mkdir(),
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_everything_below_a_folder_counts(folder, name):
    before = value_checksum(sdc.File(folder))
    EDITS[name](folder)
    assert value_checksum(sdc.File(folder)) != before


def test_touching_what_is_below_a_folder_changes_nothing(folder):
    before = value_checksum(sdc.File(folder))
    (folder / "below" / "b.txt").touch()
    (folder / "new").write_text("new")
    (folder / "new").unlink()
    assert value_checksum(sdc.File(folder)) == before


def test_a_link_is_what_it_leads_to(folder, data):
    (folder / "link").symlink_to(data)
    linked = value_checksum(sdc.File(folder))
    (folder / "link").unlink()
    (folder / "link").write_bytes(data.read_bytes())
    assert value_checksum(sdc.File(folder)) == linked


def test_a_folder_that_leads_back_to_itself_ends(folder):
    before = value_checksum(sdc.File(folder))
    (folder / "below" / "up").symlink_to(folder)
    up = value_checksum(sdc.File(folder))
    (folder / "below" / "up").unlink()
    (folder / "below" / "up").symlink_to(folder / "below")
    assert len({before, up, value_checksum(sdc.File(folder))}) == 3


def test_odd_names_count(folder):
    before = value_checksum(sdc.File(folder))
    pathlib.Path(os.fsdecode(os.fsencode(folder) + b"/\xff\n")).write_text("")
    assert value_checksum(sdc.File(folder)) != before


def test_a_folder_of_too_many_files_is_refused(folder, monkeypatch):
    monkeypatch.setattr(content, "MAX_FOLDER_ENTRIES", 3)
    with pytest.raises(RefusedError, match="too many"):
        value_checksum(sdc.File(folder))


def test_a_file_that_cannot_be_read_is_refused(data, monkeypatch):
    def fail(file):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(content, "_hashed", fail)
    with pytest.raises(RefusedError, match="Permission denied"):
        value_checksum(sdc.File(data))


# Lists of files -----------------------------------------------------------------------------------


def test_a_pattern_stands_for_what_it_matches(folder):
    pattern = str(folder / "*.txt")
    before, paths = content.contents([pattern])
    assert list(before) == list(paths) == [str(folder / "a.txt")]
    (folder / "b.txt").write_text("b")
    (folder / "c.csv").write_text("c")
    assert list(content.contents([pattern])[0]) == [str(folder / n) for n in ("a.txt", "b.txt")]
    everywhere = content.contents([str(folder / "**" / "*.txt")])[0]
    assert str(folder / "below" / "b.txt") in everywhere


def test_a_pattern_that_matches_nothing_is_missing():
    found, paths = content.contents(["no such folder/*.csv"])
    assert found == {"no such folder/*.csv": "missing"}
    assert paths[0].state is None


def test_a_file_named_like_a_pattern_is_that_file(tmp_path):
    path = tmp_path / "a[1].csv"
    path.write_text("a")
    (tmp_path / "a1.csv").write_text("b")
    assert list(content.contents([str(path)])[0]) == [str(path)]
    assert list(content.contents([sdc.File(tmp_path / "a*.csv")])[0]) == [str(tmp_path / "a*.csv")]


def test_files_are_told_by_kind_and_content(folder):
    found, paths = content.contents([str(folder), str(folder / "a.txt"), str(folder / "none")])
    digest = hashlib.sha256(b"a").hexdigest()
    assert found[str(folder / "a.txt")] == f"file {digest}"
    assert found[str(folder)].startswith("folder ")
    assert found[str(folder / "none")] == "missing"
    assert [path.state for path in paths] == [file_state(path) for path in found]


def test_content_is_the_same_in_every_process(folder):
    program = "import sys, seamless_dask_cache as sdc; print(sdc.File(sys.argv[1]).checksum)"
    command = [sys.executable, "-c", program, str(folder)]
    there = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert there.strip() == sdc.File(folder).checksum
