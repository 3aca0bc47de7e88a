"""Files that tasks open under names that nobody sees before they run."""

from __future__ import annotations

import importlib
import os
import sys

import dask
import pytest
from clusters import cluster_of
from dask import delayed
from dask._task_spec import Task, TaskRef
from seamless_dask_cache.scheduler_plugin.inner_steps import Watch

import seamless_dask_cache as sdc
from seamless_dask_cache.local import reset
from seamless_dask_cache.observation import Observation

MEMOIZED = """
import functools, json, os

@functools.lru_cache
def settings(parts):
    with open(os.path.join(*parts, "settings")) as file:
        return int(file.read())

def scaled(parts, x):
    return x * settings(parts)

def warm_up(parts):
    settings(parts)
"""


# Folders come in parts: a whole path would be looked at before the task runs.


def load(parts, name):
    with open(os.path.join(*parts, f"part-{name}.txt")) as file:
        return int(file.read())


def total(parts):
    entries = os.scandir(os.path.join(*parts))
    return sum(load(parts, entry.name[5:-4]) for entry in entries if entry.name.startswith("part"))


def load_and_change(parts, name):
    value = load(parts, name)
    with open(os.path.join(*parts, f"part-{name}.txt"), "w") as file:
        file.write(str(value + 1))
    return value


def double(x):
    return 2 * x


def with_settings(parts):
    try:
        with open(os.path.join(*parts, "settings")) as file:
            return file.read()
    except FileNotFoundError:
        return "default"


def mmap_text(path):
    """Read as compiled code does, which opens files unheard."""
    import pyarrow

    with pyarrow.memory_map(os.fspath(path)) as content:
        return content.read().decode()


def append(parts, x, mode="a"):
    with open(os.path.join(*parts, "log"), mode) as file:
        file.write("x")
    return x


def in_session(cache_dir, program, **options):
    """Run a program on a cluster of its own; return its result and the counters."""
    with cluster_of(**options) as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        result = program(client)
        cache.flush()
        return result, cache.stats()


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "data"
    place.mkdir()
    (place / "part-a.txt").write_text("1")
    (place / "part-b.txt").write_text("10")
    return place


