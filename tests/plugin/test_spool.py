"""The spool: what is on disk is not lost, and nothing in it is believed without proof."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from links import levels_of_warnings
from seamless_dask_cache.scheduler_plugin.outbox import MAX_BATCH, Batch
from seamless_dask_cache.scheduler_plugin.spool import Spool
from seamless_dask_cache.scheduler_plugin.spool_format import DamagedFileError, decode, encode


def item(n, **more):
    return {"transformation": f"{n:064x}", "result": "ab" * 32, **more}


def batch(number, *items, forgets=()):
    return Batch(number, list(forgets), [item(n) for n in items])


def numbers(spooled):
    return [int(found["transformation"], 16) for found in spooled.batch.items]


def drained(spool):
    """Everything in the spool, in the order in which it would be written."""
    found = []
    while (spooled := spool.first()) is not None:
        found += [("forget", name) for name in spooled.batch.forgets]
        found += [("store", n) for n in numbers(spooled)]
        spool.remove(spooled)
    return found


def files(folder, pattern="*.jsonl"):
    return sorted(folder.rglob(pattern))


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path, "here")
    yield spool
    spool.close()


texts = st.text(st.characters(codec="utf-8"))
records = st.fixed_dictionaries(
    {"transformation": texts, "content": st.none() | st.binary()},
    optional={"entry": st.dictionaries(texts, texts | st.integers(-(2**53), 2**53))},
)


@given(st.lists(texts), st.lists(records))
def test_what_is_read_is_what_was_written(forgets, items):
    """Any batch comes back as it was."""
    content, count = encode(Batch(1, forgets, items))
    found = decode(content)
    assert (found.forgets, found.items) == (forgets, items)
    assert count == len(forgets) + len(items)


@given(st.data())
def test_any_damage_is_noticed(data):
    """No change of any byte, and no cut, gives other records."""
    content, _ = encode(batch(1, 1, 2, forgets=["a"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        damaged = content[:place]
    else:
        damaged = bytearray(content)
        damaged[place] ^= data.draw(st.integers(1, 255))
    try:
        found = decode(bytes(damaged))
    except DamagedFileError:
        return
    # What counts the records in the header is there for people.
    assert found == decode(content)


def test_names_and_values_that_json_does_not_know(spool):
    """A name of a subclass of str is a name; what cannot be written takes nothing else with it."""

    class Path(str):
        pass

    spool.put(Batch(1, [], [item(1, files={Path("/x"): "state"}), item(2, entry=object())]))
    (found,) = spool.first().batch.items
    assert found["files"] == {"/x": "state"}
    assert spool.dropped == 1


def test_an_unknown_format_is_not_guessed_at():
    """A file of a later version is put aside, not half understood."""
    content, _ = encode(batch(1, 1))
    header, _, body = content.partition(b"\n")
    later = orjson.dumps({**orjson.loads(header), "format": 2}) + b"\n" + body
    with pytest.raises(DamagedFileError, match="format"):
        decode(later)


def test_nothing_is_made_before_something_is_put(tmp_path):
    """A spool that is not needed leaves no trace, and one that is emptied neither."""
    spool = Spool(tmp_path / "spools", "here")
    spool.adopt()
    assert spool.first() is None
    assert not (tmp_path / "spools").exists()
    spool.put(batch(1, 1))
    assert drained(spool) == [("store", 1)]
    spool.close()
    assert not files(tmp_path / "spools", "*-*")


def test_the_order_is_that_of_the_batches(spool):
    """A batch that is put late, because its delivery failed, comes before younger ones."""
    for number in (2, 10, 1, 100):
        spool.put(batch(number, number))
    assert spool.pending == 4
    assert drained(spool) == [("store", n) for n in (1, 2, 10, 100)]
    assert spool.is_empty


def test_small_files_are_written_in_one_request(spool):
    """Files that fit into a batch make one."""
    for number in range(30):
        spool.put(batch(number, number))
    spooled = spool.first()
    assert numbers(spooled) == list(range(30))
    assert len(spooled.files) == 30
    spool.put(Batch(40, [], [item(n) for n in range(MAX_BATCH)]))
    assert len(spool.first().batch.items) == 30


def test_a_removal_does_not_overtake_what_it_removes(spool):
    """What was stored before it was forgotten is written before."""
    spool.put(batch(1, 1))
    spool.put(batch(2, 2, forgets=[item(1)["transformation"]]))
    assert drained(spool) == [
        ("store", 1),
        ("forget", item(1)["transformation"]),
        ("store", 2),
    ]


def test_what_was_not_removed_comes_again(spool):
    """Reading is not taking: what the database did not acknowledge stays."""
    spool.put(batch(1, 1))
    assert numbers(spool.first()) == numbers(spool.first()) == [1]


def test_databases_do_not_share(tmp_path):
    """What is meant for one database is not written to another one."""
    here, there = Spool(tmp_path, "http://a:1"), Spool(tmp_path, "http://b:1")
    here.put(batch(1, 1))
    here.close()
    there.adopt()
    assert there.is_empty
    again = Spool(tmp_path, "http://a:1")
    again.adopt()
    assert drained(again) == [("store", 1)]
    again.close()


def test_a_session_is_taken_over_only_after_its_end(tmp_path):
    """Two that share a folder neither double nor lose what the other one has."""
    first, second = Spool(tmp_path, "here"), Spool(tmp_path, "here")
    first.put(batch(1, 1))
    second.put(batch(1, 2))
    second.adopt()
    assert drained(second) == [("store", 2)]
    first.close()
    second.put(batch(2, 3))
    second.adopt()
    spooled = second.first()
    assert numbers(spooled) == [1]
    assert not spooled.own
    third = Spool(tmp_path, "here")
    third.adopt()
    assert third.is_empty
    second.remove(spooled)
    assert drained(second) == [("store", 3)]
    second.close()
    assert not files(tmp_path)


LEFT_BEHIND = """
import sys
from pathlib import Path
from seamless_dask_cache.scheduler_plugin.outbox import Batch
from seamless_dask_cache.scheduler_plugin.spool import Spool

