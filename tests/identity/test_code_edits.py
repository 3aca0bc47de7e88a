"""Pairs of programs: an edit that changes what runs, and one that does not.

Every program is identified in two fresh interpreters with different hash seeds, each as an imported
module and as ``__main__``, and in the second one also as unpickled from what cloudpickle wrote in
the first. All of these must agree.
"""

from __future__ import annotations

# ruff: noqa: E501 - tables of programs and values
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_RUNNER = """
import contextlib, importlib, json, pathlib, sys, types
import cloudpickle
from seamless_dask_cache.identity import Identifier

root, load = pathlib.Path(sys.argv[1]), sys.argv[2] == "load"
plain = set(sys.modules)
report = {}

def identify(function):
    return Identifier().code(function).checksum.hex()

for folder in sorted(root.iterdir()):
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    found = report[folder.name] = {}
    original = sys.modules["__main__"]
    try:
        found["imported"] = identify(importlib.import_module("program").f)
        main = types.ModuleType("__main__")
        main.__package__ = None
        source = (folder / "program.py").read_text()
        if not (folder / "package").is_dir():
            sys.modules["__main__"] = main
            exec(compile(source, "<notebook>", "exec"), main.__dict__)
            found["main"] = identify(main.f)
            shipped = folder / "f.pickle"
            if load:
                sys.modules["__main__"] = types.ModuleType("__main__")
                # Others it ships by name: lru_cache, toolz.curry.
                with contextlib.suppress(FileNotFoundError, AttributeError):
                    function = cloudpickle.loads(shipped.read_bytes())
                    found["shipped"] = identify(function)
            else:
                # Some programs cloudpickle can't ship: a lock, a single-dispatch function.
                with contextlib.suppress(TypeError):
                    shipped.write_bytes(cloudpickle.dumps(main.f))
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"
    finally:
        sys.modules["__main__"] = original
        sys.path.remove(str(folder))
        for name in set(sys.modules) - plain:
            if name.partition(".")[0] in ("program", "helpers", "deep", "package", "colorsys"):
                del sys.modules[name]
print(json.dumps(report))
"""

