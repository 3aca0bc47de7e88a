"""`seamless-checksum`: as `sha256sum` where that has an answer."""

from __future__ import annotations

import gzip
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from checksum_runs import (
    SCRIPTS,
    START,
    on_terminal,
    read_all,
    run,
    run_with,
    sha256,
    started,
)
from hypothesis import given
from hypothesis import strategies as st

from seamless_dask_cache.checksum_commands import bar, compressed, lists

ROOT = Path(__file__).parents[2]
NAMES = ["plain", "two words", "back\\slash", "new\nline", "carriage\rreturn", " blank", "*star"]
needs_sha256sum = pytest.mark.skipif(not shutil.which("sha256sum"), reason="no coreutils here")


def checksum(*arguments, **options):
    return run("seamless-checksum", *arguments, **options)


def sha256sum(*arguments, **options):
    done = subprocess.run(["sha256sum", *arguments], capture_output=True, **options)
    return done.returncode, done.stdout


@pytest.fixture
def folder(tmp_path):
    """A folder with files whose names are hard to write in one line."""
    for number, name in enumerate([*NAMES, "empty"]):
        (tmp_path / name).write_bytes(b"content" * number * 50_000 if name != "empty" else b"")
    return tmp_path


@pytest.mark.parametrize("size", [0, 1, 63, 64, 1 << 17, (1 << 17) + 1, 3_000_000])
def test_one_file_gives_the_bare_digits(tmp_path, size):
    """One file: 64 hex digits and a newline, with every digest that is used inside."""
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    assert checksum("file", cwd=tmp_path) == (0, f"{sha256(content)}\n".encode(), "")


@needs_sha256sum
def test_several_files_give_what_sha256sum_prints(folder):
    """Lines, order and the escaping of names are those of `sha256sum`."""
    names = [*reversed(NAMES), "empty", b"not utf-8 \xff"]
    (folder / os.fsdecode(names[-1])).write_text("x")
    expected = sha256sum(*names, cwd=folder)
    assert checksum(*names, cwd=folder)[:2] == expected
    assert checksum("--jobs", "1", *names, cwd=folder)[:2] == expected


def test_the_name_of_one_file_on_request(folder):
    """`--name` prints a line with the name for one file, too."""
    digits = sha256((folder / "plain").read_bytes())
    assert checksum("--name", "plain", cwd=folder).out == f"{digits}  plain\n".encode()


@pytest.mark.parametrize(
    "names",
    [
        ["plain"],
        ["-"],
        ["plain", "-", "empty"],
        ["-", "-"],
        ["nothing"],
        ["."],
        ["plain", "nothing", ".", "empty"],
        ["damaged.gz", "plain"],
        ["packed.gz"],
    ],
    ids=" ".join,
)
def test_options_make_no_difference_to_the_rest(folder, names):
    """With and without parsing of options, the same is printed."""
    (folder / "damaged.gz").write_bytes(b"no gzip at all")
    (folder / "packed.gz").write_bytes(gzip.compress(b"text"))
    short = checksum(*names, cwd=folder, input=b"from outside")
    assert short == checksum("--no-progress", *names, cwd=folder, input=b"from outside")
    assert (short.code != 0) == bool(
        {"nothing", ".", "damaged.gz"} & {*names} or names == ["-"] * 2
    )


def test_failures_are_one_line_each_and_the_others_are_done(folder):
    """Whatever cannot be read is named with the reason; the exit code is 1."""
    os.symlink("circle", folder / "circle")
    code, out, err = checksum("nothing", "plain", "circle", ".", "two\nlines", cwd=folder)
    assert code == 1
    assert out.decode().split() == [sha256(b""), "plain"]
    assert err.splitlines() == [
        "seamless-checksum: nothing: No such file or directory",
        "seamless-checksum: circle: Too many levels of symbolic links",
        "seamless-checksum: .: Is a directory",
        "seamless-checksum: 'two\\nlines': No such file or directory",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="files of /proc")
def test_a_file_that_fails_while_it_is_read(tmp_path):
    """An error in the middle gives no checksum of the part before."""
    code, out, err = checksum("/proc/self/mem", cwd=tmp_path)
    assert (code, out) == (1, b"")
    assert err == "seamless-checksum: /proc/self/mem: Input/output error\n"


