"""Shallow checksums name inputs by their content, and nothing else by it."""

from __future__ import annotations

import orjson
import pytest
from dask._task_spec import Alias, DataNode, List, Task, TaskRef
from hypothesis import given
from hypothesis import strategies as st

from seamless_dask_cache.dask_internals import expression_of, materialize
from seamless_dask_cache.identity.graph import identify_graph, is_task
from seamless_dask_cache.identity.shallow import shallow_checksum, skeleton_checksum

HEX = "0123456789abcdef" * 4


def one(x):
    return x + 1


def two(x):
    return 1 + x


def join(*args, **kwargs):
    return args, kwargs


def identified(graph):
    found = identify_graph(graph, lambda key: pytest.fail(f"no {key}"))
    assert not found.refused
    return found


def shallow(graph, key, contents):
    found = identified(graph)
    by_checksum = {found.known[name].checksum: content for name, content in contents.items()}
    return shallow_checksum(found.known[key].recipe, by_checksum, found.inner)


def inputs_of(graph, key, found):
    """The transformation checksums of the inputs that other tasks make."""
    entries = [found.known[name] for name in graph[key].dependencies]
    return {entry.checksum for entry in entries if entry.recipe is not None}


def skeleton(graph, key):
    found = identified(graph)
    return skeleton_checksum(found.known[key].recipe, inputs_of(graph, key, found), found.inner)


def graph_of(function, *args, **kwargs):
    first = Task("a", function, 5)
    return {"a": first, "b": Task("b", join, TaskRef("a"), *args, **kwargs)}


def test_however_an_input_was_made_its_content_counts():
    """Two functions with one result lead to one shallow checksum, and to two deep ones."""
    before, after = graph_of(one), graph_of(two)
    assert identified(before).known["b"].checksum != identified(after).known["b"].checksum
    assert shallow(before, "b", {"a": HEX}) == shallow(after, "b", {"a": HEX})
    assert shallow(before, "b", {"a": HEX}) != shallow(before, "b", {"a": HEX[::-1]})
    assert skeleton(before, "b") == skeleton(after, "b")


def test_what_is_not_known_gives_no_checksum():
    """One unknown input is enough."""
    graph = graph_of(one) | {"c": Task("c", join, TaskRef("a"), TaskRef("b"))}
    assert shallow(graph, "c", {"a": HEX}) is None
    assert shallow(graph, "c", {"a": HEX, "b": HEX}) is not None


def test_a_task_without_inputs_has_no_skeleton():
    """Its deep checksum says it all."""
    assert skeleton(graph_of(one), "a") is None


CALLS = [
    lambda a: Task("t", join, a),
    lambda a: Task("t", join, 1, a),
    lambda a: Task("t", join, a, 1),
    lambda a: Task("t", join, a, a),
    lambda a: Task("t", join, x=a),
    lambda a: Task("t", join, y=a),
    lambda a: Task("t", join, transformation=a),
    lambda a: Task("t", join, result=a),
    lambda a: Task("t", join, List(a, 2)),
    lambda a: Task("t", join, List(List(a), 2)),
    lambda a: Task("t", join, Task("u", one, a)),
    lambda a: Task("t", join, Task("u", two, a)),
    lambda a: Task("t", one, a),
    lambda a: Task("t", join, a, {"transformation": HEX}),
    lambda a: Task("t", join, a, {"result": HEX}),
    lambda a: Task("t", join, a, transformation=HEX),
    lambda a: Task("t", join, a, result=HEX),
]


def test_different_calls_differ():
    """The place of an input, its container and the other arguments count as they did."""
    graphs = [{"a": Task("a", one, 5), "t": call(TaskRef("a"))} for call in CALLS]
    assert len({shallow(graph, "t", {"a": HEX}) for graph in graphs}) == len(CALLS)
    assert len({skeleton(graph, "t") for graph in graphs}) == len(CALLS)


@pytest.mark.parametrize("name", ["transformation", "result", "value", "call", "list"])
def test_literals_are_not_taken_for_inputs(name):
    """A text that looks like a checksum stays a text, whatever it is called."""
    deep = identified(graph_of(one)).known["a"].checksum
    for graph in (graph_of(one, {name: deep}), graph_of(one, **{name: deep})):
        known = identified(graph).known["b"]
        assert shallow_checksum(known.recipe, {deep: HEX}, {}) is not None
        assert shallow_checksum(known.recipe, {}, {}) is None
        renamed = shallow(graph, "b", {"a": HEX})
        assert renamed != shallow(graph_of(one, {name: HEX}), "b", {"a": HEX})
        assert renamed != shallow(graph_of(one, **{name: HEX}), "b", {"a": HEX})