PROGRAMS = {
    "read": lambda folder: delayed(load)(folder.parts, "a"),
    "downstream": lambda folder: delayed(double)(delayed(load)(folder.parts, "a")),
    "far downstream": lambda folder: delayed(sum)(
        [delayed(double)(delayed(load)(folder.parts, name)) for name in "ab"]
    ),
    "path from a task": lambda folder: delayed(os.path.getsize)(
        delayed("/".join)([*folder.parts, "part-a.txt"])
    ),
    "listed": lambda folder: delayed(total)(folder.parts),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(name, folder, cache_dir):
    def program(client):
        return PROGRAMS[name](folder).compute()

    first, _ = in_session(cache_dir, program)
    again, stats = in_session(cache_dir, program)
    assert (again, stats["computed"]) == (first, 0)
    (folder / "part-a.txt").write_text("500")
    changed, stats = in_session(cache_dir, program)
    assert changed == PROGRAMS[name](folder).compute(scheduler="sync") != first
    assert stats["computed"] > 0
    again, stats = in_session(cache_dir, program)
    assert (again, stats["computed"]) == (changed, 0)


def test_a_file_that_appears_is_noticed(folder, cache_dir):
    def program(client):
        return delayed(with_settings)(folder.parts).compute()

    assert in_session(cache_dir, program)[0] == "default"
    assert in_session(cache_dir, program)[1]["computed"] == 0
    (folder / "settings").write_text("fast")
    assert in_session(cache_dir, program)[0] == "fast"


def test_the_same_in_worker_processes(folder, cache_dir):
    def program(client):
        return PROGRAMS["far downstream"](folder).compute()

    assert in_session(cache_dir, program, processes=True)[0] == 22
    assert in_session(cache_dir, program, processes=True)[1]["computed"] == 0
    (folder / "part-b.txt").write_text("20")
    assert in_session(cache_dir, program, processes=True)[0] == 42


def test_a_result_in_memory_stays_what_it_was_read_from(folder, cache_dir):
    def program(client):
        held = client.persist(delayed(load)(folder.parts, "a"))
        held.compute()
        (folder / "part-a.txt").write_text("3")
        return delayed(double)(held).compute()

    assert in_session(cache_dir, program)[0] == 2
    # What was doubled was read from a file that is gone; it must not stand for the new file.
    fresh = lambda client: delayed(double)(  # noqa: E731
        client.persist(delayed(load)(folder.parts, "a"))
    ).compute()
    assert in_session(cache_dir, fresh)[0] == 6
    again, stats = in_session(cache_dir, fresh)
    assert (again, stats["computed"]) == (6, 0)


def test_a_key_that_the_scheduler_holds_is_not_mixed_up_with_the_new_file(folder, cache_dir):
    key = "the-key"

    def program(client):
        held = client.submit(load, folder.parts, "a", key=key)
        assert held.result() == 1
        (folder / "part-a.txt").write_text("7")
        graph = {key: (load, folder.parts, "a"), "out": (double, key)}
        return client.get(graph, "out")

    fresh = lambda client: client.get(  # noqa: E731
        {"other": (load, folder.parts, "a"), "out": (double, "other")}, "out"
    )
    assert in_session(cache_dir, program)[0] == 2
    assert in_session(cache_dir, fresh)[0] == 14
    (folder / "part-a.txt").write_text("1")
    assert in_session(cache_dir, program)[0] == 2


@pytest.mark.parametrize("how", ["future", "key"])
def test_what_is_held_from_an_older_file_is_not_served_from_a_newer_one(how, folder, cache_dir):
    def elsewhere(client):
        return client.get(graph("another key"), "out")

    def graph(key):
        return {key: (load, folder.parts, "a"), "out": (double, key)}

    with cluster_of() as client:
        sdc.enable(client, cache_dir=cache_dir)
        held = client.submit(load, folder.parts, "a", key="the key")
        assert held.result() == 1
        (folder / "part-a.txt").write_text("7")
        assert in_session(cache_dir, elsewhere)[0] == 14
        if how == "future":
            assert client.submit(double, held).result() == 2
        else:
            assert client.get(graph("the key"), "out") == 2


def test_a_content_that_changed_after_it_was_identified_is_not_stored(folder, cache_dir):
    path = folder / "part-a.txt"

    def value(client):
        return client.submit(mmap_text, sdc.File(path), pure=False).result()

    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        engine = client.cluster.scheduler.plugins["seamless-dask-cache"].engine
        decide = engine.decide
        engine.decide = lambda submission: (path.write_text("2"), decide(submission))[1]
        assert value(client) == "2"
        cache.flush()
    path.write_text("1")
    assert in_session(cache_dir, value)[0] == "1"
    again, stats = in_session(cache_dir, value)
    assert (again, stats["computed"]) == ("1", 0)


def test_what_is_made_of_a_restored_result_depends_on_its_files(folder, cache_dir):
    def value():
        return delayed(load)(folder.parts, "a")

    assert in_session(cache_dir, lambda client: value().compute())[0] == 1
    doubled, stats = in_session(cache_dir, lambda client: delayed(double)(value()).compute())
    assert (doubled, stats["restored"]) == (2, 1)
    (folder / "part-a.txt").write_text("50")
    assert in_session(cache_dir, lambda client: delayed(double)(value()).compute())[0] == 100


def test_what_ran_unobserved_has_no_identity(folder, cache_dir):
    with cluster_of(workers=1) as client:
        sdc.enable(client, cache_dir=cache_dir)
        client.unregister_worker_plugin("seamless-dask-cache")
        held = client.submit(load, folder.parts, "a")
        assert held.result() == 1
        cache = sdc.enable(client, cache_dir=cache_dir)
        assert client.submit(double, held).result() == 2
        cache.flush()
        stats = cache.stats()
        assert (stats["refused"], stats["stored"]) == (1, 0)


def test_an_effect_seen_while_running_condemns_the_code(folder, cache_dir):
    def program(client):
        for x in (1, 2, 1):
            assert delayed(append)(folder.parts, x).compute() == x
        return (folder / "log").read_text()

    assert in_session(cache_dir, program)[0] == "xxx"
    log, stats = in_session(cache_dir, program)
    assert log == "xxxxxx"
    assert (stats["hits"], stats["stored"], stats["refused"]) == (0, 0, 2)


def test_what_follows_an_effect_seen_while_running_is_not_stored(folder, cache_dir):
    def program(client):
        return delayed(double)(delayed(append)(folder.parts, 3)).compute()

    for _ in range(3):
        assert in_session(cache_dir, program)[0] == 6
    assert (folder / "log").read_text() == "xxx"


def test_effects_are_lifted_and_files_are_still_checked(folder, cache_dir):
    def program(client):
        return delayed(append)(folder.parts, delayed(load)(folder.parts, "a")).compute()

    def lifted(client, cache_dir=cache_dir):
        sdc.enable(client, cache_dir=cache_dir, allow_effects={"write"})
        return program(client)

    for _ in range(2):
        assert in_session(cache_dir, lifted)[0] == 1
    assert (folder / "log").read_text() == "x"
    (folder / "part-a.txt").write_text("3")
    assert in_session(cache_dir, lifted)[0] == 3


def test_files_stand_in_the_execution_record(folder, cache_dir):
    def program(client):
        value = delayed(load)(folder.parts, "a")
        value.compute()
        return sdc.transformation_checksum(value)

    checksum, _ = in_session(cache_dir, program)
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        assert cache.stats()["database"]["transformations"] == 1
        from seamless_dask_cache.embedded import ensure_server

        endpoint = ensure_server(cache_dir)
        with sdc.DatabaseClient(endpoint.url, endpoint.token) as database:
            record = database.get_execution_record(checksum)
    assert set(record["files_read"]) == {str(folder / "part-a.txt")}


@pytest.fixture
def memoized(tmp_path, monkeypatch):
    place = tmp_path / "code"
    place.mkdir()
    (place / "memoized_module.py").write_text(MEMOIZED)
    monkeypatch.syspath_prepend(str(place))
    yield importlib.import_module("memoized_module")
    del sys.modules["memoized_module"]


def test_who_is_served_from_an_lru_cache_depends_on_the_files_behind_it(
    memoized, folder, cache_dir
):
    def program(client):
        memoized.settings.cache_clear()
        return [delayed(memoized.scaled)(folder.parts, x).compute() for x in (2, 3)]

    (folder / "settings").write_text("10")
    assert in_session(cache_dir, program)[0] == [20, 30]
    again, stats = in_session(cache_dir, program)
    assert (again, stats["computed"]) == ([20, 30], 0)
    (folder / "settings").write_text("100")
    assert in_session(cache_dir, program)[0] == [200, 300]


def test_an_lru_cache_that_nobody_saw_being_filled_is_not_trusted(memoized, folder, cache_dir):
    def program(client):
        memoized.settings(folder.parts)
        return delayed(memoized.scaled)(folder.parts, 2).compute()

    (folder / "settings").write_text("10")
    result, stats = in_session(cache_dir, program)
    assert (result, stats["stored"]) == (20, 0)


def test_a_path_made_by_an_inner_step_of_a_fused_task_is_noted(folder):
    join = Task("path", "/".join, [str(folder), "part-a.txt"])
    size = Task("size", os.path.getsize, TaskRef("path"))
    seen = Observation()
    assert Watch(seen).run(Task.fuse(join, size), {}) == 1
    assert set(seen.reads) == {str(folder / "part-a.txt")}


@pytest.fixture
def local(cache_dir, monkeypatch):
    monkeypatch.setenv("DASK_SEAMLESS_DASK_CACHE__CACHE_DIR", str(cache_dir))
    with dask.config.set({"seamless-dask-cache.cache-dir": str(cache_dir)}):
        reset()
        yield
        reset()


def test_a_cached_function_without_a_cluster_depends_on_what_it_reads(folder, local):
    reader = sdc.cached(load)
    assert reader(folder.parts, "a") == 1
    (folder / "part-a.txt").write_text("23")
    assert reader(folder.parts, "a") == 23
    assert reader(folder.parts, "b") == 10


def test_a_file_that_changes_meanwhile_is_not_stored_without_a_cluster(folder, local):
    reader = sdc.cached(load_and_change)
    assert [reader(folder.parts, "a") for _ in range(3)] == [1, 2, 3]
