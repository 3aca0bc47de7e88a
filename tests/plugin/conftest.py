"""Fixtures for the tests of the plugin."""

from __future__ import annotations

import logging
import subprocess
import types

import dask
import prefork
import pytest
from clusters import cluster_of, kill_server, what_the_cache_did
from distributed import Scheduler, Status
from distributed.client import _global_clients

import seamless_dask_cache as sdc
from seamless_dask_cache import embedded

# When clusters start and stop is no news here; it would hide what else a failed test has to say.
logging.getLogger("distributed").setLevel(logging.WARNING)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Say of a failure what the caches did of clusters that fixtures made."""
    report = yield
    if report.when == "call" and report.failed:
        running = [s for s in list(Scheduler._instances) if s.status == Status.running]
        told = map(what_the_cache_did, running)
        report.sections += [("Cache", text) for text in told if text]
    return report


@pytest.fixture(autouse=True, scope="module")
def embedded_servers_are_forked():
    """Start them in milliseconds; programs that tests run start theirs as they always do."""
    forking = types.SimpleNamespace(Popen=prefork.Forked, DEVNULL=subprocess.DEVNULL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "subprocess", forking)
        yield


@pytest.fixture(autouse=True)
def no_default_client_is_left():
    """Clients that are closed in another order than they were opened leave themselves set."""
    yield
    dask.config.config.pop("scheduler", None)
    _global_clients.clear()


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
def client(cache_dir):
    # After the cluster is closed, nobody starts the server of its cache folder again.
    with cluster_of() as client:
        yield client


@pytest.fixture
def cache(client, cache_dir):
    return sdc.enable(client, cache_dir=cache_dir)