def test_aliases_stand_for_their_target():
    """An input through an alias is the same input."""
    plain = {"a": Task("a", one, 5), "t": Task("t", join, TaskRef("a"))}
    through = plain | {"b": Alias("b", "a"), "t": Task("t", join, TaskRef("b"))}
    assert shallow(plain, "t", {"a": HEX}) == shallow(through, "t", {"a": HEX})


def test_the_order_of_a_set_does_not_count():
    """Inputs in a set are sorted by what they are now called."""
    inputs = [{"transformation": HEX}, {"transformation": HEX[::-1]}]
    recipe = orjson.dumps({"args": [{"set": inputs}], "function": "f", "recipe": 1})
    one_way = shallow_checksum(recipe, {HEX: "a" * 64, HEX[::-1]: "b" * 64}, {})
    assert one_way == shallow_checksum(recipe, {HEX: "b" * 64, HEX[::-1]: "a" * 64}, {})
    assert one_way != shallow_checksum(recipe, {HEX: "b" * 64, HEX[::-1]: "b" * 64}, {})


def test_fused_tasks_are_described_down_to_their_inputs():
    """Inside of a fused task, what the inputs are made of counts, and not how they were made."""
    fused = [
        Task.fuse(Task("x", function, TaskRef("a")), Task("y", join, TaskRef("x"), 3))
        for function in (one, one, two)
    ]
    graphs = [
        {"a": Task("a", first, 5), node.key: node}
        for first, node in zip((one, two, one), fused, strict=True)
    ]
    found = [shallow(graph, "y", {"a": HEX}) for graph in graphs]
    assert found[0] == found[1] != found[2]
    assert None not in found


def test_an_input_counts_by_content_though_it_is_inside_of_another_task():
    """A fused task is known inside by its last step, and other tasks take what it gives."""
    fused = Task.fuse(Task("x", one, TaskRef("a")), Task("y", join, TaskRef("x"), 3))
    names = set()
    for first in (one, two):
        graph = {"a": Task("a", first, 5), "y": fused, "z": Task("z", join, TaskRef("y"))}
        names.add((shallow(graph, "z", {"y": HEX}), skeleton(graph, "z")))
    assert len(names) == 1
    assert None not in names.pop()


def test_arrays():
    """Every block of a fused array has a shallow checksum, and they are different ones."""
    import dask.array as da

    x = da.ones((30, 30), chunks=(10, 30)).cumsum(axis=1).map_blocks(one, dtype=float)
    graph, _ = materialize(*expression_of(((x * x).sum(axis=0).rechunk(7).std(),), finalize=True))
    found = identified(graph)
    names, checksums = set(), set()
    for key, identity in found.known.items():
        inputs = inputs_of(graph, key, found) if is_task(graph[key]) else ()
        if inputs:
            contents = {checksum: checksum[::-1] for checksum in inputs}
            names.add(shallow_checksum(identity.recipe, contents, found.inner))
            checksums.add(identity.checksum)
    assert len(names) == len(checksums) > 3
    assert None not in names


def test_files_that_stand_in_a_recipe_go_on_counting(tmp_path):
    """The state of a file that a call or its data names is part of the shallow checksum, too."""
    path = tmp_path / "data.txt"
    found = set()
    for text in ("1", "22"):
        path.write_text(text)
        found.add(shallow(graph_of(one, str(path)), "b", {"a": HEX}))
        graph = graph_of(one) | {"d": DataNode("d", [str(path)])}
        graph["c"] = Task("c", join, TaskRef("a"), TaskRef("d"))
        found.add(shallow(graph, "c", {"a": HEX}))
    assert len(found) == 4


entries = st.recursive(
    st.integers(-9, 9) | st.text(max_size=3) | st.just({"transformation": HEX}),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda x: {"list": x})
        | st.lists(inner, max_size=3).map(lambda x: {"call": {"args": x, "function": "f"}})
    ),
    max_leaves=8,
)


@given(st.lists(entries, max_size=4), st.dictionaries(st.text(max_size=3), entries, max_size=3))
def test_only_references_change(args, kwargs):
    """Wherever references stand, all of them are found, and everything else counts."""
    document = {"args": args, "kwargs": kwargs, "function": "f", "recipe": 1}
    recipe = orjson.dumps(document)
    met = b'"transformation"' in recipe and HEX.encode() in recipe
    assert (skeleton_checksum(recipe, {HEX}, {}) is not None) == met
    assert (shallow_checksum(recipe, {}, {}) is None) == met
    other = orjson.dumps(document | {"function": "g"})
    assert shallow_checksum(recipe, {HEX: HEX}, {}) != shallow_checksum(other, {HEX: HEX}, {})
