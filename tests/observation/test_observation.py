"""What an observation sees of a computation: real files, threads, sockets and processes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import glob
import logging
import os
import pickle
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from seamless_dask_cache.database import AsyncDatabaseClient
from seamless_dask_cache.errors import DatabaseUnavailableError
from seamless_dask_cache.identity.files import ContentPath
from seamless_dask_cache.observation import (
    Observation,
    apart,
    state_now,
    unchanged,
    uncovered,
    watch,
)
from seamless_dask_cache.observation.events import _is_temporary

watch()


def observed(function, *arguments):
    seen = Observation()
    seen.run(function, *arguments)
    seen.settle()
    return seen


def read(path):
    with open(path) as file:
        return file.read()


def read_in_thread(path):
    thread = threading.Thread(target=read, args=(path,))
    thread.start()
    thread.join()


def read_in_thread_of_thread(path):
    thread = threading.Thread(target=read_in_thread, args=(path,))
    thread.start()
    thread.join()


def read_descriptor(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.close(descriptor)


READERS = {
    "open": read,
    "bytes": lambda path: read(os.fsencode(path)),
    "path": lambda path: Path(path).read_bytes(),
    "os.open": read_descriptor,
    "relative": lambda path: read(os.path.relpath(path)),
    "numpy": lambda path: np.fromfile(path, dtype="u1"),
    "memory map": lambda path: np.memmap(path, dtype="u1", mode="r"),
    "thread": read_in_thread,
    "thread of a thread": read_in_thread_of_thread,
    "copy into nowhere": lambda path: shutil.copyfile(path, os.devnull),
}


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_is_read_is_noted_with_its_state(name, tmp_path):
    path = tmp_path / "input.txt"
    path.write_text("1")
    seen = observed(READERS[name], str(path))
    assert seen.effects == []
    assert seen.reads.pop("./", os.getcwd()) == os.getcwd()
    assert seen.reads == {str(path): state_now(str(path))}
    assert unchanged(seen.reads)
    path.write_text("22")
    assert not unchanged(seen.reads)


def test_a_relative_name_depends_on_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "x").write_text("1")
    monkeypatch.chdir(tmp_path)
    seen = observed(read, "x")
    assert seen.reads == {"./": str(tmp_path), str(tmp_path / "x"): state_now(str(tmp_path / "x"))}
    assert unchanged(seen.reads)
    assert uncovered(seen.reads, [("x", state_now("x"))]) == {}
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert not unchanged(seen.reads)


def test_a_file_that_is_missing_is_noted_too(tmp_path):
    path = tmp_path / "settings.txt"

    def program():
        try:
            return read(path)
        except FileNotFoundError:
            return "default"

    seen = observed(program)
    assert seen.reads == {str(path): ""}
    path.write_text("1")
    assert not unchanged(seen.reads)


LISTERS = {
    "os.listdir": os.listdir,
    "os.scandir": lambda path: list(os.scandir(path)),
    "os.walk": lambda path: list(os.walk(path)),
    "glob": lambda path: glob.glob(f"{path}/*"),
    "iterdir": lambda path: list(Path(path).iterdir()),
}


@pytest.mark.parametrize("name", LISTERS)
def test_a_folder_that_is_listed_is_noted(name, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a").write_text("1")
    seen = observed(LISTERS[name], str(folder))
    assert seen.effects == []
    assert f"{folder}/" in seen.reads
    (folder / "b").write_text("1")
    assert not unchanged(seen.reads)


def pooled(folder):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit((folder / "x").write_text, "1").result()


def connect(folder):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))


def insert(folder):
    with sqlite3.connect(folder / "old.db") as connection:
        connection.execute("insert into t values (2)")
    connection.close()


def environment(folder):
    os.environ["SEAMLESS_TEST"] = "1"
    del os.environ["SEAMLESS_TEST"]


class Plain:
    pass


PICKLED = pickle.dumps(Plain())


EFFECTS = {
    "unpickled class of the user": (lambda folder: pickle.loads(PICKLED), "dynamic code"),
    "write": (lambda folder: (folder / "x").write_text("1"), "write"),
    "append": (lambda folder: open(folder / "old", "a").close(), "write"),
    "update": (lambda folder: open(folder / "old", "r+").close(), "write"),
    "os.open": (
        lambda folder: os.close(os.open(folder / "x", os.O_CREAT | os.O_WRONLY)),
        "write",
    ),
    "in a thread": (pooled, "write"),
    "remove": (lambda folder: (folder / "old").unlink(), "write"),
    "rename": (lambda folder: (folder / "old").rename(folder / "x"), "write"),
    "link": (lambda folder: (folder / "x").symlink_to("old"), "write"),
    "mkdir": (lambda folder: (folder / "x").mkdir(), "write"),
    "rmtree": (lambda folder: shutil.rmtree(folder / "sub"), "write"),
    "copy": (lambda folder: shutil.copy(folder / "old", folder / "x"), "write"),
    "touch": (lambda folder: os.utime(folder / "old"), "write"),
    "chmod": (lambda folder: (folder / "old").chmod(0o600), "write"),
    "new database": (lambda folder: sqlite3.connect(folder / "x.db").close(), "write"),
    "numpy": (lambda folder: np.save(folder / "x.npy", np.zeros(2)), "write"),
    "kept temporary file": (lambda folder: os.close(tempfile.mkstemp(dir=folder)[0]), "write"),
    "temporary file moved": (
        lambda folder: os.replace(tempfile.mkstemp(dir=folder)[1], folder / "x"),
        "write",
    ),
    "process": (lambda folder: subprocess.run(["true"], check=True), "process"),
    "system": (lambda folder: os.system("true"), "process"),
    "socket": (connect, "network"),
    "name": (lambda folder: socket.getaddrinfo("localhost", 80), "network"),
    "environment": (environment, "environment"),
    "dice": (lambda folder: open("/dev/urandom", "rb").close(), "secrets"),
    "folder": (lambda folder: os.chdir(os.getcwd()), "process-state"),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "old").write_text("1")
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "sub" / "deep" / "file").write_text("1")
    with sqlite3.connect(tmp_path / "old.db") as connection:
        connection.execute("create table t (a)")
    connection.close()
    return tmp_path


@pytest.mark.parametrize("name", EFFECTS)
def test_an_effect_is_noted(name, folder):
    function, kind = EFFECTS[name]
    seen = observed(function, folder)
    assert kind in {found for found, _ in seen.effects}
    assert seen.effect().startswith(f"{kind}: it ")
    assert seen.effect(frozenset(found for found, _ in seen.effects)) is None


def test_an_insert_into_a_database_is_noticed(folder):
    seen = observed(insert, folder)
    assert seen.effects or seen.unstable


def log_to_a_file(folder):
    logger = logging.getLogger("seamless-test")
    handler = logging.FileHandler(folder / "log.txt", delay=True)
    logger.addHandler(handler)
    try:
        logger.error("hello")
    finally:
        logger.removeHandler(handler)
        handler.close()


def temporary_files(folder):
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "sub").mkdir()
        (Path(place) / "sub" / "x").write_text("1")
        read(Path(place) / "sub" / "x")
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("1")
    with tempfile.TemporaryFile() as file:
        file.write(b"1")


def warn(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("hello", stacklevel=1)


def progress(folder):
    from tqdm import tqdm

    return sum(tqdm(range(3), file=sys.stderr))


def lazy_import(folder):
    (folder / "lazy_module_of_the_test.py").write_text if False else None
    sys.path.insert(0, str(folder / "package"))
    try:
        import lazy_module_of_the_test  # noqa: F401
    finally:
        sys.path.remove(str(folder / "package"))


HARMLESS = {
    "unpickled class of a library": lambda folder: pickle.loads(pickle.dumps(Path("x"))),
    "print": lambda folder: print("hello"),
    "log": log_to_a_file,
    "temporary files": temporary_files,
    "warning": warn,
    "progress bar": progress,
    "memory": lambda folder: sqlite3.connect(":memory:").close(),
    "time zone": lambda folder: __import__("zoneinfo").ZoneInfo.no_cache("Europe/Paris"),
    "null device": lambda folder: open(os.devnull, "w").close(),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_no_effect(name, folder):
    seen = observed(HARMLESS[name], folder)
    assert seen.effects == []
    assert seen.unstable is None
    assert seen.reads == {}


def test_what_happens_during_an_import_belongs_to_the_process(folder):
    package = folder / "package"
    package.mkdir()
    (package / "lazy_module_of_the_test.py").write_text(
        f"from pathlib import Path\nPath({str(folder)!r}, 'mark').write_text('1')\n"
    )
    seen = observed(lazy_import, folder)
    assert (folder / "mark").exists()
    assert seen.effects == []
    assert seen.reads == {}


def test_a_file_that_changes_while_it_is_read_makes_the_result_uncertain(tmp_path):
    path = tmp_path / "x"
    path.write_text("1")

    def program():
        with open(path):
            subprocess.run([sys.executable, "-c", f"open({str(path)!r}, 'w').write('22')"])

    seen = observed(program)
    assert str(path) in seen.unstable


@pytest.mark.parametrize("now", ["22", None])
def test_a_content_that_changed_after_it_was_identified_makes_the_result_uncertain(now, tmp_path):
    path = tmp_path / "x"
    path.write_text("1")
    content = ContentPath(str(path), state_now(str(path)))
    seen = Observation()
    seen.settle([(content, content.state)])
    assert seen.unstable is None
    path.unlink() if now is None else path.write_text(now)
    seen.settle([(content, content.state)])
    assert str(path) in seen.unstable


def test_a_pool_that_outlives_its_first_user_is_seen_by_all(tmp_path):
    path = tmp_path / "x"
    path.write_text("1")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        observed(lambda: pool.submit(len, "").result())
        seen = observed(lambda: pool.submit(read, path).result())
    assert set(seen.reads) == {str(path)}


@pytest.mark.parametrize("work", ["read", "write"])
def test_a_thread_that_nobody_knows_counts_for_all_and_condemns_none(work, tmp_path):
    begin, done = threading.Event(), threading.Event()
    (tmp_path / "input").write_text("1")

    def other():
        begin.wait(10)
        read(tmp_path / "input") if work == "read" else (tmp_path / "x").write_text("1")
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    seen = observed(lambda: (begin.set(), done.wait(10)))
    thread.join()
    assert seen.effects == []
    assert set(seen.reads) == ({str(tmp_path / "input")} if work == "read" else set())
    assert (seen.unstable is None) == (work == "read")


def test_dasks_and_pythons_own_threads_are_nobodys_work(tmp_path):
    begin, done = threading.Event(), threading.Event()

    def other():
        begin.wait(10)
        (tmp_path / "x").write_text("1")
        done.set()

    thread = threading.Thread(target=other, name="Dask-Offload_0")
    thread.start()
    seen = observed(lambda: (begin.set(), done.wait(10)))
    thread.join()
    assert (seen.effects, seen.unstable) == ([], None)


def beside(work, name=None):
    """Observe a computation that waits while `work` is done in a thread that nobody started."""
    begin, done = threading.Event(), threading.Event()

    def other():
        begin.wait(10)
        work()
        done.set()

    thread = threading.Thread(target=other, name=name)
    thread.start()
    seen = observed(lambda: (begin.set(), done.wait(10)))
    thread.join()
    return seen


@pytest.mark.parametrize("name", ["0-Dask-Default-Threads-1-1", "Dask-Default-Threads-1-1"])
def test_a_pool_of_dask_counts_for_the_tasks_that_it_runs(name, tmp_path):
    """What a task does that is not observed is its own, whatever the release calls its thread."""
    from distributed.utils import set_thread_state

    def write():
        (tmp_path / "x").write_text("1")

    def write_in_task():
        with set_thread_state(key="x"):
            write()

    assert beside(write, name).unstable is not None
    seen = beside(write_in_task, name)
    assert (seen.effects, seen.unstable) == ([], None)


def test_a_database_whose_name_is_looked_up_belongs_to_no_computation():
    """Connections of the cache are made anew while tasks run in the same process."""

    async def ask():
        async with AsyncDatabaseClient("http://localhost:9", retries=0) as client:
            with pytest.raises(DatabaseUnavailableError):
                await client.summary()

    seen = beside(lambda: asyncio.run(ask()), "IO loop")
    assert (seen.effects, seen.reads, seen.unstable) == ([], {}, None)


def test_work_of_the_cache_itself_belongs_to_no_computation(tmp_path):
    """Neither to those under way in other threads nor to the one in this thread."""
    import fsspec

    def work():
        (tmp_path / "x").write_text("1")
        fsspec.filesystem("memory")
        return 3

    seen = beside(lambda: apart(work))
    assert (seen.effects, seen.reads, seen.remote, seen.unstable) == ([], {}, set(), None)
    seen = observed(lambda: apart(lambda: apart(work) and work()))
    assert (seen.effects, seen.reads, seen.remote, seen.unstable) == ([], {}, set(), None)
    assert observed(lambda: (apart(work), work())).effects


def test_the_hook_is_silent_when_the_interpreter_ends():
    """It hears events after the globals of its module are gone."""
    code = (
        "import sys, seamless_dask_cache.observation as o\n"
        "o.watch()\n"
        "vars(o.hook).update(dict.fromkeys(n for n in vars(o.hook) if n.startswith('_')))\n"
        "sys.audit('os.listdir', 'x')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


class Strict(threading.Thread):
    """A thread class that allows no attributes but its own."""

    def __setattr__(self, name, value):
        if name.startswith("_seamless"):
            raise AttributeError(name)
        super().__setattr__(name, value)


def test_odd_threads_and_file_systems_run_as_they_do_without(tmp_path):
    import fsspec

    class Odd(fsspec.AbstractFileSystem):
        protocol = None

    class Raising(fsspec.AbstractFileSystem):
        protocol = property(lambda self: 1 / 0)

    def program():
        thread = Strict(target=(tmp_path / "x").write_text, args=("1",))
        thread.start()
        thread.join()
        Odd()
        Raising()

    seen = observed(program)
    assert (tmp_path / "x").exists()
    assert seen.effects or seen.unstable


def test_a_computation_within_another_counts_for_both(tmp_path):
    (tmp_path / "x").write_text("1")
    outer, inner = Observation(), Observation()
    outer.run(inner.run, read, tmp_path / "x")
    assert set(outer.reads) == set(inner.reads) == {str(tmp_path / "x")}


def test_two_states_of_one_file_are_uncertain(tmp_path):
    path = tmp_path / "x"
    path.write_text("1")
    seen = Observation()
    seen.note_files([(str(path), "older")])
    assert seen.unstable is None
    seen.run(read, path)
    assert seen.unstable is None  # the first state stands
    seen.settle()
    assert str(path) in seen.unstable


PATTERNS = {
    "subfolders": ("*/settings", "b/settings"),
    "one name": ("settings", "settings"),
    "all below": ("**/settings", "a/c/settings"),
}


@pytest.mark.parametrize("how", ["glob", "pathlib"])
@pytest.mark.parametrize("name", PATTERNS)
def test_what_a_pattern_asks_for_is_noted(name, how, tmp_path):
    pattern, appearing = PATTERNS[name]
    for folder in ("a/c", "b"):
        (tmp_path / folder).mkdir(parents=True)
    program = {
        "glob": lambda: glob.glob(f"{tmp_path}/{pattern}", recursive=True),
        "pathlib": lambda: list(tmp_path.glob(pattern)),
    }[how]
    seen = observed(program)
    assert unchanged(seen.reads)
    (tmp_path / appearing).write_text("1")
    assert not unchanged(seen.reads)


def test_what_the_kernel_makes_up_has_no_state(tmp_path):
    seen = observed(read, "/proc/uptime")
    assert seen.effect().startswith("process-state: it read /proc/uptime")


def test_many_temporary_files_do_not_slow_each_other_down():
    seen = Observation()
    seen.temporary = {f"/tmp/x{number}" for number in range(100_000)}
    assert _is_temporary(seen, "/tmp/x99999/a/b")
    assert not _is_temporary(seen, "/tmp/y/a/b")


def test_errors_of_the_computation_pass_through_and_end_the_observation(tmp_path):
    seen = Observation()
    with pytest.raises(ZeroDivisionError):
        seen.run(lambda: 1 / 0)
    assert not seen.running
    (tmp_path / "x").write_text("1")
    assert seen.effects == []


def test_a_remote_file_system_is_noted():
    import fsspec

    def program():
        with fsspec.open("memory://seamless-test.txt", "w") as file:
            file.write("1")

    assert observed(program).remote == {"memory"}
    system = fsspec.filesystem("memory")
    assert observed(lambda: system.open("seamless-test.txt").close()).remote == {"memory"}
    assert observed(lambda: fsspec.open(__file__).open().close()).remote == set()


def test_what_an_identity_covers_is_taken_away(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("data/a", "data/b", "c", "d"):
        (tmp_path / name).write_text(name)
    paths = [str(folder / "a"), str(folder / "b"), f"{folder}/", str(tmp_path / "c")]
    reads = {path: state_now(path) for path in [*paths, str(tmp_path / "d")]}
    covers = [(str(folder), state_now(str(folder))), (str(tmp_path / "c"), reads[paths[3]])]
    assert set(uncovered(reads, covers)) == {str(tmp_path / "d")}
    (folder / "a").write_text("changed")
    reads[paths[0]] = state_now(paths[0])
    assert set(uncovered(reads, covers)) >= {paths[0], str(tmp_path / "d")}
    assert uncovered(reads, []) == reads
    older = [(str(tmp_path / "c"), "another state")]
    assert uncovered(reads, older) == reads


def test_what_an_event_handler_cannot_understand_is_no_fault_of_the_program():
    seen = observed(lambda: sys.audit("open", object(), "r", "no number"))
    assert "not understood" in seen.unstable
    assert seen.effects == []
