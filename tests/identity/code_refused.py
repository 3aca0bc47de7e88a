"""Programs whose ``f`` is refused, with the reason, because no edit of them could be seen."""

from __future__ import annotations

REFUSED: dict[str, tuple[str, str]] = {
    "np.frompyfunc": (
        "import numpy as np\nf = np.frompyfunc(lambda x: x, 1, 1)",
        "ufunc",
    ),
    "numba.cfunc": (
        "import numba\n@numba.cfunc('f8(f8)')\ndef g(x): return x\ndef f(x): return g.ctypes(x)",
        "an address in memory",
    ),
    "a numba function compiled before it was seen, with globals": (
        "import numba\nN = 1\n@numba.njit\ndef f(x): return x + N\nf(1)",
        "numba compiled f before the cache saw it",
    ),
    "a numba function compiled with another helper": (
        "import numba\n@numba.njit\ndef g(x): return x + 1\n@numba.njit\ndef f(x): return g(x)\n"
        "f(1)\n@numba.njit\ndef g(x): return x + 2",
        "numba compiled f with another definition of g",
    ),
    "a weak reference to a function": (
        "import weakref\ndef g(x): return x\nr = weakref.ref(g)\ndef f(x): return r()(x)",
        "a weak reference",
    ),
    "the code object of a function": (
        "def g(): pass\nc = g.__code__\ndef f(x): return c.co_firstlineno",
        "code",
    ),
}
"""Name: program and a part of the reason."""

EFFECTS: dict[str, tuple[str, str]] = {
    "eval and exec": ("def f(x): return eval('x')", "builtins.eval"),
    "importlib.import_module": (
        "import importlib\ndef f(x): return importlib.import_module('math').pi",
        "importlib.import_module",
    ),
    "a pandas expression, a global, that names a global": (
        "import pandas as pd\nN = 1\nE = 'a > @N'\n"
        "def f(x): return len(pd.DataFrame({'a': [x]}).query(E))",
        ".query of the global N",
    ),
    "a pandas expression put together that names a global": (
        "import pandas as pd\nN = 1\n"
        "def f(x):\n    c = 'a'\n    return len(pd.DataFrame({'a': [x]}).query(f'{c} > @N'))",
        ".query of the global N",
    ),
    "a pandas expression, a default, that names a global": (
        "import pandas as pd\nN = 1\n"
        "def f(x, e='b = a + @N'): return len(pd.DataFrame({'a': [x]}).eval(e))",
        ".eval of the global N",
    ),
    "pandas.eval": (
        "import pandas as pd\nN = 1\ndef f(x): return pd.eval('N + 1')",
        "pandas.eval",
    ),
    "an assignment to a global": (
        "N = 0\ndef f(x):\n    global N\n    N += 1\n    return N",
        "an assignment to the global N",
    ),
    "an assignment to a variable of the closure": (
        "def make():\n    n = 0\n    def f(x):\n        nonlocal n\n        n += 1\n"
        "        return n\n    return f\nf = make()",
        "an assignment to the closure's n",
    ),
    "an assignment to an attribute of a global": (
        "class A: n = 0\ndef f(x):\n    A.n = x\n    return A.n",
        "an assignment to an attribute of A",
    ),
    "counting in an attribute of a global": (
        "class A: n = 0\ndef f(x):\n    A.n += 1\n    return A.n",
        "an assignment to an attribute of A",
    ),
    "a patch made by the function": (
        "import helpers\ndef f(x):\n    helpers.N = x\n    return helpers.g()\n#: helpers.py\n"
        "N = 1\ndef g(): return N",
        "an assignment to an attribute of helpers",
    ),
    "the docstring of something unseen": (
        "def f(x): return x.__doc__",
        ".__doc__ of something unseen",
    ),
    "the docstring of a function inside": (
        "def f(x):\n    def g():\n        'one'\n    return g.__doc__",
        ".__doc__ of something unseen",
    ),
    "annotations of something unseen": (
        "import typing\ndef f(x): return typing.get_type_hints(x)",
        "typing.get_type_hints of something unseen",
    ),
    "the module of something unseen": (
        "def f(x): return type(x).__module__",
        ".__module__ of something unseen",
    ),
    "the line number of a function": (
        "def f(x): return x.__code__.co_firstlineno",
        ".__code__ of something unseen",
    ),
    "the source of a function": (
        "import inspect\ndef g(): pass\ndef f(x): return inspect.getsource(g)",
        "inspect.getsource",
    ),
}
"""Name: program and the name of the effect."""
