"""Clusters and caches for the tests of the plugin."""

from __future__ import annotations

import contextlib
import os
import signal

import psutil
import pytest
from distributed import Client, LocalCluster

import seamless_dask_cache as sdc


@contextlib.contextmanager
def cluster_of(*, processes=False, workers=2):
    """A cluster of our own with its client; nothing of it is left behind."""
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=processes,
            dashboard_address=":0",
            silence_logs=False,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def server_process(cache_dir):
    """The process of the embedded server of a cache folder."""
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "seamless_dask_cache.server" in command and str(cache_dir / "cache.db") in command:
            return process
    return None


def kill_server(cache_dir):
    """End the embedded server as if the machine had lost it."""
    process = server_process(cache_dir)
    if process is not None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)


@pytest.fixture
def cache_dir(tmp_path):
    folder = tmp_path / "cache"
    yield folder
    kill_server(folder)


@pytest.fixture(scope="module")
def shared_cache_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    yield folder
    kill_server(folder)


@pytest.fixture
def client():
    with cluster_of() as client:
        yield client


@pytest.fixture
def cache(client, cache_dir):
    return sdc.enable(client, cache_dir=cache_dir)
