"""Edits that change nothing that runs."""

from __future__ import annotations

from code_tables import Edit, edit

KEEPS: dict[str, Edit] = {
    "a comment": edit(
        "def f(x):\n    return x", "    return x", "    # there\n    return x  # yes"
    ),
    "a comment before the function": edit("def f(x): return x", "def f", "# hello\n\ndef f"),
    "a new docstring": edit(
        "def f(x):\n    return [x, None]", "    return", "    'Doc.'\n    return"
    ),
    "an edited docstring": edit("def f(x):\n    'One.'\n    return x", "One", "Two"),
    "a docstring shifts 300 constants": edit(
        "def f(x):\n    pass\n"
        + "".join(f"    x += {i}.5\n" for i in range(300))
        + "    while x > 1:\n        x /= 2\n    return x",
        "    pass\n",
        "    'Doc.'\n",
    ),
    "a class's docstring": edit(
        "class A:\n    'One.'\n    n = 1\ndef f(x): return A.n", "One", "Two"
    ),
    "the docstring of a class inside": edit(
        "def f(x):\n    class A:\n        'One.'\n        n = 1\n    return A.n", "One", "Two"
    ),
    "the docstring of a method": edit(
        "class A:\n    def m(self):\n        'One.'\n        return 1\ndef f(x): return A().m()",
        "One",
        "Two",
    ),
    "the docstring of a module passed on": edit(
        "import helpers\ndef f(x): return getattr(helpers, 'N')\n#: helpers.py\n'One.'\nN = 1",
        "One",
        "Two",
    ),
    "blank lines": edit("def f(x):\n    return x", "def f(x):\n", "\n\n\ndef f(x):\n\n\n"),
    "indentation": edit("def f(x):\n    return x", "    return", " return"),
    "parentheses": edit("def f(x): return x + 1", "x + 1", "(x + 1)"),
    "quotes": edit("def f(x): return 'a'", "'a'", '"a"'),
    "the spelling of a number": edit("def f(x): return x + 1000", "1000", "1_000"),
    "moving the function": edit(
        "def other(): pass\n\n\ndef f(x):\n    class A:\n"
        "        def m(self): return (lambda: 1)()\n    return A().m()\n\n\n",
        "def other(): pass\n\n\n",
        "",
    ),
    "moving the function below another": edit(
        "def f(x): return g(x)\ndef g(x): return x",
        "def f(x): return g(x)\ndef g(x): return x",
        "def g(x): return x\n\n\ndef f(x): return g(x)",
    ),
    "moving the function into another function": edit(
        "def f(x): return [(lambda: x)()]",
        "def f(x): return [(lambda: x)()]",
        "def make():\n    def f(x): return [(lambda: x)()]\n    return f\nf = make()",
    ),
    "moving the function into another module": edit(
        "def g(x): return x\ndef f(x): return g(x)",
        "def g(x): return x\n",
        "#: helpers.py\ndef g(x): return x\n#: program.py\nfrom helpers import g\n",
    ),
    "renaming the module": edit(
        "from helpers import A\ndef f(x): return A().m()\n#: helpers.py\nclass A:\n"
        "    def m(self): return [1, A][0]",
        "helpers",
        "deep",
    ),
    "moving a module into a package": edit(
        "from helpers import g\ndef f(x): return g(x)\n#: helpers.py\ndef g(x): return x",
        "from helpers import g\ndef f(x): return g(x)\n#: helpers.py\n",
        "from pack.helpers import g\ndef f(x): return g(x)\n#: pack/__init__.py\n"
        "#: pack/helpers.py\n",
    ),
    "another function of the module": edit(
        "def other(): return 1\ndef f(x): return x", "return 1", "return 2"
    ),
    "another function of a helper's module": edit(
        "import helpers\ndef f(x): return helpers.g(x)\n#: helpers.py\ndef g(x): return x\n"
        "def other(): return 1",
        "return 1",
        "return 2",
    ),
    "an unused global": edit("N = 1\ndef f(x): return x", "N = 1", "N = 2\nM = 3"),
    "an unused global of a helper's module": edit(
        "import helpers\ndef f(x): return helpers.N\n#: helpers.py\nN = 1\nM = 1",
        "M = 1",
        "M = 2",
    ),
    "the order of imports": edit(
        "import json, math\ndef f(x): return math.pi, json.loads('1')", "json, math", "math, json"
    ),
    "the name of an import": edit(
        "import math\ndef f(x): return math.pi\n", "import math", "import json\nimport math"
    ),
    "an import that is not used": edit("def f(x): return x", "def f", "import colorsys\ndef f"),
    "the order of definitions": edit(
        "def g(x): return x\ndef h(x): return -x\ndef f(x): return g(h(x))",
        "def g(x): return x\ndef h(x): return -x\n",
        "def h(x): return -x\ndef g(x): return x\n",
    ),
    "the order of methods": edit(
        "class A:\n    def m(self): return 1\n    def n(self): return 2\ndef f(x): return A().m()",
        "    def m(self): return 1\n    def n(self): return 2\n",
        "    def n(self): return 2\n    def m(self): return 1\n",
    ),
    "the order of a set": edit(
        "def f(x): return x in {'a', 'b', 'cc'}", "'a', 'b', 'cc'", "'cc', 'b', 'a'"
    ),
    "the order of a global set": edit(
        "S = {'a', 'b', 'cc', 'dd'}\ndef f(x): return x in S",
        "{'a', 'b', 'cc', 'dd'}",
        "set(['dd', 'cc', 'b', 'a'])",
    ),
    "an annotation": edit("def f(x): return x", "(x)", "(x: int) -> float"),
    "an annotation of a helper": edit(
        "def g(x: int): return x\ndef f(x): return g(x)", "int", "float"
    ),
    "an annotation of a variable": edit("def f(x):\n    y: int = x\n    return y", "int", "float"),
    "an annotation of a global": edit("N: int = 1\ndef f(x): return N", "int", "float"),
    "an annotation of a plain class": edit(
        "class A:\n    n: int = 1\ndef f(x): return A.n", "int", "float"
    ),
    "an annotation of a dataclass's method": edit(
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    a: int\n"
        "    def m(self) -> int: return self.a\ndef f(x): return A(x).m()",
        "-> int",
        "-> float",
    ),
    "a type variable's name": edit(
        "from typing import TypeVar\nT = TypeVar('T')\ndef f(x: T) -> T: return x", "'T'", "'S'"
    ),
    "a type-checking import": edit(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import helpers\n"
        "def f(x): return x",
        "helpers",
        "deep",
    ),
    "how a module got its name": edit(
        "import math\nm = math\ndef f(x): return m.pi", "m = math", "m = __import__('math')"
    ),
    "the name of a logger": edit(
        "import logging\nlog = logging.getLogger('a')\ndef f(x):\n    log.info(x)\n    return x",
        "'a'",
        "'b'",
    ),
    "a lock": edit(
        "import threading\nL = threading.Lock()\ndef f(x):\n    with L: return x",
        "L = threading.Lock()\n",
        "L = threading.Lock()\nM = 1\n",
    ),
    "what an abstract class remembers": edit(
        """
import abc
class A(abc.ABC):
    @abc.abstractmethod
    def m(self): ...
class B(A):
    def m(self): return 1
def f(x): return B().m()
""",
        "def f(x)",
        "isinstance(1, A)\ndef f(x)",
    ),
    "what functools.lru_cache remembers": edit(
        "import functools\n@functools.lru_cache\ndef g(x): return x\ndef f(x): return g(x)\n",
        "return g(x)\n",
        "return g(x)\nf(4)\n",
    ),
    "what functools.singledispatch remembers": edit(
        "import functools\n@functools.singledispatch\ndef g(x): return x\n"
        "@g.register\ndef _(x: int): return 1\ndef f(x): return g(x)\n",
        "return g(x)\n",
        "return g(x)\nf(4)\n",
    ),
    "what numba compiled": edit(
        "import numba\n@numba.njit\ndef f(x): return x + 1\n", "+ 1\n", "+ 1\nf(4)\n"
    ),
    "who else uses an installed class": edit(
        "import textwrap\ndef f(x): return textwrap.TextWrapper.wrap.__name__\n",
        "def f",
        "class Mine(textwrap.TextWrapper): pass\ndef f",
    ),
}
