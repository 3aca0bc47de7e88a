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
from concurrent.futures import ThreadPoolExecutor

import dirdb
import numpy as np
import pytest

from seamless_dask_cache import CorruptDatasetError, stores, whole_files
from seamless_dask_cache.stores import commits, dataset_files

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


def steps_of(patch, *stops, cleans=False):
    """Count operations on the disk, and end everything before some of them."""
    done = []

    def watched(module, name):
        original = getattr(module, name)

        def call(*args, **kwargs):
            done.append(name)
            if len(done) - 1 in stops:
                raise Killed
            return original(*args, **kwargs)

        patch.setattr(module, name, call)

    for name in ("fsync", "replace", "unlink", "utime"):
        watched(os, name)
    if not cleans:
        patch.setattr(commits.Change, "__exit__", lambda *_: None)
    return done


def put(entry, number, how):
    entry.put_data(np.full(SIZE, number), {"number": number}, **how)


def steps_in_all(old, folder, how, cleans):
    copy = stores.dirdb(shutil.copytree(old.path, folder))
    with pytest.MonkeyPatch.context() as patch:
        done = steps_of(patch, cleans=cleans)
        put(copy["x"], 2, how)
        return len(done)


HOW = [{}, {"mmap": True}, {"mmap": True, "checksum": True}]


@pytest.fixture
def old(tmp_path):
    db = stores.dirdb(tmp_path / "old")
    put(db["x"], 1, {"mmap": True, "checksum": True})
    return db


def number_after(old, folder, how, *stops, cleans=False):
    """What is found after a writer was stopped there, and whether the next one is hindered."""
    shutil.copytree(old.path, folder, copy_function=shutil.copy2)
    with pytest.MonkeyPatch.context() as patch:
        steps_of(patch, *stops, cleans=cleans)
        with pytest.raises(Killed):
            put(stores.dirdb(folder)["x"], 2, how)
    found = number_of(stores.dirdb(folder)["x"])
    put(stores.dirdb(folder)["x"], 3, how)
    assert number_of(stores.dirdb(folder)["x"]) == 3
    assert not [name for name in os.listdir(folder) if name.endswith((".part", ".commit"))]
    return found


@pytest.mark.parametrize("how", HOW, ids=str)
def test_stopping_before_each_step_leaves_old_or_new(tmp_path, old, how):
    """Nobody cleans up; a copy of the folder at that moment is what a reboot finds."""
    count = steps_in_all(old, tmp_path / "all", how, cleans=False)
    numbers = [number_after(old, tmp_path / str(stop), how, stop) for stop in range(count)]
    assert numbers == sorted(numbers) and set(numbers) == {1, 2}


@pytest.mark.parametrize("how", HOW, ids=str)
def test_interrupting_each_step_leaves_old_or_new(tmp_path, old, how):
    """Ctrl-C, after which there is cleaning up; and ending that as well, up to four steps later."""
    count = steps_in_all(old, tmp_path / "all", how, cleans=True)
    numbers = set()
    for stop in range(count):
        for more in range(5):
            stops = {stop, stop + more}
            folder = tmp_path / f"{stop}-{more}"
            numbers.add(number_after(old, folder, how, *stops, cleans=True))
    assert numbers == {1, 2}