spool = Spool(Path(sys.argv[1]), "here")
for n in range(3):
    spool.put(Batch(n, [], [{"transformation": f"{n:064x}", "result": "ab" * 32}]))
print("put", flush=True)
sys.stdin.read()
"""


def test_a_killed_process_loses_nothing(tmp_path):
    """What was put is found by the next process, and not before the first one ended."""
    command = [sys.executable, "-c", LEFT_BEHIND, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "put\n"
        spool = Spool(tmp_path, "here")
        spool.adopt()
        assert spool.is_empty
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        (session,) = spool.root.glob("*.lock")
        (session.with_suffix("") / "half.tmp").write_bytes(b'{"form')
    spool.adopt()
    assert drained(spool) == [("store", n) for n in range(3)]
    assert not files(tmp_path, "*-*")
    spool.close()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied", "unreadable"])
def test_a_damaged_file_is_put_aside(spool, caplog, damage):
    """One file is kept under another name and warned of; the others are read."""
    for number in range(3):
        spool.put(batch(number, number, forgets=["x"]))
    path = files(spool.root)[1]
    content = path.read_bytes()
    if damage == "unreadable":
        path.unlink()
        path.mkdir()
    else:
        flipped = content.replace(b"ab", b"ac", 1)
        cases = {"truncated": content[:-9], "flipped": flipped, "emptied": b""}
        path.write_bytes(cases[damage])
    assert [n for what, n in drained(spool) if what == "store"] == [0, 2]
    assert len(files(spool.root, "*.damaged")) == 1
    assert levels_of_warnings(caplog) == [logging.WARNING]


def test_what_is_gone_is_gone(spool):
    """A file that somebody removed is no fault."""
    for number in range(2):
        spool.put(batch(number, number, forgets=["x"]))
    files(spool.root)[0].unlink()
    assert drained(spool) == [("forget", "x"), ("store", 1)]


def test_what_cannot_be_removed_is_not_read_for_ever(spool, monkeypatch, caplog):
    """A folder that has become read-only does not make the writer go round in circles."""
    spool.put(batch(1, 1))

    def refuse(self, missing_ok=False):
        raise PermissionError(errno.EACCES, "read-only")

    monkeypatch.setattr(type(spool.root), "unlink", refuse)
    assert drained(spool) == [("store", 1)]
    assert "cannot be removed" in caplog.text


def test_the_oldest_files_go_first(tmp_path, caplog):
    """The folder does not grow beyond its bound; what is dropped is counted and warned of once."""
    damaged = Spool(tmp_path, "here").root / "old.damaged"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(bytes(2_000))
    size = len(encode(batch(1, 1, 2, 3))[0])
    spool = Spool(tmp_path, "here", max_bytes=10 * size)
    for number in range(50):
        spool.put(batch(number, *range(3 * number, 3 * number + 3)))
        assert sum(path.stat().st_size for path in files(spool.root)) <= 10 * size
    assert not damaged.exists()
    found = [n for _, n in drained(spool)]
    assert found == list(range(150 - len(found), 150))
    assert 20 < len(found) <= 30
    assert spool.dropped == 150 - len(found)
    assert levels_of_warnings(caplog) == [logging.WARNING]
    spool.close()


def test_a_batch_larger_than_the_spool_is_refused(tmp_path):
    """It stays where it was, and nothing else is dropped for it."""
    spool = Spool(tmp_path, "here", max_bytes=400)
    spool.put(batch(1, 1))
    with pytest.raises(OSError, match="more than the spool may hold"):
        spool.put(batch(2, *range(10)))
    assert drained(spool) == [("store", 1)]
    spool.close()


def test_a_folder_that_cannot_be_written(tmp_path):
    """It is told, and asking for what is there does not fail."""
    (tmp_path / "file").write_text("")
    spool = Spool(tmp_path / "file" / "below", "here")
    with pytest.raises(OSError):
        spool.put(batch(1, 1))
    spool.adopt()
    assert spool.first() is None
    spool.close()


def test_a_full_disk_leaves_no_half_file(spool, monkeypatch):
    """A put that fails in the middle leaves what was there."""
    spool.put(batch(1, 1))

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            spool.put(batch(2, 2))
    assert not files(spool.root, "*.tmp")
    spool.put(batch(3, 3))
    assert drained(spool) == [("store", 1), ("store", 3)]


def test_only_the_user_reads_it(spool):
    """Records hold the contents of small results."""
    spool.put(batch(1, 1))
    (path,) = files(spool.root)
    for private in (path, path.parent, spool.root):
        assert private.stat().st_mode & 0o077 == 0
