"""Datasets are whole: whatever happens to who writes them, and at whatever moment."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from seamless_dask_cache import CorruptDatasetError, stores, whole_files
from seamless_dask_cache.stores import commits

SIZE = 20_000
KILLS = 200

WRITER = """
import os, sys
import numpy as np
from seamless_dask_cache import stores

entry = stores.dirdb(sys.argv[1])["x"]
first = int(sys.argv[2])
os.write(1, b"ready\\n")
for number in range(first, first + 100_000):
    data = np.full({size}, number)
    kind = number % 4
    if kind == 0:
        entry.put_data(data, {{"number": number}})
    elif kind == 1:
        entry.put_data(data, {{"number": number}}, mmap=True, checksum=True)
    elif kind == 2:
        with entry:
            entry.put_data(data, {{"number": number, "more": "x" * 10_000}})
    else:
        entry.put_data(data, {{"number": number}}, checksum=True)
    os.write(1, b"%d\\n" % number)
"""


def number_of(entry):
    """What a whole dataset says that it is; data and metadata agree, however it is read."""
    data, meta = entry.get_data(), entry.meta
    assert data.shape == (SIZE,) and (data == data[0]).all()
    assert meta.get("number") == data[0]
    if "checksum" in meta:
        assert entry.get_data(verify=True)[0] == data[0]
    assert entry.get_data(mmap=True)[0] == data[0]
    return int(data[0])


@pytest.mark.timeout(120)
def test_a_killed_writer_leaves_a_whole_dataset(tmp_path):
    """200 writers are killed at random moments: the old or the new dataset, and no lock stays."""
    choose = random.Random(0)
    db = stores.dirdb(tmp_path / "db", timeout=0)
    db["x"].put_data(np.full(SIZE, -1), {"number": -1})
    writers = Writers(tmp_path)
    journals = seen = 0
    for _ in range(KILLS):
        acknowledged = writers.killed_after(choose.uniform(0, 0.05), db.path, seen + 1)
        journals += commits.journal_of(db.path, "x").exists()
        number = number_of(stores.dirdb(db.path, timeout=0)["x"])
        assert max(acknowledged, seen) <= number <= max(acknowledged, seen) + 1
        seen = number
    assert db.names() == ["x"] and journals > 5 and seen > KILLS


class Writers:
    """Processes that write until they are killed, forked from one that has imported everything."""

    def __init__(self, folder):
        self._script = folder / "writer.py"
        self._script.write_text(WRITER.format(size=SIZE))
        self._code = compile(self._script.read_text(), "writer", "exec")

    def killed_after(self, seconds, path, first):
        """Start one, kill it so long after it began to write; return what it had finished."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._write(writing, path, first)
        os.close(writing)
        with os.fdopen(reading, "rb") as out:
            assert out.readline() == b"ready\n"
            time.sleep(seconds)  # the random moment, not a wait
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            finished = out.read().split()
        return int(finished[-1]) if finished else 0

    def _write(self, writing, path, first):
        try:
            os.dup2(writing, 1)
            sys.argv = ["writer", str(path), str(first)]
            exec(self._code, {"__name__": "__main__"})
        finally:
            os._exit(1)


def test_a_writer_as_a_program_of_its_own(tmp_path):
    """The same script, started anew and killed by its timeout, as a reboot would."""
    db = stores.dirdb(tmp_path / "db")
    db["x"].put_data(np.full(SIZE, -1), {"number": -1})
    command = [sys.executable, "-c", WRITER.format(size=SIZE), str(db.path), "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    lines = [process.stdout.readline() for _ in range(20)]
    process.kill()
    rest = process.communicate()[0].split()
    last = int((rest or lines)[-1])
    assert last <= number_of(db["x"]) <= last + 1


# Every single step --------------------------------------------------------------------------------


class Killed(BaseException):
    """What happens to a process, as far as the disk can tell."""


def steps_of(monkeypatch, stop_at=None):
    """Count operations on the disk, and end everything before one of them."""
    done = []

    def watched(module, name):
        original = getattr(module, name)

        def call(*args, **kwargs):
            if len(done) == stop_at:
                raise Killed
            done.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, call)

    for name in ("fsync", "replace", "unlink", "utime"):
        watched(os, name)
    return done


