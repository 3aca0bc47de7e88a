"""What keeps hashing fast, as counts, and that what is reused is the same as what is worked out."""

from __future__ import annotations

import importlib
import os
import sys

import pytest
from dask._task_spec import (
    Alias,
    DataNode,
    Dict,
    List,
    Set,
    Task,
    TaskRef,
    Tuple,
    _execute_subgraph,
    _identity_cast,
)

import seamless_dask_cache as sdc
from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity import callee, code, files
from seamless_dask_cache.identity.callee import Lexicon
from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.describer import Describer
from seamless_dask_cache.identity.graph import identify_graph

TASKS = 50


def increment(x):
    return x + 1


def add(x, *rest, **named):
    return x


def only_known(key):
    raise KeyError(key)


def identify(graph):
    found = identify_graph(graph, only_known)
    assert not found.refused, str(next(iter(found.refused.values())))
    return found


def checksum(node):
    """Give the transformation checksum of a node that stands alone, in a pass of its own."""
    return identify({node.key: node}).known[node.key].checksum


def blocks(inner, output, names, inputs):
    """Make a graph of tasks that are fused with one inner graph, one for each tuple of inputs."""
    graph = {f"in-{n}": DataNode(f"in-{n}", n) for n in range(10)}
    graph |= {f"made-{n}": Task(f"made-{n}", increment, n) for n in range(10)}
    for number, values in enumerate(inputs):
        key = f"block-{number}"
        graph[key] = Task(key, _execute_subgraph, inner, output, names, *values)
    return graph


def block_checksums(graph):
    known = identify(graph).known
    return [identity.checksum for key, identity in known.items() if key.startswith("block")]


def separate_checksums(graph):
    """Describe each block in a pass of its own, where nothing can be reused."""
    rest = {key: node for key, node in graph.items() if not key.startswith("block")}
    return [
        identify({**rest, key: node}).known[key].checksum
        for key, node in graph.items()
        if key.startswith("block")
    ]


def chain():
    """An inner graph of three tasks with two inputs, and literals that could be mistaken."""
    return {
        "c": Task("c", add, TaskRef("b"), "100%b", slice(0, 2), flag=True),
        "b": Task("b", add, TaskRef("a"), TaskRef("x"), List(TaskRef("y"), 3)),
        "a": Task("a", increment, TaskRef("x")),
    }


def pairs(count=8):
    made = [(TaskRef(f"made-{n}"), TaskRef(f"made-{(n * 3) % 10}")) for n in range(count)]
    mixed = [(TaskRef(f"in-{n}"), TaskRef(f"made-{n}")) for n in range(count)]
    return [*made, *mixed, (TaskRef("made-1"), 5), (TaskRef("made-1"), 6)]


@pytest.fixture
def analysed(monkeypatch):
    """Names of the functions that were analysed."""
    names = []
    analyse = code.analyse_function

    def counted(encoder, node, function):
        names.append(function.__name__)
        return analyse(encoder, node, function)

    monkeypatch.setattr(code, "analyse_function", counted)
    return names


def test_a_function_is_analysed_once_per_pass(analysed):
    """However many tasks call it, alone, fused, or as an argument."""
    graph = {n: Task(n, increment, n) for n in range(TASKS)}
    graph |= {f"as argument {n}": Task(f"as argument {n}", add, increment) for n in range(TASKS)}
    graph["fused"] = Task("fused", _execute_subgraph, chain(), "c", ("x", "y"), 1, 2)
    identify(graph)
    assert sorted(analysed) == ["add", "increment"]


def test_a_function_is_asked_once_per_pass(monkeypatch):
    """What it writes, whether it is decorated, and so on."""
    asked = []
    policy = callee.call_policy
    monkeypatch.setattr(callee, "call_policy", lambda one: asked.append(one) or policy(one))
    graph = {n: Task(n, increment, n) for n in range(TASKS)}
    identify(graph | {n: Task(n, add, n) for n in range(TASKS, 2 * TASKS)})
    assert asked == [increment, add]


def test_a_value_is_encoded_once_per_pass():
    """However many tasks it is an argument of."""
    asked = []

    class Model:
        def __seamless_identity__(self):
            asked.append(1)
            return 7

    model = Model()
    identify({n: Task(n, add, n, model) for n in range(TASKS)})
    assert len(asked) == 1


def test_a_refusal_is_worked_out_once_per_pass():
    """What has no identity is not looked through again for each task, and each says why."""
    asked = []

    class Unknown:
        def __seamless_identity__(self):
            asked.append(1)
            raise RefusedError("nobody knows")

    value = Unknown()
    found = identify_graph({n: Task(n, add, n, value) for n in range(TASKS)}, only_known)
    assert len(asked) == 1
    assert {key: refusal.origin for key, refusal in found.refused.items()} == {
        n: n for n in range(TASKS)
    }
    assert all("nobody knows" in str(refusal) for refusal in found.refused.values())


