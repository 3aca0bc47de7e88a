"""Workers that hold other code than the scheduler: nothing wrong is stored, and it is said why."""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys

import dask
import pytest
from clusters import cluster_of
from distributed import Client, LocalCluster
from seamless_dask_cache.scheduler_plugin.worker import WorkerCache

import seamless_dask_cache as sdc

MODULES = {
    "body": ("def f(x):\n    return ('one', x)\n", "def f(x):\n    return ('two', x)\n"),
    "helper": (
        "def g(x):\n    return 'one'\ndef f(x):\n    return (g(x), x)\n",
        "def g(x):\n    return 'two'\ndef f(x):\n    return (g(x), x)\n",
    ),
    "constant": (
        "NAME = 'one'\ndef f(x):\n    return (NAME, x)\n",
        "NAME = 'two'\ndef f(x):\n    return (NAME, x)\n",
    ),
    "class": (
        "class A:\n    name = 'one'\ndef f(x):\n    return (A().name, x)\n",
        "class A:\n    name = 'two'\ndef f(x):\n    return (A().name, x)\n",
    ),
    "version": (
        "import fake_distribution\ndef f(x):\n    return (fake_distribution.name(), x)\n",
        "import fake_distribution\ndef f(x):\n    return (fake_distribution.name(), x)\n",
    ),
    "environment": (
        "import os\ndef f(x):\n    return (os.environ.get('HONESTY_NAME'), x)\n",
        "import os\ndef f(x):\n    return (os.environ.get('HONESTY_NAME'), x)\n",
    ),
}


def write_place(folder, module, name):
    """A folder with the module, and with a distribution whose version goes by the name."""
    folder.mkdir()
    (folder / "honesty_module.py").write_text(module)
    (folder / "fake_distribution.py").write_text(f"def name():\n    return {name!r}\n")
    info = folder / "fake_distribution-1.dist-info"
    info.mkdir()
    version = {"one": 1, "two": 2}[name]
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: fake-distribution\nVersion: {version}\n"
    )
    (info / "RECORD").write_text("fake_distribution.py,,\n")
    return folder


@contextlib.contextmanager
def here(place, name, monkeypatch):
    """This process, and with it the scheduler, imports from a folder."""
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(place))
        patch.setenv("HONESTY_NAME", name)
        importlib.invalidate_caches()
        for module in ("honesty_module", "fake_distribution"):
            sys.modules.pop(module, None)
        yield importlib.import_module("honesty_module").f
    for module in ("honesty_module", "fake_distribution"):
        sys.modules.pop(module, None)


@contextlib.contextmanager
def cluster_with_workers_from(place, name):
    """A scheduler here, and a worker that was started by itself, elsewhere."""
    environment = {**os.environ, "PYTHONPATH": str(place), "HONESTY_NAME": name}
    with (
        LocalCluster(
            n_workers=0,
            processes=True,
            dashboard_address=":0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=False,
        ) as cluster,
        Client(cluster) as client,
    ):
        command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard"]
        worker = subprocess.Popen([*command, *options], env=environment, stderr=subprocess.DEVNULL)
        try:
            client.wait_for_workers(1, timeout=60)
            yield client
            client.retire_workers(close_workers=True)
            worker.wait(30)
        finally:
            worker.terminate()
            worker.wait(30)


def computed(client, cache_dir, function):
    cache = sdc.enable(client, cache_dir=cache_dir)
    value = dask.delayed(function)(3)
    result = dask.delayed(list)(value).compute()
    cache.flush()
    return result, cache.stats(), str(cache.explain(value))


@pytest.mark.parametrize("name", MODULES)
def test_workers_with_another_module_store_nothing(name, tmp_path, cache_dir, monkeypatch):
    old, new = MODULES[name]
    older = write_place(tmp_path / "older", old, "one")
    newer = write_place(tmp_path / "newer", new, "two")
    with here(newer, "two", monkeypatch) as function:
        with cluster_with_workers_from(older, "one") as client:
            result, stats, explained = computed(client, cache_dir, function)
            assert result == ["one", 3]  # what plain Dask gives
            assert stats["stored"] == 0
            assert stats["errors"] == 0
            assert "the worker holds other code than the scheduler for f" in explained
        with cluster_with_workers_from(newer, "two") as client:
            result, stats, _ = computed(client, cache_dir, function)
            assert result == ["two", 3]
            assert stats["hits"] == 0
            assert stats["stored"] == 1
        with cluster_of() as client:
            result, stats, _ = computed(client, cache_dir, function)
            assert result == ["two", 3]
            assert stats["computed"] == 0


def test_a_worker_that_lacks_a_helper_fails_as_without_the_cache(tmp_path, cache_dir, monkeypatch):
    module = "def f(x):\n    import fake_distribution\n    return fake_distribution.name()\n"
    place = write_place(tmp_path / "newer", module, "two")
    empty = write_place(tmp_path / "older", module, "one")
    (empty / "fake_distribution.py").unlink()
    with (
        here(place, "two", monkeypatch) as function,
        cluster_with_workers_from(empty, "one") as client,
    ):
        cache = sdc.enable(client, cache_dir=cache_dir)
        with pytest.raises(ModuleNotFoundError):
            dask.delayed(function)(3).compute()
        cache.flush()
        assert cache.stats()["stored"] == 0


def doubled(x):
    return 2 * x


def tripled(x):
    return 3 * x


@pytest.fixture
def looks(monkeypatch):
    """The passes on which workers looked at code, with the code, of workers in this process."""
    found, check = [], WorkerCache._check

    def noting(self, task):
        found.append((id(self), task.occasion, task.code))
        return check(self, task)

    monkeypatch.setattr(WorkerCache, "_check", noting)
    return found


def test_code_is_looked_at_once_for_all_graphs_that_are_judged_together(looks, cache_dir):
    """A loop of submissions does not make a worker look at one function again and again."""
    with cluster_of(workers=1) as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        futures = [client.submit(doubled if n % 2 else tripled, n) for n in range(200)]
        assert client.gather(futures) == [n * (2 if n % 2 else 3) for n in range(200)]
        cache.flush()
        assert cache.stats()["stored"] == 200
    assert len(looks) == len(set(looks)) < 100
    assert len({code for _, _, code in looks}) == 2


def test_code_is_looked_at_anew_for_graphs_that_come_later(looks, cache_dir):
    """What a worker imports may have changed since."""
    with cluster_of(workers=1) as client:
        sdc.enable(client, cache_dir=cache_dir)
        assert [client.submit(doubled, n).result() for n in range(3)] == [0, 2, 4]
    assert len(looks) == 3
