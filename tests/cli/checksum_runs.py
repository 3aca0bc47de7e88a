"""Running the three checksum commands as people do: as processes."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import pty
import select
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

SCRIPTS = Path(sysconfig.get_path("scripts"))
INDEX = "seamless-checksum-index"
FILE = "seamless-checksum-file"
START = "from seamless_dask_cache.checksum_commands import start"


class Done(NamedTuple):
    code: int
    out: bytes
    err: str


def run(program, *arguments, cwd=None, **options):
    """Run a console script; give what it printed."""
    command = [SCRIPTS / program, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, timeout=60, **options)
    return Done(done.returncode, done.stdout, os.fsdecode(done.stderr))


def run_with(preparation, *arguments, cwd=None, **options):
    """Run seamless-checksum after some Python that changes its world."""
    code = f"import sys\n{preparation}\n{START}\nstart.checksum()"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, timeout=60, **options)
    return Done(done.returncode, done.stdout, os.fsdecode(done.stderr))


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def make_folder(path):
    """Make a folder with names, kinds of content and a link that are not the simplest ones."""
    (path / "sub" / "deep").mkdir(parents=True)
    (path / 'B"\\').write_bytes(b"\x01")
    (path / "a.txt").write_text("a\n")
    (path / "é ü.txt").write_text("é\n", "utf-8")
    (path / "sub" / "b").write_text("b\n")
    (path / "sub" / "x.gz").write_bytes(gzip.compress(b"x"))
    (path / "sub" / "link").symlink_to("../a.txt")
    return path


def written(folder):
    """The index and its checksum, which fits."""
    text = Path(f"{folder}.INDEX").read_bytes()
    assert Path(f"{folder}.CHECKSUM").read_text() == f"{sha256(text)}\n"
    return json.loads(text)


def contents(folder):
    paths = [path for path in Path(folder).rglob("*") if not path.is_symlink()]
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


def names_in(folder):
    return sorted(os.listdir(folder))


@contextlib.contextmanager
def started(program, *arguments, cwd, **pipes):
    """Start a console script, which does not outlive the test, whatever becomes of that."""
    process = subprocess.Popen([SCRIPTS / program, *arguments], cwd=cwd, **pipes)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def on_terminal(command, cwd, *, together=False):
    """Start a process whose standard error is a terminal; give it, and a reader of that.

    Its standard output is a pipe, or, together, the same terminal.
    """
    ours, its = pty.openpty()
    stdout = its if together else subprocess.PIPE
    process = subprocess.Popen(command, cwd=cwd, stdout=stdout, stderr=its)
    os.close(its)
    try:
        yield process, lambda: read_available(ours)
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
        os.close(ours)


def read_available(descriptor, seconds=30):
    """Wait for something on a terminal, or its end, which is nothing."""
    ready, _, _ = select.select([descriptor], [], [], seconds)
    if not ready:
        raise TimeoutError("nothing came")
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # Linux says so when the other side is closed
        return b""


def read_all(read):
    return b"".join(iter(read, b""))
