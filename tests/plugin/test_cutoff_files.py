"""Early cutoff and files: two results of one transformation may have been read at two moments."""

from __future__ import annotations

import os
import time

import dask
import pytest
from clusters import cluster_of, wait_until_forgotten
from distributed import wait

import seamless_dask_cache as sdc

STORE_ALL = {"min_seconds": 0, "load_seconds": 0, "load_bytes_per_second": 1e15, "store_share": 1e9}


@pytest.fixture(autouse=True)
def a_scheduler_that_validates_its_state():
    with dask.config.set({"distributed.scheduler.validate": True}):
        yield


def reader_of(path):
    """A function whose file stands neither in its code nor in its arguments."""
    parts = list(str(path))

    def read(size, parts=parts):
        with open("".join(parts)) as file:
            return file.read(size)

    return read


def reader_after_an_edit(path):
    """Another function that reads the same."""
    parts = list(str(path))

    def read(size, parts=parts):
        with open("".join(parts)) as file:
            text = file.read(size)
        return text

    return read


def upper(text):
    return text.upper()


def twice(text):
    return text + text


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.txt"


@pytest.fixture
def enabled(cache_dir):
    with cluster_of() as client:
        yield client, sdc.enable(client, cache_dir=cache_dir, **STORE_ALL)


@pytest.mark.parametrize("keep_second", [False, True])
def test_a_held_result_of_an_old_file_is_not_the_content_of_a_new_call(
    enabled, path, keep_second, cache_dir
):
    """The first call is held under its key; the same call under another key reads the new file."""
    client, cache = enabled
    read = reader_of(path)
    path.write_text("old")
    first = client.submit(read, 9, key="first")
    second = client.submit(upper, first, key="upper-first")
    assert second.result() == "OLD"
    assert cache.flush(30)
    if not keep_second:
        del second
    path.write_text("new")
    again = client.submit(read, 9, key="again")
    assert client.submit(upper, again, key="upper-again").result() == "NEW"
    assert client.submit(twice, client.submit(upper, again), key="both").result() == "NEWNEW"
    assert cache.flush(30)
    # What was written down is right, too, for whoever comes later.
    del first, again
    second = None
    wait_until_forgotten(client)
    assert dask.delayed(upper)(dask.delayed(read)(9)).compute() == "NEW"
    path.write_text("third")
    assert dask.delayed(upper)(dask.delayed(read)(9)).compute() == "THIRD"
    path.write_text("old")
    assert dask.delayed(upper)(dask.delayed(read)(9)).compute() == "OLD"


def test_two_calls_in_one_graph_may_read_two_states(enabled, path):
    """Each task is spared for the content of its own input."""
    client, cache = enabled
    path.write_text("old")
    graph = {"a": (reader_of(path), 9), "b": (upper, "a")}
    assert client.get(graph, "b") == "OLD"
    assert cache.flush(30)
    wait_until_forgotten(client)
    edited = reader_after_an_edit(path)

    def rewrite(before, path=path):
        path.write_text("new")

    graph = {
        "a1": (edited, 9),
        "between": (rewrite, "a1"),
        "a2": (lambda size, _: edited(size), 9, "between"),
        "b1": (upper, "a1"),
        "b2": (upper, "a2"),
        "both": (list, ["b1", "b2"]),
    }
    assert client.get(graph, "both") == ["OLD", "NEW"]


def test_files_count_through_aliases(enabled, path):
    """What is served for the content of an alias is on record with the files behind the alias."""
    client, cache = enabled
    for text, read in (
        ("old", reader_of(path)),
        ("old", reader_after_an_edit(path)),
        ("new", reader_after_an_edit(path)),
    ):
        path.write_text(text)
        graph = {"a": (read, 9), "b": "a", "c": (upper, "b"), "d": "c", "e": (twice, "d")}
        assert client.get(graph, "e") == 2 * text.upper()
        assert cache.flush(30)
        wait_until_forgotten(client)


def submits(n):
    return dask.delayed(abs)(n).compute()


def test_what_is_behind_a_task_that_submitted_others_is_not_on_record(enabled):
    """It runs each time; what it submits may have had effects that nobody saw it have."""
    client, cache = enabled
    assert client.submit(hex, client.submit(abs, -7)).result() == "0x7"
    assert cache.flush(30)
    wait_until_forgotten(client)
    for _ in range(2):
        before = cache.stats()["hits"]
        assert client.submit(hex, client.submit(submits, -7)).result() == "0x7"
        assert cache.flush(30)
        wait_until_forgotten(client)
        after = cache.stats()
        assert after["cut"] == 0
        assert after["hits"] - before <= 1


def hold_up(flag):
    while not os.path.exists(flag):
        time.sleep(0.01)


def joined(text, other):
    return f"{text} {other}"


def test_an_input_that_is_lost_and_made_again_is_what_it_is_then(cache_dir, path, tmp_path):
    """A worker dies with the result of an old file; what is made of the new one is not the old."""
    flag = tmp_path / "flag"
    with cluster_of(processes=True, workers=3) as client:
        cache = sdc.enable(client, cache_dir=cache_dir, **STORE_ALL)
        path.write_text("old")
        first = [client.submit(reader_of(path), 9), client.submit(str, 5)]
        assert client.submit(joined, *first).result() == "old 5"
        assert cache.flush(30)
        del first
        wait_until_forgotten(client)
        *others, busy = client.scheduler_info()["workers"]
        with dask.annotate(cache=False):
            blocking = client.submit(hold_up, str(flag), workers=[busy], key="blocking")
        read = client.submit(reader_after_an_edit(path), 9, workers=others, key="read")
        late = client.submit(lambda: "5", workers=[busy], key="late")
        both = client.submit(joined, read, late, key="both")
        wait(read)
        (holders,) = client.who_has([read]).values()
        path.write_text("new")
        client.restart_workers(list(holders), timeout=60)
        deadline = time.monotonic() + 30
        while not client.who_has([read])[read.key]:
            assert time.monotonic() < deadline
        flag.write_text("")
        assert (both.result(), cache.stats()["cut"]) == ("new 5", 0)
        assert cache.flush(30)
        del read, late, both, blocking
        wait_until_forgotten(client)
        for text in ("old", "new"):
            path.write_text(text)
            again = client.submit(reader_after_an_edit(path), 9)
            assert client.submit(joined, again, client.submit(lambda: "5")).result() == f"{text} 5"
            del again
            wait_until_forgotten(client)  # or Dask itself goes on with what it holds