def test_a_path_is_looked_at_once_per_pass(monkeypatch, tmp_path):
    """However many tasks name it."""
    looked_at = []
    state = files.settled_state
    monkeypatch.setattr(files, "settled_state", lambda path: looked_at.append(path) or state(path))
    path = str(tmp_path / "input.csv")
    identify({n: Task(n, add, n, path) for n in range(TASKS)})
    assert looked_at.count(path) == 1


def test_an_inner_graph_of_many_blocks_is_described_twice_at_most(monkeypatch):
    """Once for the first block, and once as a pattern for all others."""
    described = []
    describe = Lexicon.callee
    monkeypatch.setattr(
        Lexicon, "callee", lambda self, task: described.append(1) or describe(self, task)
    )
    inner = chain()
    graph = blocks(inner, "c", ("x", "y"), [(TaskRef("made-1"), n) for n in range(TASKS)])
    identify(graph)
    assert len(described) == 10 + 2 * len(inner)


def test_blocks_of_one_inner_graph_are_what_each_is_by_itself():
    """Data, results and literals as inputs; each block has the identity that it has alone."""
    graph = blocks(chain(), "c", ("x", "y"), pairs())
    found = block_checksums(graph)
    assert found == separate_checksums(graph)
    assert len(set(found)) == len(found)


def test_a_block_is_what_its_tasks_are_unfused():
    """Recipes of the tasks inside are those of the same tasks in the graph."""
    names = ("x", "y")
    fused = identify(blocks(chain(), "c", names, [(TaskRef("made-1"), TaskRef("made-2"))] * 3))
    subs = {"x": "made-1", "y": "made-2"}
    plain = {key: node.substitute(subs) for key, node in chain().items()}
    plain |= {name: Task(name, increment, n) for name, n in (("made-1", 1), ("made-2", 2))}
    unfused = identify(plain).known
    assert fused.known["block-2"].checksum == unfused["c"].checksum
    assert fused.known["block-2"].recipe == unfused["c"].recipe
    for key in ("a", "b"):
        assert fused.inner[unfused[key].checksum].recipe == unfused[key].recipe


@pytest.mark.parametrize(
    "inner",
    [
        {"c": Task("c", add, Set(TaskRef("x"), TaskRef("y"), 1))},
        {
            "c": Task(
                "c",
                _execute_subgraph,
                {"i": Task("i", increment, TaskRef("z"))},
                "i",
                ("z",),
                TaskRef("x"),
            )
        },
        {"c": Alias("c", "x")},
        {"c": DataNode("c", 4)},
        {"c": Task("c", add, TaskRef("d")), "d": DataNode("d", [1, 2])},
        {"c": Task("c", add, Task(None, increment, TaskRef("y")), Dict({"a": TaskRef("x")}))},
    ],
    ids=["set", "fused again", "alias", "data", "data inside", "nested call"],
)
def test_inner_graphs_of_all_kinds_can_be_shared(inner):
    """Where the inputs do more than stand in recipes, each block is described by itself."""
    graph = blocks(inner, "c", ("x", "y"), pairs())
    assert block_checksums(graph) == separate_checksums(graph)


def test_no_placeholder_is_left_in_what_is_known():
    """The identities of tasks inside name transformations that exist."""
    graph = blocks(chain(), "c", ("x", "y"), pairs())
    found = identify(graph)
    known = {identity.checksum for identity in found.known.values()} | set(found.inner)
    for identity in found.inner.values():
        assert sdc.Buffer(identity.recipe).checksum.hex() == identity.checksum
        parts = identity.recipe.decode().split('"transformation": "')[1:]
        assert all(part[:64] in known for part in parts)


def test_the_code_of_a_fused_task_does_not_depend_on_the_order_inside():
    """Another process may come upon the tasks inside of a fused one in another order."""
    inner = {
        "c": Task("c", add, TaskRef("a"), TaskRef("b")),
        "a": Task("a", increment, TaskRef("x")),
        "b": Task("b", abs, TaskRef("x")),
    }
    turned = {key: inner[key] for key in ("b", "a", "c")}
    straight = {key: inner[key] for key in ("a", "b", "c")}
    found = [
        identify({"f": Task("f", _execute_subgraph, graph, "c", ("x",), 1)}).known["f"].code
        for graph in (inner, turned, straight)
    ]
    assert len(set(found)) == 1


def test_values_that_live_shortly_are_told_apart():
    """A value that is gone leaves its address to the next; a pass is not misled."""
    describer = Describer(Identifier())
    found = [describer.data([number] * 20).checksum for number in range(200)]
    assert len(set(found)) == 200


def test_a_value_at_the_address_of_a_refused_one_is_not_refused():
    """What was refused stays alive as long as the refusal is remembered."""
    describer = Describer(Identifier())
    for number in range(100):
        with pytest.raises(RefusedError):
            describer.data([object()] * 20)
        describer.data([number] * 20)


