"""Clusters of the tests' own, and the embedded servers behind them."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import json
import multiprocessing.forkserver
import os
import signal
import sys
import time

import dask
import psutil
import pytest
from distributed import Client, LocalCluster

_IMPORTED = ["distributed", "numpy", "pandas", "dask.array", "dask.bag", "dask.dataframe"]
_IMPORTED += ["seamless_dask_cache.scheduler_plugin"]


@functools.cache
def _begin_to_fork():
    """Start the process that workers are forked from, with the variables that nannies set."""
    variables = dask.config.get("distributed.nanny.pre-spawn-environ")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**variables, "PYTHONHASHSEED": 6640}.items():
            patch.setenv(name, str(value))
        multiprocessing.set_forkserver_preload(_IMPORTED)
        multiprocessing.forkserver.ensure_running()


def forking():
    """Fork worker processes, instead of starting interpreters that import all anew."""
    _begin_to_fork()
    return dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})


@contextlib.contextmanager
def _search_path_kept():
    """Take from ``sys.path`` what Dask leaves there: all imports look there, too."""
    before = set(sys.path)
    try:
        yield
    finally:
        for folder in {*sys.path} - before:
            if not os.path.exists(folder):
                sys.path.remove(folder)
                sys.path_importer_cache.pop(folder, None)


@contextlib.contextmanager
def cluster_of(*, processes=False, workers=2, dashboard=False):
    """A cluster of our own with its client; nothing of it is left behind."""
    with (
        _search_path_kept(),
        forking() if processes else contextlib.nullcontext(),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=processes,
            dashboard_address=":0",
            scheduler_kwargs={"dashboard": dashboard},
            silence_logs=False,
        ) as cluster,
        Client(cluster) as client,
    ):
        try:
            yield client
        except BaseException:
            print(what_the_cache_did(cluster.scheduler))
            raise


def what_the_cache_did(scheduler):
    """What it made of the tasks of a scheduler in this process, to be shown of tests that fail."""
    plugin = getattr(scheduler, "plugins", {}).get("seamless-dask-cache")
    if plugin is None or plugin.engine is None:
        return ""
    names = ("stats", "effects", "remarks", "broken", "silent")
    return "\n".join(f"{name}: {getattr(plugin.engine, name)}" for name in names)


def server_process(cache_dir):
    """The process of the embedded server of a cache folder."""
    with contextlib.suppress(OSError, psutil.NoSuchProcess):
        process = psutil.Process(json.loads((cache_dir / "cache.db.owner").read_text())["pid"])
        if process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def kill_server(cache_dir):
    """End the embedded server as if the machine had lost it."""
    process = server_process(cache_dir)
    if process is not None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)


def wait_until_forgotten(client):
    """Wait for the release of all keys: Dask does not compute again what it still holds.

    Futures that are in a cycle with a traceback are let go of by a garbage collection only, and a
    thread may still have held its frames when the last one ran.
    """
    deadline = time.monotonic() + 10
    for turn in itertools.count(1):
        tasks = list(client.cluster.scheduler.tasks.values())
        if not tasks:
            return
        assert time.monotonic() < deadline, [(task, task.who_wants, task.waiters) for task in tasks]
        if turn == 10 or turn % 100 == 0:
            gc.collect()
        time.sleep(0.002)