# name -> (program, edited program); a program is the text of program.py or {file: text}
CHANGES: dict[str, tuple[object, object]] = {
    "own name": ("def f(x): return x", "def g(x): return x\nf = g"),
    "body": ("def f(x): return x + 1", "def f(x): return x - 1"),
    "constant": ("def f(x): return x + 1", "def f(x): return x + 2"),
    "constant type": ("def f(x): return x + 1", "def f(x): return x + 1.0"),
    "constant bool": ("def f(x): return x + 1", "def f(x): return x + True"),
    "negative zero": ("def f(x): return x + 0.0", "def f(x): return x + -0.0"),
    "default": ("def f(x, y=1): return x + y", "def f(x, y=2): return x + y"),
    "keyword default": ("def f(x, *, y=1): return x", "def f(x, *, y=2): return x"),
    "parameter name": ("def f(x, y): return x", "def f(x, z): return x"),
    "global constant": ("N = 1\ndef f(x): return x + N", "N = 2\ndef f(x): return x + N"),
    "global list": ("N = [1]\ndef f(x): return x + N[0]", "N = [2]\ndef f(x): return x + N[0]"),
    "global dict": (
        "N = {'a': {1, 2}}\ndef f(x): return N[x]",
        "N = {'a': {1, 3}}\ndef f(x): return N[x]",
    ),
    "global becomes builtin": (
        "def f(x): return len(x)",
        "def len(x): return 3\ndef f(x): return len(x)",
    ),
    "helper": (
        "def g(x): return x\ndef f(x): return g(x)",
        "def g(x): return -x\ndef f(x): return g(x)",
    ),
    "helper in nested lambda": (
        "def g(x): return x\ndef f(x): return [(lambda y: g(y))(z) for z in x]",
        "def g(x): return -x\ndef f(x): return [(lambda y: g(y))(z) for z in x]",
    ),
    "helper two modules away": (
        {
            "program": "import helpers\ndef f(x): return helpers.clean(x)",
            "helpers": "from deep import low\ndef clean(x): return low(x)",
            "deep": "def low(x): return x",
        },
        {
            "program": "import helpers\ndef f(x): return helpers.clean(x)",
            "helpers": "from deep import low\ndef clean(x): return low(x)",
            "deep": "def low(x): return x.lower()",
        },
    ),
    "module attribute": (
        {"program": "import helpers as h\ndef f(x): return x + h.N", "helpers": "N = 1"},
        {"program": "import helpers as h\ndef f(x): return x + h.N", "helpers": "N = 2"},
    ),
    "star import": (
        {"program": "from helpers import *\ndef f(x): return N", "helpers": "N = 1"},
        {"program": "from helpers import *\ndef f(x): return N", "helpers": "N = 2"},
    ),
    "module passed on": (
        {"program": "import helpers\ndef f(x): return getattr(helpers, x)", "helpers": "N = 1"},
        {"program": "import helpers\ndef f(x): return getattr(helpers, x)", "helpers": "N = 2"},
    ),
    "import inside": (
        {
            "program": "def f(x):\n import helpers\n return helpers.g(x)",
            "helpers": "def g(x): return x",
        },
        {
            "program": "def f(x):\n import helpers\n return helpers.g(x)",
            "helpers": "def g(x): return -x",
        },
    ),
    "import as inside": (
        {
            "program": "def f(x):\n import helpers as h\n return h.g(x)",
            "helpers": "def g(x): return x",
        },
        {
            "program": "def f(x):\n import helpers as h\n return h.g(x)",
            "helpers": "def g(x): return -x",
        },
    ),
    "from import inside": (
        {
            "program": "def f(x):\n from helpers import g as q\n return q(x)",
            "helpers": "def g(x): return x",
        },
        {
            "program": "def f(x):\n from helpers import g as q\n return q(x)",
            "helpers": "def g(x): return -x",
        },
    ),
    "relative import inside": (
        {
            "program": "from package.main import f",
            "package/__init__": "",
            "package/main": "def f(x):\n from . import part\n return part.g(x)",
            "package/part": "def g(x): return x",
        },
        {
            "program": "from package.main import f",
            "package/__init__": "",
            "package/main": "def f(x):\n from . import part\n return part.g(x)",
            "package/part": "def g(x): return -x",
        },
    ),
    "submodule as inside": (
        {
            "program": "from package.main import f",
            "package/__init__": "",
            "package/main": "def f(x):\n import package.part as p\n return p.g(x)",
            "package/part": "def g(x): return x",
        },
        {
            "program": "from package.main import f",
            "package/__init__": "",
            "package/main": "def f(x):\n import package.part as p\n return p.g(x)",
            "package/part": "def g(x): return -x",
        },
    ),
    "closure": (
        "def make(n):\n def f(x): return x + n\n return f\nf = make(1)",
        "def make(n):\n def f(x): return x + n\n return f\nf = make(2)",
    ),
    "closure over module": (
        {
            "program": "def make():\n import helpers\n def f(x): return helpers.g(x)\n return f\nf = make()",
            "helpers": "def g(x): return x",
        },
        {
            "program": "def make():\n import helpers\n def f(x): return helpers.g(x)\n return f\nf = make()",
            "helpers": "def g(x): return -x",
        },
    ),
    "method": (
        "class A:\n def m(self): return 1\ndef f(x): return A().m()",
        "class A:\n def m(self): return 2\ndef f(x): return A().m()",
    ),
    "base class method": (
        "class B:\n def m(self): return 1\nclass A(B): pass\ndef f(x): return A().m()",
        "class B:\n def m(self): return 2\nclass A(B): pass\ndef f(x): return A().m()",
    ),
    "super": (
        "class B:\n def m(self): return 1\nclass A(B):\n def m(self): return super().m()\ndef f(x): return A().m()",
        "class B:\n def m(self): return 2\nclass A(B):\n def m(self): return super().m()\ndef f(x): return A().m()",
    ),
    "property": (
        "class A:\n @property\n def m(self): return 1\ndef f(x): return A().m",
        "class A:\n @property\n def m(self): return 2\ndef f(x): return A().m",
    ),
    "cached property": (
        "from functools import cached_property as c\nclass A:\n @c\n def m(self): return 1\ndef f(x): return A().m",
        "from functools import cached_property as c\nclass A:\n @c\n def m(self): return 2\ndef f(x): return A().m",
    ),
    "static method": (
        "class A:\n @staticmethod\n def m(): return 1\ndef f(x): return A.m()",
        "class A:\n @staticmethod\n def m(): return 2\ndef f(x): return A.m()",
    ),
    "class attribute": (
        "class A: n = 1\ndef f(x): return A.n",
        "class A: n = 2\ndef f(x): return A.n",
    ),
    "class inside": (
        "def f(x):\n class A:\n  n = 1\n return A.n",
        "def f(x):\n class A:\n  n = 2\n return A.n",
    ),
    "slots": (
        "class A: __slots__ = ('a',)\ndef f(x): return A()",
        "class A: __slots__ = ('b',)\ndef f(x): return A()",
    ),
    "metaclass": (
        "class M(type):\n def __len__(c): return 1\nclass A(metaclass=M): pass\ndef f(x): return len(A)",
        "class M(type):\n def __len__(c): return 2\nclass A(metaclass=M): pass\ndef f(x): return len(A)",
    ),
    "dataclass field type": (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n a: int = 1\ndef f(x): return A()",
        "from dataclasses import dataclass\n@dataclass\nclass A:\n a: float = 1\ndef f(x): return A()",
    ),
    "dataclass field order": (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n a: int\n b: int\ndef f(x): return A(1, 2)",
        "from dataclasses import dataclass\n@dataclass\nclass A:\n b: int\n a: int\ndef f(x): return A(1, 2)",
    ),
    "enum value": (
        "import enum\nclass E(enum.Enum):\n a = 1\n b = 3\ndef f(x): return E.a",
        "import enum\nclass E(enum.Enum):\n a = 2\n b = 3\ndef f(x): return E.a",
    ),
    "named tuple": (
        "from typing import NamedTuple\nclass P(NamedTuple):\n a: int = 1\ndef f(x): return P()",
        "from typing import NamedTuple\nclass P(NamedTuple):\n a: int = 2\ndef f(x): return P()",
    ),
    "call of an instance": (
        "class A:\n def __call__(self, x): return x\nf = A()",
        "class A:\n def __call__(self, x): return -x\nf = A()",
    ),
    "state of an instance": (
        "class A:\n def __init__(s, n): s.n = n\n def __call__(s, x): return s.n\nf = A(1)",
        "class A:\n def __init__(s, n): s.n = n\n def __call__(s, x): return s.n\nf = A(2)",
    ),
    "bound method": (
        "class A:\n def __init__(s, n): s.n = n\n def m(s, x): return s.n\nf = A(1).m",
        "class A:\n def __init__(s, n): s.n = n\n def m(s, x): return s.n\nf = A(2).m",
    ),
    "decorator": (
        "import functools\ndef d(g):\n @functools.wraps(g)\n def w(x): return g(x) + 1\n return w\n@d\ndef f(x): return x",
        "import functools\ndef d(g):\n @functools.wraps(g)\n def w(x): return g(x) + 2\n return w\n@d\ndef f(x): return x",
    ),
    "decorated": (
        "import functools\ndef d(g):\n @functools.wraps(g)\n def w(x): return g(x)\n return w\n@d\ndef f(x): return x",
        "import functools\ndef d(g):\n @functools.wraps(g)\n def w(x): return g(x)\n return w\n@d\ndef f(x): return -x",
    ),
    "partial": (
        "import functools\ndef g(x, y): return x\nf = functools.partial(g, y=1)",
        "import functools\ndef g(x, y): return x\nf = functools.partial(g, y=2)",
    ),
    "partial function": (
        "import functools\ndef g(x, y): return x\nf = functools.partial(g, y=1)",
        "import functools\ndef g(x, y): return y\nf = functools.partial(g, y=1)",
    ),
    "lru cache": (
        "import functools\n@functools.lru_cache\ndef g(x): return x\ndef f(x): return g(x)",
        "import functools\n@functools.lru_cache\ndef g(x): return -x\ndef f(x): return g(x)",
    ),
    "singledispatch": (
        "import functools\n@functools.singledispatch\ndef f(x): return x\n@f.register\ndef _(x: int): return 1",
        "import functools\n@functools.singledispatch\ndef f(x): return x\n@f.register\ndef _(x: int): return 2",
    ),
    "lambda in a dict": (
        "T = {'a': lambda x: x}\ndef f(x): return T['a'](x)",
        "T = {'a': lambda x: -x}\ndef f(x): return T['a'](x)",
    ),
    "generator function": (
        "def g():\n yield 1\ndef f(x): return list(g())",
        "def g():\n yield 2\ndef f(x): return list(g())",
    ),
    "async function": (
        "async def g(): return 1\ndef f(x): return g",
        "async def g(): return 2\ndef f(x): return g",
    ),
    "self recursion": (
        "def f(x): return x and f(x - 1)",
        "def f(x): return x and f(x - 2)",
    ),
    "mutual recursion": (
        "def g(x): return x and f(x - 1)\ndef f(x): return x and g(x - 1)",
        "def g(x): return x and f(x - 2)\ndef f(x): return x and g(x - 1)",
    ),
    "itemgetter": (
        "import operator\nf = operator.itemgetter(1)",
        "import operator\nf = operator.itemgetter(2)",
    ),
    "method of a builtin": ("f = 'a'.join", "f = 'b'.join"),
    "ufunc": ("import numpy as np\nf = np.add", "import numpy as np\nf = np.subtract"),
    "vectorize": (
        "import numpy as np\nf = np.vectorize(lambda x: x)",
        "import numpy as np\nf = np.vectorize(lambda x: -x)",
    ),
    "toolz curry": (
        "import toolz\n@toolz.curry\ndef f(x, y): return x",
        "import toolz\n@toolz.curry\ndef f(x, y): return y",
    ),
    "toolz compose": (
        "import toolz\nf = toolz.compose(len, lambda x: x)",
        "import toolz\nf = toolz.compose(len, lambda x: [x])",
    ),
    "monkeypatched library": (
        "import colorsys\ndef f(x): return colorsys.rgb_to_hls(x)",
        "import colorsys\ndef g(x): return 'x'\ncolorsys.rgb_to_hls = g\ndef f(x): return colorsys.rgb_to_hls(x)",
    ),
    "environment variable": (
        "import os\nos.environ['SDC_TEST'] = 'a'\ndef f(x): return os.environ['SDC_TEST']",
        "import os\nos.environ['SDC_TEST'] = 'b'\ndef f(x): return os.environ['SDC_TEST']",
    ),
    "name that appears": ("def f(x): return HUGO", "HUGO = None\ndef f(x): return HUGO"),
    "exception handler": (
        "def f(x):\n try: return x()\n except ValueError: return 1",
        "def f(x):\n try: return x()\n except TypeError: return 1",
    ),
}

