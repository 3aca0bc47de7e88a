"""What this project relies on in Dask and distributed."""

from __future__ import annotations

import inspect

import dask
import pandas as pd
import pytest
from dask._task_spec import Alias, DataNode, Task, TaskRef, _execute_subgraph
from distributed import Scheduler
from distributed.protocol.serialize import deserialize
from distributed.scheduler import _materialize_graph

from seamless_dask_cache.dask_internals import (
    culled,
    expression_of,
    fused_graph,
    hand_over,
    in_order,
    materialize,
)


def increment(x):
    return x + 1


def test_update_graph_takes_the_message_that_is_rewritten():
    """The handler takes the expression, the keys, annotations and actors by these names."""
    parameters = inspect.signature(Scheduler.update_graph).parameters
    assert {"client", "expr_ser", "keys", "annotations", "actors", "stimulus_id"} <= set(parameters)
    assert inspect.iscoroutinefunction(Scheduler.update_graph)


def test_update_graph_deserializes_and_materializes():
    """A graph that is handed over comes out of the scheduler's own calls as the same objects."""
    graph = {"a": Task("a", increment, 1), "b": DataNode("b", 2)}
    packed = hand_over(graph, {"cache": {"a": True}})
    expression = deserialize(packed.header, packed.frames)
    found, *_, annotations = _materialize_graph(expr=expression, validate=False)
    assert found["a"] is graph["a"]
    assert found["b"] is graph["b"]
    assert dict(annotations) == {"cache": {"a": True}}


def test_hooks_are_called_in_the_tick_of_the_update():
    """Nothing is awaited between the new task states, the hook and the first transition."""
    source = inspect.getsource(Scheduler._create_taskstate_from_graph)
    assert source.index("_generate_taskstates") < source.index("plugin.update_graph")
    assert source.index("plugin.update_graph") < source.index("self.transitions(")
    assert "await" not in source.replace("awaiting", "")


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


def test_a_task_can_be_given_back():
    """A task that raises Reschedule is started again, with the run_spec it has by then."""
    source = inspect.getsource(Scheduler._reschedule)
    assert '"released"' in source
    from distributed.worker_state_machine import RescheduleEvent

    assert RescheduleEvent is not None
