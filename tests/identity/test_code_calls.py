"""What identifies a call beyond the code of what is called."""

from __future__ import annotations

import functools
import operator
from operator import add, mul, sub

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask._task_spec import Task, TaskRef, _execute_subgraph
from dask.utils import M

from seamless_dask_cache import cached
from seamless_dask_cache.identity.graph import identify_graph

FRAME = pd.DataFrame({"x": range(3)})


def only_known(key):
    raise KeyError(key)


def identify(graph):
    return identify_graph(graph, only_known)


def identity(function, *args, **kwargs):
    found = identify({"t": Task("t", function, *args, **kwargs)})
    assert not found.refused, str(found.refused)
    return found.known["t"]


def checksum(function, *args, **kwargs):
    return identity(function, *args, **kwargs).checksum


# Extensions of installed classes ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (getattr, (FRAME, "sdc_mine")),
        (operator.attrgetter("sdc_mine.name"), (FRAME,)),
        (operator.methodcaller("sdc_mine"), (FRAME,)),
        (M.sdc_mine, (FRAME,)),
    ],
    ids=["getattr", "attrgetter", "methodcaller", "M"],
)
def test_a_patch_that_a_call_names_by_a_string_counts(function, args, monkeypatch):
    """Whether the string is an argument, or lies in what is called."""
    monkeypatch.setattr(pd.DataFrame, "sdc_mine", lambda self: 1, raising=False)
    before = checksum(function, *args)
    monkeypatch.setattr(pd.DataFrame, "sdc_mine", lambda self: 2)
    assert checksum(function, *args) != before


def test_a_patch_that_no_call_names_does_not_count(monkeypatch):
    before = checksum(getattr, FRAME, "shape")
    monkeypatch.setattr(pd.DataFrame, "sdc_mine", lambda self: 1, raising=False)
    assert checksum(getattr, FRAME, "shape") == before


# What the user said -------------------------------------------------------------------------------


class Model:
    @cached(expires=60, ignore=["loud"])
    def go(self, x, loud=False):
        return input(x)


@cached(expires=5)
def soon(x, y=0):
    return x


def test_a_cached_method_keeps_what_the_user_said():
    """It expires, is trusted, and its ignored parameters do not count."""
    found = identity(Model().go, 1)
    assert found.expires == 60
    assert found.checksum == checksum(Model().go, 1, loud=True) == checksum(Model.go, Model(), 1)
    assert found.checksum != checksum(Model().go, 2)


def test_a_partial_call_of_a_cached_function_is_that_call():
    assert identity(functools.partial(soon, 1)).expires == 5
    assert checksum(functools.partial(soon, 1), 2) == checksum(soon, 1, 2) == checksum(soon, 1, y=2)
    assert checksum(functools.partial(soon, y=3), 1, y=2) == checksum(soon, 1, 2)


def test_a_caller_expires_with_the_cached_function_that_it_calls():
    """The first of several; also for one in a container, and one that is an argument."""
    table = [cached(expires=7)(add)]

    def calls(x):
        return table[0](soon(x), 1)

    assert identity(calls, 1).expires == 5
    assert identity(lambda x: table, 1).expires == 7
    assert identity(map, soon, [1]).expires == 5
    assert identity(sorted, [1], key=[soon]).expires == 5
    assert identity(cached(expires=60)(calls), 1).expires == 5
    assert identity(cached(calls), 1).expires == 5


# The forms of calls -------------------------------------------------------------------------------


