"""Edits that change what runs: callables that wrap others, libraries, code that reads code."""

from __future__ import annotations

from code_tables import Edit, edit

CALLABLES: dict[str, Edit] = {
    "__call__ of a callable instance": edit(
        "class A:\n    def __call__(self, x): return x\nf = A()", "return x", "return -x"
    ),
    "the state of a callable instance": edit(
        "class A:\n    def __init__(self, n): self.n = n\n"
        "    def __call__(self, x): return self.n\n"
        "f = A(1)",
        "A(1)",
        "A(2)",
    ),
    "the object of a bound method": edit(
        "class A:\n    def __init__(self, n): self.n = n\n    def m(self, x): return self.n\n"
        "f = A(1).m",
        "A(1)",
        "A(2)",
    ),
    "types.MethodType": edit(
        "import types\nclass A: n = 1\ndef g(self, x): return self.n\nf = types.MethodType(g, A())",
        "n = 1",
        "n = 2",
    ),
    "a decorator": edit(
        """
import functools
def d(g):
    @functools.wraps(g)
    def w(x): return g(x) + 1
    return w
@d
def f(x): return x
""",
        "+ 1",
        "+ 2",
    ),
    "a decorated function": edit(
        """
import functools
def d(g):
    @functools.wraps(g)
    def w(x): return g(x)
    return w
@d
def f(x): return x
""",
        "return x\n",
        "return -x\n",
    ),
    "what __wrapped__ leads to": edit(
        """
import functools
def d(g):
    @functools.wraps(g)
    def w(x): return 0
    return w
@d
def g(x): return x + 1
def f(x): return g.__wrapped__(x)
""",
        "+ 1",
        "+ 2",
    ),
    "a decorator's argument": edit(
        """
def d(n):
    def decorate(g):
        return lambda x: g(x) + n
    return decorate
@d(1)
def f(x): return x
""",
        "@d(1)",
        "@d(2)",
    ),
    "an argument of functools.partial": edit(
        "import functools\ndef g(x, y): return y\nf = functools.partial(g, y=1)", "y=1", "y=2"
    ),
    "the function of functools.partial": edit(
        "import functools\ndef g(x, y): return x\nf = functools.partial(g, y=1)",
        "return x",
        "return y",
    ),
    "a function in functools.lru_cache": edit(
        "import functools\n@functools.lru_cache\ndef g(x): return x\ndef f(x): return g(x)",
        "return x\n",
        "return -x\n",
    ),
    "functools.singledispatch, a registration": edit(
        "import functools\n@functools.singledispatch\ndef f(x): return x\n"
        "@f.register\ndef _(x: int): return 1",
        "return 1",
        "return 2",
    ),
    "functools.singledispatch by annotation": edit(
        "import functools\n@functools.singledispatch\ndef f(x): return x\n"
        "@f.register\ndef _(x: int): return 1",
        "int",
        "float",
    ),
    "functools.singledispatchmethod": edit(
        "import functools\nclass A:\n    @functools.singledispatchmethod\n"
        "    def m(self, x): return x\n    @m.register\n    def _(self, x: int): return 1\n"
        "def f(x): return A().m(x)",
        "return 1",
        "return 2",
    ),
    "functools.partialmethod": edit(
        "import functools\nclass A:\n    def m(self, n): return n\n"
        "    k = functools.partialmethod(m, 1)\ndef f(x): return A().k()",
        "m, 1",
        "m, 2",
    ),
    "functools.reduce over a lambda": edit(
        "import functools\ndef f(x): return functools.reduce(lambda a, b: a + b, [x, x])",
        "a + b",
        "a * b",
    ),
    "contextlib.contextmanager": edit(
        "import contextlib\n@contextlib.contextmanager\ndef c():\n    yield 1\n"
        "def f(x):\n    with c() as n: return n",
        "yield 1",
        "yield 2",
    ),
    "operator.itemgetter": edit(
        "import operator\ng = operator.itemgetter(1)\ndef f(x): return g('abc')", "(1)", "(2)"
    ),
    "operator.attrgetter": edit("import operator\nf = operator.attrgetter('real')", "real", "imag"),
    "operator.methodcaller": edit(
        "import operator\nf = operator.methodcaller('__add__', 1)", "1)", "2)"
    ),
    "a bound method of a builtin": edit("g = 'a'.join\ndef f(x): return g('xy')", "'a'", "'b'"),
    "a bound method of a list": edit("f = [1, 2, 3, 4].__getitem__", "4]", "5]"),
    "a numpy ufunc": edit("import numpy as np\nf = np.negative", "negative", "sqrt"),
    "a method of a ufunc": edit(
        "import numpy as np\ng = np.add.reduce\ndef f(x): return g([x, x])", "add", "multiply"
    ),
    "np.vectorize": edit("import numpy as np\nf = np.vectorize(lambda x: x)", "x: x", "x: -x"),
    "np.vectorize's output type": edit(
        "import numpy as np\nf = np.vectorize(lambda x: x, otypes='f')", "'f'", "'d'"
    ),
    "toolz.curry": edit("import toolz\n@toolz.curry\ndef f(x): return x", "return x", "return -x"),
    "toolz.compose": edit("import toolz\nf = toolz.compose(str, lambda x: x)", "x: x", "x: -x"),
    "numba.njit": edit("import numba\n@numba.njit\ndef f(x): return x + 1", "+ 1", "+ 2"),
    "numba.njit, a global": edit(
        "import numba\nN = 1\n@numba.njit\ndef f(x): return x + N", "N = 1", "N = 2"
    ),
    "numba.njit, a helper": edit(
        "import numba\n@numba.njit\ndef g(x): return x + 1\n@numba.njit\ndef f(x): return g(x)",
        "+ 1",
        "+ 2",
    ),
    "numba.vectorize": edit(
        "import numba\n@numba.vectorize\ndef g(x): return x + 1\ndef f(x): return g(x)",
        "+ 1",
        "+ 2",
    ),
    "numba.vectorize with a signature": edit(
        "import numba\n@numba.vectorize(['f8(f8)'])\ndef g(x): return x + 1\ndef f(x): return g(x)",
        "+ 1",
        "+ 2",
    ),
    "numba.guvectorize": edit(
        "import numba, numpy as np\n@numba.guvectorize(['(f8[:], f8[:])'], '(n)->(n)')\n"
        "def g(x, y):\n    y[0] = x[0] + 1\ndef f(x): return g(np.ones(1))",
        "+ 1",
        "+ 2",
    ),
    "a pydantic.validate_call annotation": edit(
        "import pydantic\n@pydantic.validate_call\ndef f(x: int): return x", "int", "float"
    ),
    "which Cython function": edit(
        "from scipy.special import cython_special as c\ndef f(x): return float(c.j0(x))",
        "j0",
        "j1",
    ),
}

