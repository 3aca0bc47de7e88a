"""What changes in one process between two passes is seen by the second."""

from __future__ import annotations

import importlib
import os
import sys
import textwrap

import numpy as np
import pytest

from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity import Identifier, callables, code_checksum

_PROGRAM = """
import functools
import helpers
from helpers import low

N = 1
LIST = [1]
DICT = {"a": 1}
SET = {1}
def g(x, y=1, *, z=1): return x + y + z
class A:
    n = 1
    def m(self): return 1
    @property
    def p(self): return 1
class B(A): pass
OBJECT = B()
def make(n):
    def inner(x): return x + n
    return inner
inner = make(1)
part = functools.partial(g, y=1)
@functools.singledispatch
def generic(x): return x
TABLE = {"g": lambda x: x}
def f(x):
    import local_helpers
    return (N, LIST, DICT, SET, ARRAY, g(x), A().m(), OBJECT.n, inner(x), part(x), generic(x),
            TABLE["g"](x), helpers.high(x), low(x), local_helpers.g(x))
"""
_HELPERS = "M = 1\ndef low(x): return x + M\ndef high(x): return low(x)\n"


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Run the program in a namespace, as a notebook does."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "helpers.py").write_text(_HELPERS)
    (tmp_path / "local_helpers.py").write_text("def g(x): return x\n")
    importlib.invalidate_caches()
    names = {"__name__": "__main__", "ARRAY": np.arange(4)}
    exec(compile(_PROGRAM, "<ipython-input-1-abc>", "exec"), names)
    yield names
    for name in ("helpers", "local_helpers"):
        sys.modules.pop(name, None)


def _in(names, statement):
    exec(compile(textwrap.dedent(statement), "<ipython-input-2-abc>", "exec"), names)


_STATEMENTS = {
    "a global is bound anew": "N = 2",
    "a global is deleted": "del N",
    "a list grows": "LIST.append(2)",
    "a dict gets another value": "DICT['a'] = 2",
    "a set gets a member": "SET.add(2)",
    "an array changes in place": "ARRAY[0] = 7",
    "a lambda in a dict": "TABLE['g'] = lambda x: -x",
    "a helper is defined anew": "def g(x, y=1, *, z=1): return x - y - z",
    "the code of a helper": "g.__code__ = (lambda x, y=1, *, z=1: x - y).__code__",
    "a default": "g.__defaults__ = (2,)",
    "a keyword default": "g.__kwdefaults__['z'] = 2",
    "an attribute of a function": "g.note = 2",
    "a closure's cell": "inner.__closure__[0].cell_contents = 2",
    "a method": "A.m = lambda self: 2",
    "the code of a method": "A.m.__code__ = (lambda self: 2).__code__",
    "a class attribute": "A.n = 2",
    "an attribute of a subclass": "B.n = 2",
    "a new base": "class C(A):\n    k = 1\nB.__bases__ = (C,)",
    "a property": "A.p = property(lambda self: 2)",
    "an attribute of an object": "OBJECT.n = 2",
    "the class of an object": "class C(A): n = 3\nOBJECT.__class__ = C",
    "an argument of a partial": "part.keywords['y'] = 2",
    "a registration": "generic.register(int)(lambda x: -x)",
    "a constant of a module": "helpers.M = 2",
    "a function of a module": "helpers.high = lambda x: -x",
    "a helper of a module's function": "helpers.low = lambda x: -x",
    "a function of a module that is imported inside": """
        import sys
        sys.modules["local_helpers"].g = lambda x: -x
    """,
    "a module is replaced": """
        import sys, types
        sys.modules["local_helpers"] = types.SimpleNamespace(g=abs)
    """,
}


@pytest.mark.parametrize("name", _STATEMENTS)
def test_a_change_between_two_passes_is_seen(program, name):
    f = program["f"]
    before = code_checksum(f)
    assert code_checksum(f) == before
    _in(program, _STATEMENTS[name])
    assert code_checksum(f) != before


def test_within_one_pass_a_function_is_analysed_once(program):
    identifier = Identifier()
    before = identifier.code(program["f"])
    _in(program, "N = 2")
    assert identifier.code(program["f"]) is before