def passing_on(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return list(kwargs), function(*args, **kwargs)

    return wrapper


@passing_on
def wrapped(x=1, y=2):
    return x - y


def test_the_order_of_keywords_counts_where_a_wrapper_sees_it():
    assert checksum(wrapped, x=1, y=2) != checksum(wrapped, y=2, x=1)
    assert checksum(cached(wrapped), x=1, y=2) != checksum(cached(wrapped), y=2, x=1)
    assert checksum(wrapped.__wrapped__, x=1, y=2) == checksum(wrapped.__wrapped__, y=2, x=1)


def test_the_defaults_of_a_wrapped_function_are_not_those_of_its_wrapper():
    @functools.wraps(wrapped)
    def other(x=1, y=5):
        return wrapped(x, y)

    assert checksum(cached(other), 1) == checksum(cached(other), 1, 5)
    assert checksum(cached(other), 1) != checksum(cached(other), 1, 2)


def test_a_parameter_of_a_wrapped_function_can_be_ignored():
    function = cached(ignore=["y"])(wrapped)
    assert checksum(function, 1, y=2) == checksum(function, 1, 3) == checksum(function, 1)
    assert checksum(function, 1) != checksum(function, 2)


def test_a_seed_counts_by_the_parameters_of_the_wrapper():
    """Not by those of the function that it wraps."""

    def inner(x, seed):
        return x

    @functools.wraps(inner)
    def outer(seed, x):
        return np.random.default_rng(seed).random()

    assert "t" in identify({"t": Task("t", outer, None, 3)}).refused
    assert "t" in identify({"t": Task("t", outer, 3, None)}).known


def test_a_generator_with_a_visible_seed_is_pure():
    assert checksum(np.random.default_rng, 3) != checksum(np.random.default_rng, 4)
    assert checksum(np.random.default_rng, seed=3)


@pytest.mark.parametrize("args", [(), (None,), (TaskRef("seed"),)], ids=["no", "None", "made"])
def test_a_generator_without_a_visible_seed_is_refused(args):
    graph = {"seed": Task("seed", add, 1, 2), "t": Task("t", np.random.default_rng, *args)}
    assert "t" in identify(graph).refused


# Fused tasks and producers ------------------------------------------------------------------------


def test_tasks_that_share_an_inner_graph_differ_by_their_outputs():
    inner = {"s": Task("s", add, TaskRef("x"), 1), "p": Task("p", mul, TaskRef("x"), 10)}
    graph = {"a": Task("a", add, 2, 3)}
    for key, output in zip("uvwz", "sspp", strict=True):
        graph[key] = Task(key, _execute_subgraph, inner, output, ("x",), TaskRef("a"))
    known = identify(graph).known
    assert known["u"].checksum == known["v"].checksum != known["w"].checksum
    assert known["w"].checksum == known["z"].checksum


def test_tasks_that_share_an_inner_graph_differ_by_the_order_of_inputs():
    inner = {"d": Task("d", sub, TaskRef("x"), TaskRef("y"))}
    graph = {"a": Task("a", add, 2, 3), "b": Task("b", add, 4, 5)}
    for key, names in zip("uvw", [("x", "y"), ("x", "y"), ("y", "x")], strict=True):
        graph[key] = Task(key, _execute_subgraph, inner, "d", names, TaskRef("a"), TaskRef("b"))
    known = identify(graph).known
    assert known["u"].checksum == known["v"].checksum != known["w"].checksum


def from_map(load, addresses):
    frame = dd.from_map(load, addresses, meta=pd.DataFrame({"x": [1]}))
    return identify(dict(frame.optimize(fuse=False).__dask_graph__()))


def loaders(line):
    """The same function twice, a comment apart."""
    places: list[dict] = [{"pd": pd}, {"pd": pd}]
    for number, place in enumerate(places):
        text = f"{line * number}def load(i): return pd.DataFrame({{'x': [i]}})"
        exec(compile(text, "loaders.py", "exec"), place)
    return [place["load"] for place in places]


def test_a_frame_made_by_the_users_function_has_the_identity_of_its_code():
    """And not of the token of the graph, which changes with each comment."""
    found = [from_map(load, [1, 2]) for load in loaders("# there\n")]
    sums = [sorted(identity.checksum for identity in one.known.values()) for one in found]
    assert sums[0] == sums[1] != []


def test_a_frame_made_by_the_users_function_of_remote_addresses_is_refused():
    def load(address):
        return pd.DataFrame({"x": [len(address)]})

    assert from_map(load, ["memory://a.csv", "memory://b.csv"]).refused
