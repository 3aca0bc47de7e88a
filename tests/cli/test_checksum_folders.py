"""`seamless-checksum-index` and `seamless-checksum-file`: whole files, or nothing."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from checksum_runs import FILE, INDEX, contents, make_folder, names_in, run, sha256, written

from seamless_dask_cache.celltypes import serialize
from seamless_dask_cache.checksum_commands import digests, files, folders, index, ordered
from seamless_dask_cache.checksum_commands.failures import FileFailure

# What the commands of seamless-core 0.1.4 wrote for the folder below.
PUBLISHED_INDEX = """\
{
  "B\\"\\\\": "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a",
  "a.txt": "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7",
  "sub/b": "0263829989b6fd954f72baaf2fc64bc2e2f01d692d4de72986ea808f6e99813f",
  "sub/link": "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7",
  "sub/x": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
  "é ü.txt": "edd3a863872a04239eb29ad4bc12fc892b3d4ae57cc7e786a3697816f8e141c2"
}
"""


@pytest.fixture
def folder(tmp_path):
    """A folder d, in a folder of its own."""
    return make_folder(tmp_path / "d")


def refused(program, *arguments, cwd):
    """The lines on standard error of a command that writes nothing at all."""
    before = contents(cwd)
    code, out, err = run(program, *arguments, cwd=cwd)
    assert (code, out) == (1, b"")
    assert contents(cwd) == before
    return [line.removeprefix(f"{program}: ") for line in err.splitlines()]


@pytest.mark.parametrize(
    ("name", "where"), [("d", "."), ("d/", "."), (".", "d"), ("..", "d/sub"), ("d/sub/..", ".")]
)
def test_an_index_is_that_of_the_published_command(folder, name, where):
    """Bytes and names of the files are the same, however the folder is called."""
    assert run(INDEX, name, cwd=folder.parent / where) == (0, b"", "")
    assert (folder.parent / "d.INDEX").read_text("utf-8") == PUBLISHED_INDEX
    assert written(folder) == json.loads(PUBLISHED_INDEX)
    assert names_in(folder.parent) == ["d", "d.CHECKSUM", "d.INDEX"]


def test_an_index_of_files_as_they_are(folder):
    """`--raw` keeps suffixes, and what they say of the content does not matter."""
    (folder / "sub" / "x").write_text("beside the compressed one")
    assert run(INDEX, "--raw", "d", cwd=folder.parent).code == 0
    assert written(folder)["sub/x.gz"] == sha256((folder / "sub" / "x.gz").read_bytes())
    assert written(folder)["sub/x"] == sha256(b"beside the compressed one")


def test_an_empty_folder_has_an_index(tmp_path):
    """It is the plain buffer of an empty dict."""
    (tmp_path / "d").mkdir()
    assert run(INDEX, "d", cwd=tmp_path).code == 0
    assert (tmp_path / "d.INDEX").read_bytes() == serialize({}, "plain")


def test_what_cannot_stand_in_an_index(folder, monkeypatch):
    """Each such file is told, and nothing is written."""
    (folder / "circle").symlink_to("circle")
    (folder / "broken").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    (folder / "to pipe").symlink_to("pipe")
    monkeypatch.chdir(folder)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    (folder / "sub" / "x").write_text("two files for one name")
    (folder / "cut.gz").write_bytes(gzip.compress(b"x")[:-1])
    (folder / os.fsdecode(b"\xff")).write_text("")
    assert refused(INDEX, "d", cwd=folder.parent) == [
        "d/broken: a symbolic link to nothing",
        "d/circle: Too many levels of symbolic links",
        "d/pipe: not a regular file",
        "d/socket: not a regular file",
        "d/to pipe: not a regular file",
        "'d/\\udcff': the name is not UTF-8",
        "d/sub/x.gz: would have the same name in the index as d/sub/x",
        "d/cut.gz: truncated gzip data",
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing", "no such folder"),
        ("d/a.txt", "not a folder"),
        ("/", "has no folder beside it for its index"),
    ],
)
def test_what_has_no_index(folder, name, reason):
    """One line says why."""
    assert refused(INDEX, name, cwd=folder.parent) == [f"{name}: {reason}"]


def test_a_pipe_that_takes_the_place_of_a_file(tmp_path, monkeypatch):
    """What was a file when it was looked at is neither waited for nor taken for an empty one."""
    os.mkfifo(tmp_path / "pipe")
    look = os.stat
    monkeypatch.setattr(os, "stat", lambda *names, **how: look(__file__))
    with pytest.raises(FileFailure, match="not a regular file"):
        digests.checksum_of(str(tmp_path / "pipe"), settled=True)
    monkeypatch.undo()


def test_links_to_folders_are_not_followed_unasked(folder):
    """They are told, and the index is that of the published command, which passes over them."""
    (folder / "other").symlink_to("sub")
    code, out, err = run(INDEX, "d", cwd=folder.parent)
    assert (code, out, err) == (0, b"", f"{INDEX}: d/other: not followed, a link to a folder\n")
    assert (folder.parent / "d.INDEX").read_text("utf-8") == PUBLISHED_INDEX


def test_links_to_folders_are_followed_on_request(folder):
    """What is behind a link stands under its name; twice behind two links."""
    (folder / "one").symlink_to("sub")
    (folder / "two").symlink_to("sub")
    assert run(INDEX, "--follow-links", "d", cwd=folder.parent) == (0, b"", "")
    found = written(folder)
    assert found["one/b"] == found["two/b"] == found["sub/b"]


def test_a_circle_of_folders_is_an_error(folder):
    """Following links ends where one leads back."""
    (folder / "sub" / "deep" / "up").symlink_to("../..")
    (folder / "self").symlink_to(".")
    lines = refused(INDEX, "--follow-links", "d", cwd=folder.parent)
    assert [line.split(": ")[0] for line in lines] == ["d/self", "d/sub/deep/up"]
    assert all("leads back" in line for line in lines)


def test_folders_nested_deeper_than_calls(tmp_path):
    """Levels cost no calls, of which Python has a thousand."""
    deep = "/".join(["x"] * 400)
    (tmp_path / "d" / deep).mkdir(parents=True)
    (tmp_path / "d" / deep / "file").write_text("")
    code = (
        "import sys; sys.setrecursionlimit(200)\n"
        "from seamless_dask_cache.checksum_commands.index import write_index\n"
        "write_index('d', raw=False, follow_links=False, jobs=None, progress=None)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert list(written(tmp_path / "d")) == [f"{deep}/file"]


@contextlib.contextmanager
def powerless():
    """Have no more rights than anybody, also where the tests run as root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public(folder):
    """A folder d where everybody may be and write."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        os.makedirs(f"{name}/d/closed")
        for file in ("a", "b", "closed/c"):
            Path(name, "d", file).write_text(file)
        serialize({}, "plain")  # what it imports might not be open to everybody
        yield Path(name)
        os.chmod(f"{name}/d/closed", 0o755)


def index_in_process(folder, **options):
    defaults = {"raw": False, "follow_links": False, "jobs": None, "progress": None}
    return index.write_index(str(folder), **{**defaults, **options})


def test_what_may_not_be_read(public, capfd):
    """Files and folders without the right to read them are told, and nothing is written."""
    os.chmod(public / "d" / "a", 0)
    os.chmod(public / "d" / "closed", 0)
    with powerless():
        assert index_in_process(public / "d") == 1
    assert names_in(public) == ["d"]
    told = capfd.readouterr().err.splitlines()
    assert told == [f"{INDEX}: {public}/d/{n}: Permission denied" for n in ("closed", "a")]


def test_where_nothing_may_be_written(public, capfd):
    """One line names the file that cannot be written."""
    os.chmod(public, 0o555)
    with powerless():
        assert index_in_process(public / "d") == 1
    os.chmod(public, 0o755)
    assert names_in(public) == ["d"]
    told = capfd.readouterr().err
    assert told == f"{INDEX}: {public}/d.INDEX: cannot be written: Permission denied\n"


def test_a_file_that_vanishes(folder, monkeypatch, capfd):
    """What was there when the folder was looked at, and is not when it is read, is an error."""

    def then_remove(*arguments, **options):
        found = folders.files_by_name(*arguments, **options)
        (folder / "a.txt").unlink()
        return found

    monkeypatch.setattr(index, "files_by_name", then_remove)
    assert index_in_process(folder) == 1
    assert names_in(folder.parent) == ["d"]
    told = capfd.readouterr().err.splitlines()
    assert told == [
        f"{INDEX}: {folder}/{name}: No such file or directory" for name in ("a.txt", "sub/link")
    ]


@pytest.mark.parametrize("how", ["longer", "newer", "shorter"])
def test_a_file_that_changes_while_it_is_read(tmp_path, how):
    """Its checksum may be that of no state that it ever had."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)

    def change(count):
        if how == "newer":
            os.utime(path, ns=(0, 0))
        else:
            os.truncate(path, 999 if how == "shorter" else 1001)

    with pytest.raises(FileFailure, match="changed"):
        digests.checksum_of(str(path), settled=True, note=change)
    assert digests.checksum_of(str(path), note=change)