def test_an_undone_change_is_a_hit_again(program):
    before = code_checksum(program["f"])
    _in(program, "N = 2\nA.n = 3\nLIST.append(1)")
    changed = code_checksum(program["f"])
    _in(program, "N = 1\nA.n = 1\nLIST.pop()")
    assert code_checksum(program["f"]) == before != changed


@pytest.mark.parametrize("name", ["helpers", "local_helpers"])
def test_a_reload_after_an_edit_is_seen(program, tmp_path, name):
    before = code_checksum(program["f"])
    module = sys.modules[name]
    path = tmp_path / f"{name}.py"
    path.write_text(path.read_text().replace("return x", "return 2 * x"))
    importlib.reload(module)
    assert code_checksum(program["f"]) != before


def test_a_reload_without_an_edit_keeps_the_checksum(program):
    before = code_checksum(program["f"])
    importlib.reload(sys.modules["local_helpers"])
    assert code_checksum(program["f"]) == before


def test_a_name_that_a_reload_leaves_behind_is_still_what_runs(program, tmp_path):
    """``from helpers import low`` keeps the old function until the cell runs again."""
    low = {"__name__": "__main__"}
    exec("from helpers import low\ndef f(x): return low(x)", low)
    before = code_checksum(low["f"])
    path = tmp_path / "helpers.py"
    path.write_text(_HELPERS.replace("x + M", "x * M"))
    importlib.reload(sys.modules["helpers"])
    assert code_checksum(low["f"]) == before
    exec("from helpers import low", low)
    assert code_checksum(low["f"]) != before


def test_an_environment_variable_is_read_anew(monkeypatch):
    def f(x):
        return os.environ.get("SDC_PASS")

    found = []
    for value in ("a", "b"):
        monkeypatch.setenv("SDC_PASS", value)
        found.append(code_checksum(f))
    assert found[0] != found[1]


def test_a_patch_of_an_installed_module_is_seen(monkeypatch):
    def f(x):
        return np.sum(x)

    before = code_checksum(f)
    monkeypatch.setattr(np, "sum", lambda x: 7)
    assert code_checksum(f) != before
    monkeypatch.undo()
    assert code_checksum(f) == before


def test_a_patch_of_an_installed_class_is_seen(monkeypatch):
    import pandas as pd

    def f(frame):
        return frame.median()

    before = code_checksum(f)
    monkeypatch.setattr(pd.DataFrame, "median", lambda self: 7)
    patched = code_checksum(f)
    monkeypatch.setattr(pd.DataFrame, "median", lambda self: 8)
    assert len({before, patched, code_checksum(f)}) == 3
    monkeypatch.undo()
    assert code_checksum(f) == before


def test_a_function_that_numba_compiled_keeps_its_globals():
    """numba takes the value of a global when it compiles; afterwards another one is not used."""
    names: dict[str, object] = {"__name__": "__main__"}
    exec("import numba\nN = 1\n@numba.njit\ndef f(x): return x + N", names)
    before = code_checksum(names["f"])
    assert names["f"](1) == 2
    assert code_checksum(names["f"]) == before
    names["N"] = 2
    assert names["f"](1) == 2
    with pytest.raises(RefusedError, match="other values of N"):
        code_checksum(names["f"])


def test_a_function_that_numba_has_not_compiled_follows_its_globals():
    names: dict[str, object] = {"__name__": "__main__"}
    exec("import numba\nN = 1\n@numba.njit\ndef f(x): return x + N", names)
    before = code_checksum(names["f"])
    names["N"] = 2
    assert code_checksum(names["f"]) != before
    assert names["f"](1) == 3


@pytest.mark.skipif(sys.version_info < (3, 11), reason="boundaries came with Python 3.11")
def test_the_boundary_of_a_flag_counts():
    found = set()
    for boundary in ("STRICT", "CONFORM"):
        names: dict[str, object] = {"__name__": "__main__"}
        exec(f"import enum\nclass E(enum.Flag, boundary=enum.{boundary}):\n a = 1", names)
        found.add(code_checksum(names["E"]))
    assert len(found) == 2


def test_a_compiled_class_of_no_distribution_is_refused(monkeypatch):
    """As Cython makes one from a file that was compiled in place."""
    kind = np.random.Generator
    monkeypatch.setattr(callables, "home_of", lambda subject: None)
    with pytest.raises(RefusedError, match="belongs to no installed distribution"):
        Identifier().code(kind)