def put(entry, number, how):
    entry.put_data(np.full(SIZE, number), {"number": number}, **how)


@pytest.mark.parametrize("how", [{}, {"mmap": True}, {"mmap": True, "checksum": True}], ids=str)
def test_stopping_before_each_step_leaves_old_or_new(tmp_path, how):
    """And a copy of the folder at that moment, which is what a reboot finds, is whole as well."""
    old = stores.dirdb(tmp_path / "old")
    put(old["x"], 1, {"mmap": True, "checksum": True})
    copy = stores.dirdb(shutil.copytree(old.path, tmp_path / "all"))
    with pytest.MonkeyPatch.context() as patch:
        done = steps_of(patch)
        put(copy["x"], 2, how)
        count = len(done)
    numbers = []
    for stop_at in range(count):
        folder = shutil.copytree(old.path, tmp_path / str(stop_at), copy_function=shutil.copy2)
        with pytest.MonkeyPatch.context() as patch:
            steps_of(patch, stop_at)
            patch.setattr(commits.Change, "__exit__", lambda *_: None)  # nobody cleans up
            with pytest.raises(Killed):
                put(stores.dirdb(folder)["x"], 2, how)
        numbers.append(number_of(stores.dirdb(folder)["x"]))
        put(stores.dirdb(folder)["x"], 3, how)  # and the next one is not hindered
        assert number_of(stores.dirdb(folder)["x"]) == 3
        assert not [name for name in os.listdir(folder) if name.endswith((".part", ".commit"))]
    assert numbers == sorted(numbers) and set(numbers) == {1, 2}


def test_content_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """Each file is flushed, the journal has its name, and only then are files renamed."""
    entry = stores.dirdb(tmp_path)["x"]
    entry.put_data(1, {"a": 1}, mmap=True)
    events = []

    def flushed(descriptor, original=os.fsync):
        name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
        events.append(("flush", "folder" if name == tmp_path.name else name.partition(".x.")[2]))
        original(descriptor)

    def renamed(source, target, original=os.replace, **_):
        events.append(("rename", os.path.basename(target)))
        original(source, target)

    def timed(path, ns, original=os.utime):
        events.append(("time", path.name.partition(".x.")[2]))
        original(path, ns=ns)

    monkeypatch.setattr(os, "utime", timed)
    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    monkeypatch.setattr("pathlib.Path.replace", lambda path, target: renamed(path, target))
    entry.put_data(2, {"a": 2}, mmap=True)
    renames = [event for event in events if event[0] == "rename"]
    assert [name for _, name in renames] == [".x.commit", "x.mmap", "x.pickle", "x.json"]
    before_journal = events[: events.index(renames[0])]
    for name in ("pickle.part", "json.part", "mmap.part", "commit.part"):
        last = [event for event in before_journal if event[1] == name][-1]
        assert last == ("flush", name), "its content and its time"
    after_journal = events[events.index(renames[0]) + 1 :]
    assert after_journal[0] == ("flush", "folder"), "the journal has its name for good"
    assert after_journal[-2:] == [("flush", "folder")] * 2, "so have the files, then it is gone"