SAME: dict[str, tuple[object, object]] = {
    "comment": ("def f(x):\n return x", "# hello\ndef f(x):\n # there\n return x  # yes"),
    "docstring": ("def f(x):\n return [x, None]", "def f(x):\n 'Doc.'\n return [x, None]"),
    "edited docstring": ("def f(x):\n 'A.'\n return x", "def f(x):\n 'B.'\n return x"),
    "class docstring": (
        "class A:\n 'A'\n n = 1\ndef f(x): return A",
        "class A:\n 'B'\n n = 1\ndef f(x): return A",
    ),
    "docstring of a class inside": (
        "def f(x):\n class A:\n  'A'\n  n = 1\n return A",
        "def f(x):\n class A:\n  'B'\n  n = 1\n return A",
    ),
    "blank lines": ("def f(x):\n return x", "\n\n\ndef f(x):\n\n\n return x"),
    "moved": (
        "def f(x):\n class A:\n  def m(s): return (lambda: 1)()\n return A().m()\ndef other(): pass",
        "def other(): pass\n\n\ndef f(x):\n class A:\n  def m(s): return (lambda: 1)()\n return A().m()",
    ),
    "other function": (
        "def o(): return 1\ndef f(x): return x",
        "def o(): return 2\ndef p(): pass\ndef f(x): return x",
    ),
    "unused global": ("N = 1\ndef f(x): return x", "N = 2\nM = 3\ndef f(x): return x"),
    "import order": (
        "import json, math\ndef f(x): return math.pi, json.loads",
        "import math, json\ndef f(x): return math.pi, json.loads",
    ),
    "annotation": ("def f(x): return x", "def f(x: int) -> float: return x"),
    "set order": (
        "def f(x): return x in {'a', 'b', 'cc'}",
        "def f(x): return x in {'cc', 'b', 'a'}",
    ),
    "order of keyword defaults in a set": (
        "S = {'a', 'b', 'cc', 'dd'}\ndef f(x): return x in S",
        "S = set(['dd', 'cc', 'b', 'a'])\ndef f(x): return x in S",
    ),
    "nested in another function": (
        "def f(x): return [lambda: x]",
        "def make():\n def f(x): return [lambda: x]\n return f\nf = make()",
    ),
    "unused part of a module": (
        {"program": "import helpers\ndef f(x): return helpers.N", "helpers": "N = 1\nM = 1"},
        {"program": "import helpers\ndef f(x): return helpers.N", "helpers": "N = 1\nM = 2"},
    ),
    "from module or here": (
        {
            "program": "from helpers import g\ndef f(x): return g(x)",
            "helpers": "def g(x): return x",
        },
        {"program": "def g(x): return x\ndef f(x): return g(x)"},
    ),
    "module renamed": (
        {
            "program": "from helpers import A\ndef f(x): return A",
            "helpers": "class A:\n def m(s): return A",
        },
        {
            "program": "from deep import A\ndef f(x): return A",
            "deep": "class A:\n def m(s): return A",
        },
    ),
    "logger": (
        "import logging\nlog = logging.getLogger('a')\ndef f(x): log.info(x); return x",
        "import logging\nlog = logging.getLogger('b')\ndef f(x): log.info(x); return x",
    ),
    "lock": (
        "import threading\nL = threading.Lock()\ndef f(x):\n with L: return x",
        "import threading\nL = threading.Lock()\nM = 1\ndef f(x):\n with L: return x",
    ),
    "abstract class": (
        "import abc\nclass A(abc.ABC):\n @abc.abstractmethod\n def m(s): ...\nclass B(A):\n def m(s): return 1\ndef f(x): return B()",
        "import abc\nclass A(abc.ABC):\n @abc.abstractmethod\n def m(s): ...\nclass B(A):\n def m(s): return 1\nisinstance(1, A)\ndef f(x): return B()",
    ),
}