LITERALS = [
    *(1, True, 1.0, "1", None, "", 0, False, -0.0, 0.0),
    *((1,), [1], (True,), (1.0,), ("1",), (None,), {1: None}, {1}, frozenset({1}), b"1"),
    *((), [], {}, ((),), ([],), [()], [[]], ({},), [None], slice(None), (slice(None),)),
    *(slice(0, 1), (0, 1, None), slice(0, 1, 1), slice(0, True), slice("a", "b"), slice(0.0, 1)),
    *((0.0,), (-0.0,), (float("inf"),), (float("nan"),), {"a": 1}, ("a", 1), (("a", 1),)),
    *({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": {"b": 1}}, {"a": (1,)}, {"a": [1]}),
    *({"tuple": [1]}, {"list": [1]}, {"slice": [0, 1, None]}, [["slice", [0, 1, None]]]),
    *([2**70], [-(2**70)], [{"int": hex(2**70)}], ["\ud800"], [{"str": "eda080"}]),
    *(list(range(16)), list(range(17)), tuple(range(16)), tuple(range(17)), range(16)),
    *(["x" * 200], ["x" * 201], [[[1]]], [[(1,)]], [([1],)], [[[[1]]]], [[[[1.0]]]]),
    *((1, (2, 3)), ((1, 2), 3), (1, 2, 3), [1, [2, 3]], (int,), (Ellipsis,), (2j,)),
]


def test_small_literals_are_told_apart():
    """By type and content, whether they stand in the recipe or are named by a checksum."""
    found = {}
    for number, value in enumerate(LITERALS):
        found.setdefault(checksum(Task("t", increment, value)), []).append(LITERALS[number])
    assert [values for values in found.values() if len(values) > 1] == []


def test_small_literals_are_told_apart_as_data():
    """The same for data that stands alone."""
    assert len({checksum(DataNode("d", value)) for value in LITERALS}) == len(LITERALS)


def test_equal_literals_are_one():
    """Two objects of the same content give the same recipe."""
    for first, second in (
        ((1, slice(0, 2)), tuple([1, slice(0, 2)])),
        ({"a": [1, 2.5]}, dict(a=[1, 2.5])),
        ([2**40, "wo" + "rd"], [2**40, "".join(["wo", "rd"])]),
    ):
        assert first is not second
        assert checksum(Task("t", add, first)) == checksum(Task("t", add, second))


def test_a_cyclic_list_does_not_stand_in_a_recipe():
    """It has the identity that its canonical encoding gives it."""
    cyclic = [1]
    cyclic.append(cyclic)
    other = [2]
    other.append(other)
    assert checksum(Task("t", add, cyclic)) != checksum(Task("t", add, other))


@pytest.mark.parametrize(
    ("node", "cast", "literal"),
    [
        (List(1, 2), Task(None, _identity_cast, 1, 2, typ=list), [1, 2]),
        (Tuple(1, 2), Task(None, _identity_cast, 1, 2, typ=tuple), (1, 2)),
        (
            Dict({"a": 1}),
            Task(None, Dict.to_container, "a", 1, constructor=Dict.constructor),
            {"a": 1},
        ),
    ],
    ids=["list", "tuple", "dict"],
)
def test_a_container_is_the_same_however_dask_writes_it(node, cast, literal):
    """As a node, as the call that Dask makes of a node, and as a literal."""
    assert checksum(Task("t", add, node)) == checksum(Task("t", add, cast))
    assert checksum(Task("t", add, node)) == checksum(Task("t", add, literal))


def test_a_container_made_by_another_call_is_a_call():
    """Only what makes exactly a list, a tuple or a set is taken for one."""

    class Words(list):
        pass

    assert checksum(Task("t", add, Task(None, _identity_cast, 1, typ=Words))) != checksum(
        Task("t", add, [1])
    )


def test_a_path_in_a_container_of_the_graph_counts(tmp_path):
    """A list of paths that stands in the graph by itself changes with the files."""
    path = tmp_path / "input.csv"
    path.write_text("1")
    graph = {"paths": List(TaskRef("one"), str(path)), "one": Task("one", increment, 1)}
    graph["paths"].key = "paths"
    before = identify(graph).known["paths"]
    os.utime(path, (1, 1))
    after = identify(graph).known["paths"]
    assert before.checksum != after.checksum
    assert dict(after.covers).keys() == {str(path)}


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module on disk, and what edits it."""
    path = tmp_path / "edited_between_passes.py"
    source = "LIMIT = [1]\ndef helper(x): return x + 1\ndef f(x): return helper(x) + LIMIT[0]\n"
    path.write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module(path.stem), path
    sys.modules.pop(path.stem)


def change_global(module, path):
    module.LIMIT = [2]


def mutate_global(module, path):
    module.LIMIT[0] = 2


def patch(module, path):
    module.helper = increment


def reload(module, path):
    path.write_text(path.read_text().replace("x + 1", "x + 22"))
    importlib.invalidate_caches()
    importlib.reload(module)


@pytest.mark.parametrize("edit", [change_global, mutate_global, patch, reload])
def test_the_next_pass_sees_what_changed(module, edit):
    """Nothing that can change is remembered from one graph to the next."""
    imported, path = module
    before = checksum(Task("t", imported.f, 1))
    assert checksum(Task("t", imported.f, 1)) == before
    edit(imported, path)
    assert checksum(Task("t", imported.f, 1)) != before