def test_standard_input_that_has_nothing_yet_is_not_at_its_end():
    """A pipe that does not block gives an error, not the checksum of nothing."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        done = checksum("-", stdin=reading)
    finally:
        os.close(reading)
        os.close(writing)
    assert (done.code, done.out) == (1, b"")
    assert "temporarily unavailable" in done.err


def test_a_pipe_is_read_as_a_file(tmp_path):
    """Named pipes, and so `<(command)` of a shell, are read to their end."""
    os.mkfifo(tmp_path / "pipe")
    pipes = {"stdout": subprocess.PIPE}
    with started("seamless-checksum", "pipe", cwd=tmp_path, **pipes) as process:
        (tmp_path / "pipe").write_bytes(b"through a pipe")
        assert process.stdout.read().decode().strip() == sha256(b"through a pipe")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument"),
        (["--nonsense", "file"], "No such option"),
        (["--quiet", "file"], "--check only"),
        (["--jobs", "0", "file"], "not in the range"),
        (["--check", "--name", "list"], "--name"),
    ],
)
def test_usage_errors_exit_with_2(arguments, message):
    """What makes no sense is told, with the usage."""
    code, out, err = checksum(*arguments)
    assert (code, out) == (2, b"")
    assert message in err


def test_a_full_output_is_an_error(folder):
    """Results that cannot be written are not passed over."""
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "wb") as full:
        command = [SCRIPTS / "seamless-checksum", "plain"]
        done = subprocess.run(command, cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "seamless-checksum: standard output: No space left on device\n"


@pytest.mark.parametrize("options", [[], ["--name"]])
def test_a_reader_that_has_enough(folder, options):
    """A closed pipe ends the command, without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [SCRIPTS / "seamless-checksum", *options, "plain"]
    done = subprocess.run(command, cwd=folder, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("names", [["-"], ["plain", "-"]], ids=" ".join)
def test_ctrl_c_ends_it_at_once(folder, names):
    """The exit code is 130, also while a thread waits for what never comes; no traceback."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with started("seamless-checksum", "--progress", *names, cwd=folder, **pipes) as process:
        process.stdin.write(b"x")
        process.stdin.flush()
        process.stderr.read(1)  # the bar: it has begun to read
        if "plain" in names:  # what is known is written at once
            assert process.stdout.readline().split() == [sha256(b"").encode(), b"plain"]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert b"Traceback" not in process.stderr.read()


def test_a_small_file_imports_next_to_nothing(folder):
    """What takes time to import is not there when one small file is done."""
    heavy = "click rich typing pathlib re concurrent threading hashlib importlib.util dask enum"
    code = (
        f"import sys, os; sys.path.insert(0, {str(ROOT)!r}); sys.argv[1:] = ['plain']\n"
        f"os._exit = lambda code: print([m for m in {heavy.split()} if m in sys.modules])\n"
        f"{START}\nstart.checksum.__globals__['_run'] = print\nstart.checksum()"
    )
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[:2] == [sha256(b""), "[]"]


RLIMIT = resource.RLIMIT_AS
BOUND = 160 << 20


@pytest.mark.parametrize("name", ["sparse", "zeros.gz", "zeros.zst"])
def test_memory_does_not_grow_with_the_file(tmp_path, name):
    """What is larger than the memory is hashed, also when it is small while compressed."""
    size = BOUND + (1 << 20)
    write_zeros(tmp_path / name, size)
    limit = (BOUND, BOUND)
    done = checksum(name, cwd=tmp_path, preexec_fn=lambda: resource.setrlimit(RLIMIT, limit))
    assert (done.code, done.err) == (0, "")
    assert done.out.decode().strip() == sha256(bytes(size))


def write_zeros(path, size):
    if path.suffix == ".gz":
        with gzip.open(path, "wb", 1) as file:
            for _ in range(size >> 20):
                file.write(bytes(1 << 20))
    elif path.suffix == ".zst":
        path.write_bytes(zst(bytes(size)))
    else:
        path.touch()
        os.truncate(path, size)


def zst(content):
    return pytest.importorskip("zstandard").ZstdCompressor().compress(content)


PARTS = [b"first " * 30_000, b"", b"second"]


def test_compressed_files_count_decompressed(tmp_path):
    """All members and frames count; `--raw` takes the file as it is."""
    packed = {"a.gz": b"".join(map(gzip.compress, PARTS)), "a.zst": b"".join(map(zst, PARTS))}
    packed["padded.gz"] = packed["a.gz"] + bytes(100)
    packed["none.gz"] = packed["none.zst"] = b""
    for name, content in packed.items():
        (tmp_path / name).write_bytes(content)
        plain = b"" if name.startswith("none") else b"".join(PARTS)
        assert checksum(name, cwd=tmp_path) == (0, f"{sha256(plain)}\n".encode(), "")
        raw = checksum("--raw", name, cwd=tmp_path)
        assert raw == (0, f"{sha256(content)}\n".encode(), "")


def test_a_name_that_is_only_a_suffix_is_no_compressed_file(tmp_path):
    """`.gz` is a hidden file."""
    (tmp_path / ".gz").write_bytes(b"text")
    assert checksum(".gz", cwd=tmp_path).out.decode().strip() == sha256(b"text")


@pytest.mark.parametrize("pack", [gzip.compress, zst])
@pytest.mark.parametrize("cut", [1, 5, 20, "in the second", "garbage"])
def test_a_compressed_file_that_is_not_whole_is_an_error(tmp_path, pack, cut):
    """A cut or damaged part gives no checksum of what came before it."""
    content = pack(os.urandom(1000))
    damaged = {"in the second": content + content[:50], "garbage": content + b"garbage"}
    name = "a.gz" if pack is gzip.compress else "a.zst"
    (tmp_path / name).write_bytes(damaged[cut] if isinstance(cut, str) else content[:-cut])
    code, out, err = checksum(name, cwd=tmp_path)
    assert (code, out) == (1, b"")
    assert err.startswith(f"seamless-checksum: {name}: ")
    assert "truncated" in err or "damaged" in err


def test_without_a_decompressor_the_way_out_is_told(tmp_path):
    """zst files need a package before Python 3.14; the message says which, and of --raw."""
    (tmp_path / "a.zst").write_bytes(b"")
    hidden = "sys.modules['zstandard'] = sys.modules['compression.zstd'] = None"
    code, out, err = run_with(hidden, "a.zst", cwd=tmp_path)
    assert (code, out) == (1, b"")
    assert "pip install zstandard" in err
    assert "--raw" in err


def test_pieces_of_compressed_files_are_bounded(tmp_path):
    """No piece is larger than what a step can make."""
    path = tmp_path / "zeros"
    for suffix, content in ((".gz", gzip.compress(bytes(1 << 26))), (".zst", zst(bytes(1 << 26)))):
        path.write_bytes(content)
        with open(path, "rb", buffering=0) as file:
            sizes = [len(p) for p in compressed.decompressed(file, suffix, lambda count: None)]
        assert sum(sizes) == 1 << 26
        assert max(sizes) <= 1 << 25


def test_a_bar_on_a_terminal_only(folder):
    """Long work shows a bar where standard error is a terminal, and results stay as they are."""
    at_once = "from seamless_dask_cache.checksum_commands import bar; bar.DELAY = 0"
    names = ["two words", "plain", "back\\slash"]
    plain = run_with(at_once, *names, cwd=folder)
    assert plain.err == ""
    for options, shown in (([], True), (["--no-progress"], False)):
        code = f"{at_once}\n{START}\nstart.checksum()"
        with on_terminal([sys.executable, "-c", code, *options, *names], folder) as (process, read):
            err = read_all(read)
            assert process.communicate()[0] == plain.out
        assert (b"reading" in err) == shown
        assert not shown or err.endswith(b"\x1b[2K")  # the last thing is that it is gone


def test_results_do_not_get_into_the_bar(folder):
    """Where both go to the same terminal, the bar makes room for each line."""
    always = "from seamless_dask_cache.checksum_commands import bar; bar.DELAY = bar._PAUSE = 0"
    names = ["two words", " blank", "back\\slash", "plain"]
    code = f"{always}\n{START}\nstart.checksum()"
    command = [sys.executable, "-c", code, "-j1", *names]
    with on_terminal(command, folder, together=True) as (_, read):
        shown = read_all(read)
    assert shown.count(b"two words") == 1
    assert b"reading" in shown
    assert not re.search(rb"reading(?:(?!\x1b\[2K).)*[0-9a-f]{64}", shown, re.S)


def test_no_bar_comes_between_what_is_written(monkeypatch):
    """A thread that has read on in the meantime waits until the line is there."""
    monkeypatch.setattr(bar, "_PAUSE", 0)
    shown = bar.Bar(at_once=True)
    shown.note(1)
    visible = []
    reader = threading.Thread(target=shown.note, args=[1])

    def write():
        reader.start()
        reader.join(0.3)  # it would long have drawn
        visible.append(shown._visible)

    shown.make_room(write)
    reader.join(20)
    assert visible == [False] and not reader.is_alive()
    shown.make_room(lambda: None)


def test_short_work_shows_no_bar(folder):
    """Nothing flickers on a terminal when there is nothing to wait for."""
    command = [SCRIPTS / "seamless-checksum", "plain", "two words"]
    with on_terminal(command, folder) as (process, read):
        assert read_all(read) == b""
        assert process.wait() == 0


def test_a_bar_on_request(folder):
    """`--progress` shows it at once, and without a terminal, too."""
    done = checksum("--progress", "two words", cwd=folder)
    assert "reading" in done.err
    assert done.out.decode().strip() == sha256((folder / "two words").read_bytes())


@given(
    st.text(st.characters(exclude_characters="\0"), min_size=1), st.binary(min_size=32, max_size=32)
)
def test_lines_are_read_as_they_were_written(name, digest):
    """Any name comes back out of its line, which is one line."""
    try:
        line = lists.line_of(digest.hex(), name)
    except UnicodeEncodeError:  # a surrogate that is no byte of a name: no file has it
        return
    assert line.count(b"\n") == 1
    assert lists.entry_in(line) == (digest.hex(), name)


@given(st.binary())
def test_any_line_is_an_entry_or_none(line):
    """Nothing that stands in a list breaks its reader."""
    assert lists.entry_in(line) is None
    lists.entry_in(b"0" * 64 + b"  " + line)
    lists.entry_in(b"\\" + b"0" * 64 + b"  " + line)
