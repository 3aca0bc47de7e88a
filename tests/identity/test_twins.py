"""Functions that arrive by value again and again are looked at once, and never taken for others."""

from __future__ import annotations

import math
import types

import cloudpickle
import pytest

from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.twins import twin_key


def function_of(source, module="__main__", **names):
    """A function by value, as it is unpickled from a script's message."""
    namespace = {"__name__": module, "__builtins__": __builtins__, **names}
    exec(source, namespace)
    return namespace["f"]


SOURCE = "def f(x): return math.sqrt(x) + len(str(x))"


def test_copies_of_a_function_are_twins():
    """The same source with the same modules, unpickled twice, is one function."""
    pickled = cloudpickle.dumps(function_of(SOURCE, math=math))
    one, two = cloudpickle.loads(pickled), cloudpickle.loads(pickled)
    assert one is not two
    assert twin_key(one) == twin_key(two) is not None
    identifier = Identifier()
    assert identifier.code(one) is identifier.code(two)
    assert identifier.code(one).checksum == Identifier().code(two).checksum


ALIKE = [
    ("another constant", lambda: function_of(SOURCE.replace("sqrt(x)", "sqrt(x, 1)"), math=math)),
    ("a constant of another type", lambda: function_of("def f(x): return 1.0")),
    ("minus zero", lambda: function_of("def f(x): return -0.0")),
    ("another attribute", lambda: function_of(SOURCE.replace("sqrt", "sin"), math=math)),
    ("another module of that name", lambda: function_of(SOURCE, math=types.ModuleType("math"))),
    ("a builtin in another's place", lambda: function_of(SOURCE, math=math, len=print)),
    ("another module it is in", lambda: function_of(SOURCE, module="other", math=math)),
    ("no such global", lambda: function_of(SOURCE)),
]


@pytest.mark.parametrize("other", [pytest.param(make, id=name) for name, make in ALIKE])
def test_what_differs_is_no_twin(other):
    """Whatever may change what a function does keeps it apart."""
    known = {twin_key(function_of(SOURCE, math=math))}
    known |= {
        twin_key(function_of("def f(x): return 1")),
        twin_key(function_of("def f(x): return 0.0")),
    }
    assert twin_key(other()) not in known - {None}


MORE = [
    "def f(x, y=[]): return x",
    "def f(x, *, y=1): return x",
    "def f(x: int): return x",
    "def g(y):\n    def f(x): return x + y\n    return f\nf = g(1)",
    "def f(x): return x\nf.attribute = 1",
    "helper = abs\ndef f(x): return helper(x)",
    "limit = 3\ndef f(x): return [n for n in range(limit)]",
    "limit = 3\ndef f(x):\n    class A:\n        size = limit\n    return A.size",
    "f = abs",
    "class f: pass",
]


@pytest.mark.parametrize("source", MORE)
def test_what_has_more_than_code_has_no_twins(source):
    """Defaults, closures, annotations, attributes and own globals are looked at each time."""
    assert twin_key(function_of(source)) is None


def test_an_imported_function_has_no_twins():
    """It is one object anyway, and where it comes from counts."""
    assert twin_key(function_of) is None


@pytest.mark.parametrize(("name", "value"), [("helper", abs), ("limit", 3)])
def test_a_global_that_changes_between_two_copies_is_seen(name, value):
    """Two functions with one code and different globals have different identities."""
    source = f"def f(x): return {name}"
    identifier = Identifier()
    one = identifier.code(function_of(source, **{name: value}))
    two = identifier.code(function_of(source, **{name: print if callable(value) else 4}))
    assert one.checksum != two.checksum