READING: dict[str, Edit] = {
    "a docstring that is read": edit(
        "def g():\n    'one'\ndef f(x): return g.__doc__", "one", "two"
    ),
    "a class's docstring that is read": edit(
        "class A:\n    'one'\ndef f(x): return A.__doc__", "one", "two"
    ),
    "a method's docstring that is read": edit(
        "class A:\n    def m(self):\n        'one'\ndef f(x): return A.m.__doc__", "one", "two"
    ),
    "the docstring that a method reads": edit(
        "class A:\n    'one'\n    def m(self): return self.__doc__\ndef f(x): return A().m()",
        "one",
        "two",
    ),
    "the docstring that an inherited method reads": edit(
        "class B:\n    def m(self): return type(self).__doc__\nclass A(B):\n    'one'\n"
        "def f(x): return A().m()",
        "one",
        "two",
    ),
    "the module's docstring": edit("'one'\ndef f(x): return __doc__", "one", "two"),
    "__annotations__ of a function": edit(
        "def g(y: int): pass\ndef f(x): return sorted(map(str, g.__annotations__.items()))",
        "int",
        "float",
    ),
    "__annotations__ of a class": edit(
        "class A:\n    a: int\ndef f(x): return str(A.__annotations__)", "int", "float"
    ),
    "typing.get_type_hints of a function": edit(
        "import typing\ndef g(y: int): pass\ndef f(x): return str(typing.get_type_hints(g))",
        "y: int",
        "y: float",
    ),
    "typing.get_type_hints of a class": edit(
        "from typing import get_type_hints\nclass A:\n    a: int\n"
        "def f(x): return str(get_type_hints(A))",
        "a: int",
        "a: float",
    ),
    "inspect.signature": edit(
        "import inspect\ndef g(y: int): pass\ndef f(x): return str(inspect.signature(g))",
        "int",
        "float",
    ),
    "annotations that a decorator reads": edit(
        """
def checked(g):
    kinds = dict(g.__annotations__)
    return lambda x: kinds["x"](g(x))
@checked
def f(x: int): return x
""",
        "int",
        "float",
    ),
    "annotations that a wrapper reads": edit(
        "def checked(g):\n    return lambda x: g.__annotations__['x'](g(x))\n@checked\n"
        "def f(x: int): return x",
        "int",
        "float",
    ),
    "annotations that a method reads": edit(
        "class A:\n    a: int\n    def m(self): return str(self.__annotations__)\n"
        "def f(x): return A().m()",
        "int",
        "float",
    ),
    "annotations that an inherited method reads": edit(
        "class B:\n    def m(self): return str(type(self).__annotations__)\n"
        "class A(B):\n    a: int\ndef f(x): return A().m()",
        "int",
        "float",
    ),
    "a class's module": edit(
        "from helpers import A\ndef f(x): return A.__module__\n#: helpers.py\nclass A: pass\n"
        "#: deep.py\nclass A: pass",
        "from helpers",
        "from deep",
    ),
    "subclasses, asked of type": edit(
        "class B: pass\nclass A(B): n = 1\n"
        "def f(x): return [kind.n for kind in type.__subclasses__(B)]",
        "n = 1",
        "n = 2",
    ),
    "the number of a line": edit(
        "def g(): pass\ndef f(x): return g.__code__.co_firstlineno", "def g", "\n\ndef g"
    ),
}