@pytest.mark.parametrize("how", HOW, ids=str)
def test_killing_those_who_complete(tmp_path, old, how):
    """Who completes a change is stopped before each of its steps; the next one completes it."""

    def interrupted(folder):
        shutil.copytree(old.path, folder, copy_function=shutil.copy2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(commits, "_carry_out", lambda *_: (_ for _ in ()).throw(Killed))
            with pytest.raises(Killed):
                put(stores.dirdb(folder)["x"], 2, how)
        return stores.dirdb(folder)["x"]

    for stop in range(20):
        entry = interrupted(tmp_path / str(stop))
        with pytest.MonkeyPatch.context() as patch:
            done = steps_of(patch, stop)
            try:
                entry.get_data()
            except Killed:
                pass
            else:
                assert len(done) <= stop
                break
        assert number_of(entry) == 2
    assert stop > 3


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


def no_new_metadata(path, target, original=os.replace):
    """A disk that breaks while the second of two files is put in its place."""
    if path.name == ".x.json.part":
        raise OSError(errno.EIO, "broken disk")
    original(path, target)


def test_an_error_after_the_journal_is_made_up_for(tmp_path, monkeypatch):
    """From then on the new data are committed; nobody sees a mixture."""
    db = stores.dirdb(tmp_path)
    db["x"].put_data("old", {"a": 1})

    monkeypatch.setattr("pathlib.Path.replace", no_new_metadata)
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
        if path.exists() or not missing_ok:
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


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_where_nobody_may_write_old_data_can_be_read(tmp_path, monkeypatch, caplog, code):
    """A commit that cannot be completed in a read-only folder is told of, and no reason to fail."""
    db = stores.dirdb(tmp_path)
    db["x"].put_data(1)
    commits.journal_of(tmp_path, "x").write_bytes(b'{"replace": {}, "remove": {}}')

    def denied(*_, **__):
        raise OSError(code, "read-only")

    monkeypatch.setattr(type(db["x"].lock), "acquire", denied)
    assert db["x"].get_data() == 1 and "read-only" in caplog.text


def interrupted(db, data, meta):
    """Let a writer die as soon as its journal is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commits, "_carry_out", lambda *_: (_ for _ in ()).throw(Killed))
        patch.setattr(commits.Change, "__exit__", lambda *_: None)
        with pytest.raises(Killed):
            db["x"].put_data(data, meta)


def test_what_somebody_wrote_after_an_interrupted_change_stays(tmp_path, caplog):
    """dirdb knows nothing of journals: its data are newer, and are not replaced by older ones."""
    db = stores.dirdb(tmp_path)
    db["x"].put_data("old", {"v": 0})
    interrupted(db, "interrupted", {"v": 1})
    dirdb.dirdb(tmp_path)["x"].put_data("newest", {"v": 2})
    assert db["x"].get_data() == "newest" and db["x"].meta.v == 2
    assert "x.pickle was written after" in caplog.text
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".commit")]


def test_names_do_not_wait_for_a_change(tmp_path, caplog):
    """Neither does one damaged or stuck dataset stop the whole store."""
    db = stores.dirdb(tmp_path, timeout=0)
    db["x"].put_data("old", {"v": 0})
    db["y"] = 1
    interrupted(db, "new", {"v": 1})
    db["z"].put_data(1)
    commits.journal_of(tmp_path, "z").write_bytes(b"damaged")
    (tmp_path / "x.pickle").unlink()

    def found():
        entry = stores.dirdb(tmp_path)["x"]
        return db.names(), "x" in db, bool(entry), len(db)

    with db["x"].lock, ThreadPoolExecutor(1) as pool:
        assert pool.submit(found).result() == (["x", "y", "z"], True, True, 3)
    assert "no journal" in caplog.text


def test_readers_do_not_wait_for_ever(tmp_path, monkeypatch, caplog):
    """Somebody who is stuck in a change costs them a while; they read what is there."""
    monkeypatch.setattr(dataset_files, "_READER_PATIENCE", 0.05)
    db = stores.dirdb(tmp_path)
    db["x"].put_data("old", {"v": 0})
    interrupted(db, "new", {"v": 1})
    with db["x"].lock, ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: stores.dirdb(tmp_path)["x"].get_data()).result() == "old"
    assert "somebody is changing them" in caplog.text
    assert db["x"].get_data() == "new"


def test_what_killed_writers_left_is_removed(tmp_path):
    """By the next writer of the dataset, by its deletion, and on request."""
    db = stores.dirdb(tmp_path)

    def killed(name):
        with pytest.MonkeyPatch.context() as patch:
            steps_of(patch, 6)
            with pytest.raises(Killed):
                db[name].put_data(np.zeros(10), {"a": 1}, mmap=True)
        return [file for file in os.listdir(tmp_path) if file.endswith(".part")]

    assert killed("x") and killed("y")
    db["x"] = 1
    assert {commits.name_of_part(name) for name in os.listdir(tmp_path)} == {None, "y"}
    assert killed("x")
    del db["x"]
    with db["y"].lock, ThreadPoolExecutor(1) as pool:
        assert pool.submit(db.clean).result() == [], "somebody is at work"
    assert db.clean() == ["y"]
    assert sorted(os.listdir(tmp_path)) == ["x.lock", "y.lock"]


def test_after_a_failed_commit_the_entry_itself_knows(tmp_path, monkeypatch):
    """Its metadata are not those of before, when its data are new."""
    entry = stores.dirdb(tmp_path)["x"]
    entry.put_data("old", {"a": 1})

    monkeypatch.setattr("pathlib.Path.replace", no_new_metadata)
    with pytest.raises(OSError, match="broken"):
        entry.put_data("new", {"a": 2})
    monkeypatch.undo()
    assert (entry.get_data(), entry.meta) == ("new", {"a": 2})


def test_two_names_may_be_links_to_one_file(tmp_path):
    """Each writer has a file of its own under construction, behind the link."""
    (tmp_path / "far").mkdir()
    db = stores.dirdb(tmp_path / "db")
    for name in "xy":
        (db.path / f"{name}.pickle").symlink_to(tmp_path / "far" / "data")
    with commits.Change(db.path, "x") as one, commits.Change(db.path, "y") as other:
        assert one.part("x.pickle") != other.part("y.pickle")
        assert one.part("x.pickle").parent == tmp_path / "far"
    db["x"] = 1
    db["y"] = 2
    assert db["x"].get_data() == 2 and os.listdir(tmp_path / "far") == ["data"]


def test_a_disk_that_fails_is_told_of(tmp_path, monkeypatch):
    """Names that cannot be brought to the disk are an error; systems that never can are not."""
    for code, is_error in ((errno.EIO, True), (errno.EINVAL, False), (errno.EACCES, False)):

        def failing(descriptor, code=code):
            raise OSError(code, "flush")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(whole_files.os, "fsync", failing)
            if is_error:
                with pytest.raises(OSError, match="flush"):
                    whole_files.flush_folder(tmp_path)
            else:
                whole_files.flush_folder(tmp_path)
