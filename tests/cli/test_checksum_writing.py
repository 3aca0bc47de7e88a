"""How the files with indices and checksums are written: whole, or not at all."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys

import pytest
from checksum_runs import FILE, INDEX, contents, make_folder, names_in, run, started, written

from seamless_dask_cache.checksum_commands import writing
from seamless_dask_cache.checksum_commands.failures import FileFailure


@pytest.fixture
def folder(tmp_path):
    """A folder d, in a folder of its own."""
    return make_folder(tmp_path / "d")


def test_a_full_disk_leaves_what_was_there(folder):
    """An index that cannot be written to its end replaces nothing."""
    assert run(INDEX, "d", cwd=folder.parent).code == 0
    before = contents(folder.parent)
    (folder / "new").write_text("")
    limits = (resource.RLIMIT_FSIZE, (100, 100))
    done = run(INDEX, "d", cwd=folder.parent, preexec_fn=lambda: resource.setrlimit(*limits))
    assert done == (1, b"", f"{INDEX}: d.INDEX: cannot be written: File too large\n")
    (folder / "new").unlink()
    assert contents(folder.parent) == before


@pytest.mark.parametrize("suffix", ["INDEX", "CHECKSUM"])
def test_a_folder_in_the_way(folder, suffix):
    """Where one of both cannot be replaced, the other one is not either."""
    other = {"INDEX": "CHECKSUM", "CHECKSUM": "INDEX"}[suffix]
    (folder.parent / f"d.{suffix}").mkdir()
    (folder.parent / f"d.{other}").write_text("as it was")
    before = contents(folder.parent)
    done = run(INDEX, "d", cwd=folder.parent)
    assert done == (1, b"", f"{INDEX}: d.{suffix}: a folder is in the way\n")
    assert contents(folder.parent) == before


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
@pytest.mark.parametrize("program", [INDEX, FILE])
def test_stopping_leaves_nothing_half_written(folder, number, code, program):
    """Whatever ends it, while it reads: both files are as they were, and no other is there."""
    assert run(INDEX, "d", cwd=folder.parent).code == 0
    os.truncate(folder / "a.txt", 1 << 40)
    before = names_in(folder.parent), names_in(folder), written(folder)
    name = "d" if program == INDEX else "d/a.txt"
    pipes = {"stderr": subprocess.PIPE}
    with started(program, "--progress", name, cwd=folder.parent, **pipes) as process:
        process.stderr.read(1)  # the bar: it has begun to read
        process.send_signal(number)
        assert process.wait(30) == code
        assert b"Traceback" not in process.stderr.read()
    assert (names_in(folder.parent), names_in(folder), written(folder)) == before


STEPS = ("rename", "replace", "unlink")


def crash_after(count):
    """Let the process die after so many changes of names."""
    lines = ["import os", f"left = [{count}]", "def dying(change):", " def step(*names):"]
    lines += ["  if not left[0]: os._exit(9)", "  left[0] -= 1", "  return change(*names)"]
    lines += [" return step", *(f"os.{name} = dying(os.{name})" for name in STEPS)]
    return "\n".join(lines)


def test_a_crash_at_any_moment_leaves_no_contradiction(tmp_path):
    """Beside an index there is its own checksum, or none."""
    call = "writing.write_pair('d.INDEX', b'new', 'd.CHECKSUM', b'of new')"
    fits = {"old": "of old", "new": "of new"}
    for count in range(10):
        for path in tmp_path.iterdir():
            path.unlink()
        (tmp_path / "d.INDEX").write_text("old")
        (tmp_path / "d.CHECKSUM").write_text("of old")
        code = f"from seamless_dask_cache.checksum_commands import writing\n{crash_after(count)}"
        done = subprocess.run([sys.executable, "-c", f"{code}\n{call}"], cwd=tmp_path)
        content = (tmp_path / "d.INDEX").read_text()
        if (tmp_path / "d.CHECKSUM").exists():
            assert (tmp_path / "d.CHECKSUM").read_text() == fits[content]
        if not done.returncode:
            break
    assert count > 2
    assert names_in(tmp_path) == ["d.CHECKSUM", "d.INDEX"]
    assert content == "new"


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failing_rename_is_undone(tmp_path, monkeypatch, failing):
    """The old pair comes back when the index cannot be replaced; else there is no checksum."""
    (tmp_path / "i").write_text("old")
    (tmp_path / "c").write_text("of old")
    calls, replace = [], os.replace

    def fail(*names):
        calls.append(names)
        if len(calls) == failing:
            raise OSError(5, "broken")
        replace(*names)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(FileFailure, match="broken") as caught:
        writing.write_pair(str(tmp_path / "i"), b"new", str(tmp_path / "c"), b"of new")
    assert caught.value.name == str(tmp_path / "ic"[failing - 1])
    left = {name: (tmp_path / name).read_text() for name in names_in(tmp_path)}
    assert left == ({"i": "old", "c": "of old"} if failing == 1 else {"i": "new"})


def test_files_behind_links_are_written(folder):
    """Where the index is kept elsewhere, it is replaced there, with the usual rights."""
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "d.INDEX").symlink_to("elsewhere/index")
    before = os.umask(0o027)
    try:
        assert run(INDEX, "d", cwd=folder.parent).code == 0
    finally:
        os.umask(before)
    assert written(folder)
    assert (folder.parent / "elsewhere" / "index").stat().st_mode & 0o777 == 0o640
