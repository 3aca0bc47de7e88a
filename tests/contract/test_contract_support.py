"""An unsupported Dask switches the cache off, with one warning, and goes on working."""

from __future__ import annotations

import importlib
import logging

import dask
import distributed
import pytest
from distributed import Client, LocalCluster, Scheduler
from seamless_dask_cache.scheduler_plugin import CachePlugin

import seamless_dask_cache as sdc
from seamless_dask_cache.dask_internals import support

PLUGIN = "seamless-dask-cache"


class Guarded(CachePlugin):
    """A cache that looks at its Dask first."""

    async def start(self, scheduler):
        reason = support.unsupported(scheduler)
        if reason is not None:
            support.switch_off(scheduler, reason)
            return
        await super().start(scheduler)


def double(x):
    return 2 * x


def test_the_installed_release_is_supported(client, on_scheduler):
    """What is installed has everything that is used, on a running scheduler too."""
    assert support.unsupported() is None
    assert on_scheduler(lambda dask_scheduler: support.unsupported(dask_scheduler)) is None


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        (("2025.3.1", "2025.3.1"), "too old; it needs 2025.4"),
        (("2024.12.0", "2026.8.0"), "too old"),
        (("2025.4.0", "2026.8.0"), "do not belong together"),
        (("2025.4.0", "2025.4.1"), None),
        (("2031.1.0", "2031.1.0"), None),
        (("2031.1.0+5.gabcdef", "2031.1.0"), None),
        (("0+unknown", "2031.1.0"), None),
        (("built here", "2031.1.0"), None),
    ],
)
def test_versions_that_are_too_old_or_do_not_fit(versions, words, monkeypatch):
    """Only what is too old, or of two releases, is known by its number."""
    monkeypatch.setattr(dask, "__version__", versions[0])
    monkeypatch.setattr(distributed, "__version__", versions[1])
    reason = support.unsupported()
    assert reason is None if words is None else words in reason


def damage_signature(monkeypatch):
    async def update_graph(self, client, expr_ser, keys, something_new):
        raise AssertionError("it must not be called")

    monkeypatch.setattr(Scheduler, "update_graph", update_graph)


def damage_coroutine(monkeypatch):
    monkeypatch.setattr(Scheduler, "update_graph", lambda self, **message: None)


def damage_method(monkeypatch):
    monkeypatch.delattr(Scheduler, "update_data")


def damage_attribute(monkeypatch):
    monkeypatch.delattr(distributed.scheduler.TaskState, "waiting_on")


def damage_fused_tasks(monkeypatch):
    from seamless_dask_cache.dask_internals import graphs

    monkeypatch.setattr(graphs, "_execute_subgraph", None)


def damage_handing_over(monkeypatch):
    serialize = importlib.import_module("distributed.protocol.serialize")
    monkeypatch.setattr(serialize, "deserialize", lambda header, frames: (header, frames))


DAMAGES = [
    damage_signature,
    damage_coroutine,
    damage_method,
    damage_attribute,
    damage_fused_tasks,
    damage_handing_over,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_missing_or_behaves_otherwise_is_named(damage, monkeypatch):
    """A release that moved something is recognized, whatever its number is."""
    damage(monkeypatch)
    reason = support.unsupported()
    assert "is not supported yet" in reason
    assert dask.__version__ in reason


def test_a_scheduler_without_what_is_replaced_is_not_supported(client, on_scheduler):
    """What only an instance has is looked at where there is one."""

    def judge(dask_scheduler):
        handlers = dict(dask_scheduler.stream_handlers)
        try:
            del dask_scheduler.stream_handlers["update-graph"]
            return support.unsupported(dask_scheduler)
        finally:
            dask_scheduler.stream_handlers.update(handlers)

    assert "the scheduler is not what it was" in on_scheduler(judge)


@pytest.mark.parametrize("damage", ["version", "attribute"])
def test_an_unsupported_dask_works_on_without_the_cache(damage, tmp_path, monkeypatch, caplog):
    """One warning, no handler replaced, right results, and an answer to whoever asks."""
    if damage == "version":
        for module in (dask, distributed):
            monkeypatch.setattr(module, "__version__", "2025.3.0")
    else:
        # What a scheduler can do without.
        monkeypatch.delattr(dask._task_spec.GraphNode, "fuse")
    options = {"n_workers": 1, "processes": False, "dashboard_address": ":0"}
    with LocalCluster(**options, silence_logs=False) as cluster, Client(cluster) as client:
        with caplog.at_level(logging.WARNING):
            client.register_plugin(Guarded(cache_dir=tmp_path / "cache"))
        original = cluster.scheduler.stream_handlers["update-graph"]
        assert original.__func__ is Scheduler.update_graph
        assert client.gather(client.map(double, range(5))) == [0, 2, 4, 6, 8]
        assert dask.delayed(double)(4).compute() == 8
        cache = sdc.Cache(client)
        assert set(cache.stats()) == {"disabled"}
        assert cache.flush(1) is True
        cache.disable()
        assert client.submit(double, 21).result() == 42
    said = [r.getMessage() for r in caplog.records if "The cache is off" in r.getMessage()]
    assert len(said) == 1
    assert not (tmp_path / "cache").exists()