def _write(folder: Path, program: object) -> None:
    files = program if isinstance(program, dict) else {"program": program}
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(text))


@pytest.fixture(scope="session")
def reports(tmp_path_factory):
    """Identify every program in two interpreters."""
    root = tmp_path_factory.mktemp("programs")
    for kind, cases in (("changes", CHANGES), ("same", SAME)):
        for name, pair in cases.items():
            for side, program in zip(("before", "after"), pair, strict=True):
                _write(root / f"{kind}-{name}-{side}".replace(" ", "_"), program)
    return [_run(root, "1", "dump"), _run(root, "271828", "load")]


def _run(root: Path, seed: str, mode: str) -> dict[str, dict[str, str]]:
    answer = subprocess.run(
        [sys.executable, "-c", _RUNNER, str(root), mode],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def _checksum(reports, case: str) -> str:
    found = [report[case.replace(" ", "_")] for report in reports]
    assert not [item["error"] for item in found if "error" in item]
    checksums = {way: value for item in found for way, value in item.items()}
    assert len({value for item in found for value in item.values()}) == 1, checksums
    return checksums["imported"]


@pytest.mark.parametrize("name", CHANGES)
def test_an_edit_of_what_runs_changes_the_checksum(reports, name):
    """Whatever can change a result changes the identity, and all ways of shipping code agree."""
    before = _checksum(reports, f"changes-{name}-before")
    assert before != _checksum(reports, f"changes-{name}-after")


@pytest.mark.parametrize("name", SAME)
def test_an_edit_for_people_keeps_the_checksum(reports, name):
    """What only people read does not enter the identity."""
    assert _checksum(reports, f"same-{name}-before") == _checksum(reports, f"same-{name}-after")