def test_files_of_checksums(folder):
    """Every file gets its own, with the digits and a newline, beside it."""
    assert run(FILE, "a.txt", "sub/b", "sub/x.gz", cwd=folder) == (0, b"", "")
    for name, content in (("a.txt", b"a\n"), ("sub/b", b"b\n"), ("sub/x", b"x")):
        assert (folder / f"{name}.CHECKSUM").read_text() == f"{sha256(content)}\n"


@pytest.mark.parametrize(
    ("name", "raw", "where"),
    [
        ("a/b.csv", False, "a/b.csv.CHECKSUM"),
        ("a/b.csv.gz", False, "a/b.csv.CHECKSUM"),
        ("b.zst", False, "b.CHECKSUM"),
        ("b.zst", True, "b.zst.CHECKSUM"),
        ("a/.gz", False, "a/.gz.CHECKSUM"),
        ("d.INDEX", False, "d.CHECKSUM"),
        ("d.INDEX.gz", False, "d.CHECKSUM"),
        ("d.CHECKSUM", False, "d.CHECKSUM.CHECKSUM"),
    ],
)
def test_where_a_checksum_is_written(name, raw, where):
    """As the published command names it; `--raw` keeps the suffix."""
    assert files.checksum_path(name, raw=raw) == where


def test_files_that_have_no_checksum_file(folder):
    """They are told, and the others are done."""
    (folder / "sub" / "x").write_text("")
    os.mkfifo(folder / "pipe")
    names = ["pipe", "nothing", "sub", "-", "sub/x.gz", "sub/x", "a.txt"]
    code, out, err = run(FILE, *names, cwd=folder)
    assert (code, out) == (1, b"")
    assert err.replace(f"{FILE}: ", "").splitlines() == [
        "-: standard input has no name for its checksum",
        "sub/x: its checksum would replace that of sub/x.gz",
        "pipe: not a regular file",
        "nothing: No such file or directory",
        "sub: Is a directory",
    ]
    assert (folder / "a.txt.CHECKSUM").read_text() == f"{sha256(b'a' + bytes([10]))}\n"
    assert (folder / "sub" / "x.CHECKSUM").read_text() == f"{sha256(b'x')}\n"


@pytest.mark.parametrize("jobs", [1, 3])
def test_files_are_taken_as_they_are_needed(jobs):
    """However many there are, only so many are begun ahead of the first that is not done."""
    begun, ahead = [], []
    items = (begun.append(number) or number for number in range(1000))
    for number, (item, result) in enumerate(ordered.in_order(lambda n: -n, items, jobs)):
        assert (item, result) == (number, -number)
        ahead.append(len(begun) - number)
    assert len(ahead) == 1000
    assert max(ahead) <= 16 * jobs
