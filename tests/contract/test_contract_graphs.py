"""What the cache relies on in graphs: their nodes, and how they travel."""

from __future__ import annotations

import dask
import pandas as pd
import pytest
from dask._task_spec import (
    Alias,
    DataNode,
    GraphNode,
    Task,
    TaskRef,
    _execute_subgraph,
    parse_input,
)
from distributed.protocol.serialize import deserialize
from distributed.scheduler import _materialize_graph

from seamless_dask_cache.dask_internals import (
    container_made_by,
    convert_legacy_graph,
    culled,
    execute_graph,
    expression_of,
    fused_graph,
    hand_over,
    in_order,
    materialize,
)


def increment(x):
    return x + 1


def test_update_graph_deserializes_and_materializes():
    """A graph that is handed over comes out of the scheduler's own calls as the same objects."""
    graph = {"a": Task("a", increment, 1), "b": DataNode("b", 2)}
    packed = hand_over(graph, {"cache": {"a": True}})
    expression = deserialize(packed.header, packed.frames)
    found, *_, annotations = _materialize_graph(expr=expression, validate=False)
    assert found["a"] is graph["a"]
    assert found["b"] is graph["b"]
    assert dict(annotations) == {"cache": {"a": True}}


def test_fused_tasks_show_their_inner_graph():
    """Task.fuse keeps inner tasks, the output key and the inputs."""
    first = Task("first", increment, TaskRef("outside"))
    second = Task("second", increment, first.ref())
    fused = Task.fuse(first, second)
    assert fused.func is _execute_subgraph
    found = fused_graph(fused)
    assert found.output == "second"
    assert set(found.inner) == {"first", "second"}
    assert [source.key for source in found.inputs.values()] == ["outside"]
    assert fused_graph(first) is None


def test_in_order_puts_dependencies_first():
    """Every key comes once, after what it depends on; a cycle is an error."""
    graph = {
        "c": Task("c", sum, TaskRef("b"), TaskRef("a")),
        "b": Task("b", increment, TaskRef("a")),
        "a": DataNode("a", 1),
    }
    assert list(in_order(graph)) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="cycle"):
        list(in_order({"x": Alias("x", "y"), "y": Alias("y", "x")}))


def test_expressions_of_all_collections_materialize():
    """What compute would submit becomes a graph of nodes for every kind of collection."""
    import dask.array as da
    import dask.bag as db
    import dask.dataframe as dd

    collections = (
        dask.delayed(increment)(1),
        da.ones(4, chunks=2).sum(),
        db.from_sequence([1, 2]).sum(),
        dd.from_pandas(pd.DataFrame({"x": [1, 2]}), npartitions=2).x.sum(),
    )
    for collection in collections:
        expression, keys = expression_of((collection,), finalize=True)
        graph, _ = materialize(expression, set(keys))
        assert set(keys) <= set(graph)
        assert set(list(in_order(graph))) == set(graph)


def test_culling_keeps_what_is_upstream():
    """The part of a graph that makes a key, and nothing else."""
    graph = {
        "a": Task("a", increment, 1),
        "b": Task("b", increment, TaskRef("a")),
        "other": Task("other", increment, 5),
    }
    assert set(culled(graph, {"b"})) == {"a", "b"}


def power(base, *, exponent=2, **rest):
    return base**exponent


@pytest.mark.parametrize("of_task", [False, True])
def test_keywords_of_delayed_calls_are_keywords_of_the_task(of_task):
    """A delayed call is the call of its function in every release, also with tasks as keywords."""
    inner = dask.delayed(increment)(1)
    given = {"key": 1, "exponent": inner if of_task else 2, "more": [inner] if of_task else []}
    expression, keys = expression_of((dask.delayed(power)(5, **given),), finalize=True)
    graph, _ = materialize(expression, set(keys))
    node = graph[keys[0]]
    assert (node.func, node.args, set(node.kwargs)) == (power, (5,), set(given))
    assert node.dependencies == ({inner.key} if of_task else frozenset())
    assert execute_graph(graph, keys=keys)[keys[0]] == 25


@pytest.mark.parametrize("kind", [list, tuple, set, dict])
def test_containers_of_tasks_are_recognized(kind):
    """A node that makes a container of its arguments says which, as it is and within a graph."""
    content = {"k": TaskRef("a")} if kind is dict else kind([TaskRef("a"), "x"])
    task = Task("t", len, parse_input(content))
    (node,) = task.args
    assert container_made_by(node) is kind
    assert container_made_by(task) is None
    assert task.dependencies == {"a"}


def test_graphs_of_old_become_nodes():
    """Tuples that call a function become tasks, names of others references, the rest data."""
    graph = convert_legacy_graph({"a": 1, "b": (increment, "a"), "c": "b", "d": [(increment, "b")]})
    kinds = {key: type(node) for key, node in graph.items()}
    assert (kinds["a"], kinds["b"], kinds["c"]) == (DataNode, Task, Alias)
    assert graph["d"].dependencies == {"b"}
    assert execute_graph(graph, keys=["c", "d"]) == {"c": 2, "d": [3]}


def test_a_node_of_our_own_is_a_node_to_dask():
    """A subclass needs a key, dependencies, a call with values, and copy and substitute."""

    class Own(GraphNode):
        __slots__ = ()

        def __init__(self, key, dependencies):
            self.key = key
            self._dependencies = frozenset(dependencies)

        def __call__(self, values=()):
            return sum(values[key] for key in self.dependencies)

        def copy(self):
            return Own(self.key, self.dependencies)

        def substitute(self, subs, key=None):
            return Own(key or self.key, [subs.get(d, d) for d in self.dependencies])

    graph = {"a": DataNode("a", 1), "b": DataNode("b", 2), "own": Own("own", ["a", "b"])}
    assert convert_legacy_graph(graph)["own"] is graph["own"]
    assert execute_graph(graph, keys=["own"]) == {"own": 3}


def test_reading_from_outside_is_marked():
    """Tasks that read say so, and keep the mark when they are fused."""
    reading = Task("reading", increment, 1, _data_producer=True)
    assert reading.data_producer
    assert not Task("t", increment, 1).data_producer
    assert Task.fuse(reading, Task("second", increment, reading.ref())).data_producer
