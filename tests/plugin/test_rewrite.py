"""What is handed to the scheduler in the place of what was submitted."""

from __future__ import annotations

import pytest
from clusters import cluster_of, wait_until_forgotten
from seamless_dask_cache.scheduler_plugin.rewrite import HeldTask, is_only_data, rewrite

import seamless_dask_cache as sdc
from seamless_dask_cache.dask_internals import Alias, DataNode, Task, TaskRef
from seamless_dask_cache.identity.graph import GraphIdentity, identify_graph


def double(x):
    return 2 * x


def add(*xs):
    return sum(xs)


def test_what_is_relied_on():
    """Results, and the outermost of the tasks that have none: Dask keeps what those depend on."""
    nodes = [
        Task("a", double, 1),
        Task("b", double, TaskRef("a")),
        Task("c", add, TaskRef("b"), TaskRef("a")),
        Task("d", double, TaskRef("c")),
    ]
    graph = {node.key: node for node in nodes}
    held = {k: HeldTask(graph[k], graph[k].dependencies, k != "a") for k in "abc"}
    plan = rewrite(graph, {"d"}, GraphIdentity(), {}, held=held.get, storing=None, restoring=None)
    assert plan.relied_on == {"c", "a"}


def data_only():
    return Task.fuse(DataNode("inner", [1, 2, 3]), Alias("data", "inner"))


def renamed_input():
    return Task.fuse(Alias("one", "given"), Alias("data", "one"))


NODES = [
    (data_only(), True),
    (renamed_input(), True),
    (Task.fuse(DataNode("inner", 1), Task("data", double, TaskRef("inner"))), False),
    (Task("data", double, 1), False),
    (DataNode("data", 1), False),
]


@pytest.mark.parametrize(("node", "expected"), NODES)
def test_only_fused_tasks_that_run_no_code_are_only_data(node, expected):
    """A task that calls anything is one, whatever its inputs are."""
    identities = identify_graph({"given": DataNode("given", 4), "data": node}, lambda key: None)
    assert is_only_data(node, identities.known["data"]) is expected


@pytest.mark.parametrize("make", [data_only, renamed_input])
def test_fused_data_is_not_stored(cache_dir, make):
    """Nothing is stored of it, cold or warm, and what it feeds is cached as ever."""
    dsk = {"given": DataNode("given", [1, 2, 3]), "data": make()}
    dsk["sum"] = Task("sum", sum, TaskRef("data"))
    for warm in (False, True):
        with cluster_of(dashboard=True) as client:
            cache = sdc.enable(client, cache_dir=cache_dir, min_seconds=0, load_seconds=0)
            first = client.get(dsk, ["data", "sum"], sync=False)
            assert client.gather(first) == [[1, 2, 3], 6]
            assert type(client.cluster.scheduler.tasks["data"].run_spec) is Task
            assert cache.flush(30)
            stats = cache.stats()
            assert (stats["stored"], stats["restored"], stats["errors"]) == (
                (0, 1, 0) if warm else (1, 0, 0)
            )
            assert stats["refused"] == 0
            del first
            wait_until_forgotten(client)