def test_a_full_disk_leaves_the_old_data(tmp_path, monkeypatch):
    """The error comes out; what was begun is removed."""
    entry = stores.dirdb(tmp_path)["x"]
    entry.put_data("old", {"a": 1})

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(whole_files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        entry.put_data("new", {"a": 2})
    monkeypatch.undo()
    assert entry.get_data() == "old" and entry.meta == {"a": 1}
    assert sorted(os.listdir(tmp_path)) == ["x.json", "x.lock", "x.pickle"]


def test_an_error_after_the_journal_is_made_up_for(tmp_path, monkeypatch):
    """From then on the new data are committed; nobody sees a mixture."""
    db = stores.dirdb(tmp_path)
    db["x"].put_data("old", {"a": 1})

    def broken(path, target, original=os.replace):
        if path.name == ".x.json.part":
            raise OSError(errno.EIO, "broken disk")
        original(path, target)

    monkeypatch.setattr("pathlib.Path.replace", broken)
    with pytest.raises(OSError, match="broken"):
        db["x"].put_data("new", {"a": 2})
    monkeypatch.undo()
    assert (db["x"].meta, db["x"].get_data()) == ({"a": 2}, "new")


@pytest.mark.parametrize("look", ["names", "bool", "get", "meta", "stat", "in", "put"])
def test_whoever_looks_first_completes(tmp_path, look):
    """A dataset that was committed and not put in its place yet is there for everybody."""
    db = stores.dirdb(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commits, "_carry_out", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            db["x"].put_data([1], {"a": 1})
    assert not (tmp_path / "x.pickle").exists()
    entry = stores.dirdb(tmp_path)["x"]
    looks = {
        "names": lambda: db.names() == ["x"],
        "bool": lambda: bool(entry),
        "get": lambda: entry.get_data() == [1],
        "meta": lambda: entry.meta == {"a": 1},
        "stat": lambda: entry.stat().meta_size > 0,
        "in": lambda: "x" in db,
        "put": lambda: entry.put_data([1]) is None,
    }
    assert looks[look]()
    assert entry.get_data() == [1] and entry.meta == {"a": 1}
    assert sorted(os.listdir(tmp_path)) == ["x.json", "x.lock", "x.pickle"]


def test_a_deletion_is_whole(tmp_path):
    """Metadata do not outlive their data, to be taken for those of the next ones."""
    db = stores.dirdb(tmp_path)
    db["x"].put_data(1, {"a": 1}, mmap=True)

    def removed(path, missing_ok=False, done=[]):  # noqa: B006  (counts)
        if path.name == "x.json" and not done:
            done.append(1)
            raise Killed
        os.unlink(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pathlib.Path.unlink", removed)
        with pytest.raises(Killed):
            del db["x"]
    assert not (tmp_path / "x.pickle").exists() and (tmp_path / "x.json").exists()
    assert stores.dirdb(tmp_path)["x"].meta == {} and os.listdir(tmp_path) == ["x.lock"]


@pytest.mark.parametrize(
    "journal",
    [
        *(b"", b"{", b"[]", b"{}", b'{"replace": ["x.pickle"]}', b'{"replace": 3, "remove": []}'),
        *(
            b'{"replace": ["../x.pickle"], "remove": []}',
            b'{"replace": [], "remove": ["y.pickle"]}',
        ),
        b'{"replace": [3], "remove": []}',
    ],
)
def test_a_journal_that_is_none_changes_nothing(tmp_path, journal):
    """It is named; and it cannot reach beyond its own dataset."""
    db = stores.dirdb(tmp_path / "db")
    (tmp_path / "x.pickle").write_bytes(b"other")
    db["x"], db["y"] = 1, 2
    commits.journal_of(db.path, "x").write_bytes(journal)
    with pytest.raises(CorruptDatasetError, match="journal"):
        db["x"].get_data()
    assert db["y"].get_data() == 2 and (tmp_path / "x.pickle").read_bytes() == b"other"


def test_where_nobody_may_write_old_data_can_be_read(tmp_path, monkeypatch, caplog):
    """A commit that cannot be completed in a read-only folder is told of, and no reason to fail."""
    db = stores.dirdb(tmp_path)
    db["x"].put_data(1)
    commits.journal_of(tmp_path, "x").write_bytes(b'{"replace": [], "remove": []}')

    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "read-only")

    monkeypatch.setattr(type(db["x"].lock), "acquire", denied)
    assert db["x"].get_data() == 1 and "read-only" in caplog.text
