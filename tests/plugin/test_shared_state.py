"""What tasks share beside their arguments: memories of a process, nested work, the scheduler."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import threading
import time

import dask
import pytest
from clusters import cluster_of
from distributed import Client

import seamless_dask_cache as sdc

MODULE = """
import dask, os

def load(parts):
    with open(os.path.join(*parts, "data")) as file:
        return int(file.read())

_CACHE = {}

def through_dict(parts, x):
    if "data" not in _CACHE:
        _CACHE["data"] = load(parts)
    return _CACHE["data"] + x

def through_default(parts, x, _memo={}):
    if "data" not in _memo:
        _memo["data"] = load(parts)
    return _memo["data"] + x

class Holder:
    data = None

    @classmethod
    def get(cls, parts):
        if cls.data is None:
            cls.data = load(parts)
        return cls.data

def through_class(parts, x):
    return Holder.get(parts) + x

class Memory:
    def __init__(self):
        self.data = None

    def get(self, parts):
        if self.data is None:
            self.data = load(parts)
        return self.data

MEMORY = Memory()

def through_instance(parts, x):
    return MEMORY.get(parts) + x

def nested(parts, x):
    return dask.delayed(load)(parts).compute() + x

SEEN = []

def noted(parts, x):
    SEEN.append(x)
    return x
"""
NAMES = ["dict", "default", "class", "instance"]


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    (place / "data").write_text("10")
    return place


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The module, as in a new process each time that it is asked for."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "sharing_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(code))

    def fresh():
        sys.modules.pop("sharing_module", None)
        return importlib.import_module("sharing_module")

    yield fresh
    sys.modules.pop("sharing_module", None)


def in_session(cache_dir, function, parts):
    with cluster_of(workers=1) as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        calls = [dask.delayed(function)(parts, x) for x in (1, 2, 3)]
        results = [f.result() for f in client.compute(calls)]
        cache.flush()
        return results, cache.stats()


@pytest.mark.parametrize("name", NAMES)
def test_a_memory_of_the_process_does_not_hide_a_file(name, module, folder, cache_dir):
    def session():
        function = getattr(module(), f"through_{name}")
        return in_session(cache_dir, function, folder.parts)[0]

    assert session() == [11, 12, 13]
    (folder / "data").write_text("200")
    assert session() == [201, 202, 203]


def test_what_a_task_leaves_in_its_process_is_left_again(module, folder, cache_dir):
    for _ in range(2):
        fresh = module()
        assert in_session(cache_dir, fresh.noted, folder.parts)[0] == [1, 2, 3]
        assert sorted(fresh.SEEN) == [1, 2, 3]


def test_the_users_word_lifts_it_and_files_are_still_checked(module, folder, cache_dir):
    def session():
        function = module().through_dict
        with cluster_of(workers=1) as client, dask.annotate(cache=True):
            cache = sdc.enable(client, cache_dir=cache_dir)
            result = client.submit(function, folder.parts, 1).result()
            cache.flush()
            return result, cache.stats()["computed"]

    assert [session(), session()] == [(11, 1), (11, 0)]
    (folder / "data").write_text("200")
    assert session() == (201, 1)


def test_work_that_a_task_submits_counts_as_unseen(module, folder, cache_dir):
    assert in_session(cache_dir, module().nested, folder.parts)[0] == [11, 12, 13]
    (folder / "data").write_text("200")
    assert in_session(cache_dir, module().nested, folder.parts)[0] == [201, 202, 203]


def double(x):
    return 2 * x


def test_what_ended_while_the_cache_was_replaced_has_no_identity(folder, cache_dir, monkeypatch):
    from seamless_dask_cache.scheduler_plugin import plugin

    with cluster_of(workers=1) as client:
        sdc.enable(client, cache_dir=cache_dir)
        held = client.submit(slow, 1)
        add = plugin.add_worker_plugin

        async def add_late(*arguments):
            scheduler = client.cluster.scheduler
            while held.key not in scheduler.tasks or scheduler.tasks[held.key].state != "memory":
                await asyncio.sleep(0.01)
            await add(*arguments)

        monkeypatch.setattr(plugin, "add_worker_plugin", add_late)
        cache = sdc.enable(client, cache_dir=cache_dir)
        assert client.submit(double, held).result() == 2
        cache.flush()
        stats = cache.stats()
        assert (stats["refused"], stats["stored"]) == (1, 0)


class Exit:
    """Its identification ends the process that does it, if nobody takes care."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        if "Dask-Identify" in threading.current_thread().name:
            raise self.error
        return Exit, (self.error,)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_no_object_of_a_user_ends_the_scheduler(error, cache_dir):
    with cluster_of(workers=1) as client:
        sdc.enable(client, cache_dir=cache_dir)
        assert client.submit(takes, Exit(error)).result() == 1
        assert client.submit(double, 4).result() == 8


def takes(x):
    return 1


def test_a_file_system_that_hangs_holds_nobody_else(cache_dir, monkeypatch):
    release = threading.Event()
    ask = os.stat

    def stat(path, *arguments, **options):
        if str(path).startswith("/mnt/dead"):
            release.wait(60)
        return ask(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", stat)
    try:
        with cluster_of(workers=1) as client, Client(client.cluster) as other:
            sdc.enable(client, cache_dir=cache_dir, patience=0.5)
            waiting = client.submit(takes, "/mnt/dead/x")
            assert other.submit(double, 4).result(timeout=30) == 8
            assert waiting.result(timeout=60) == 1
    finally:
        release.set()


def slow(x):
    time.sleep(0.3)
    return x
