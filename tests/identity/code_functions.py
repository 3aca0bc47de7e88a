"""Edits that change what runs: functions, and the names that they use."""

from __future__ import annotations

from code_tables import Edit, edit

FUNCTIONS: dict[str, Edit] = {
    "the body": edit("def f(x): return x + 1", "x + 1", "x - 1"),
    "a constant": edit("def f(x): return x + 1", "1", "2"),
    "the type of a constant": edit("def f(x): return x + 1", "1", "1.0"),
    "1 to True": edit("def f(x): return [x, 1]", "1", "True"),
    "the sign of a zero": edit("def f(x): return x * 0, 0.0", "0.0", "-0.0"),
    "a string constant": edit("def f(x): return 'a'", "'a'", "'b'"),
    "a string to bytes": edit("def f(x): return 'a'", "'a'", "b'a'"),
    "a constant within a tuple": edit("def f(x): return (1, (2, 3))", "3", "4"),
    "the order of a tuple": edit("def f(x): return (1, 2)", "(1, 2)", "(2, 1)"),
    "a set of constants": edit("def f(x): return x in {1, 3}", "3", "4"),
    "the function's own name": edit(
        "def f(x): return f.__name__\n", "f.__name__\n", "f.__name__\nf.__name__ = 'g'\n"
    ),
    "a default": edit("def f(x, y=1): return x + y", "y=1", "y=2"),
    "a keyword default": edit("def f(x, *, y=1): return x + y", "y=1", "y=2"),
    "a parameter's name": edit("def f(x, **k): return g(y=x)\ndef g(**k): return k", "(y", "(z"),
    "a parameter becomes variadic": edit("def f(x): return x", "(x)", "(*x)"),
    "an operator": edit("def f(x): return x < 3", "<", "<="),
    "an f-string": edit("def f(x): return f'{x}'", "{x}", "{x!r:>3}"),
    "an f-string's helper": edit(
        "def g(x): return x + 1\ndef f(x): return f'{g(x)}'", "x + 1", "x + 2"
    ),
    "an exception handler": edit(
        """
def f(x):
    try:
        return x()
    except ValueError:
        return 1
    except TypeError:
        return 2
""",
        "TypeError",
        "OSError",
    ),
    "the caught user's error": edit(
        """
class Bad(ValueError): pass
def f(x):
    try:
        raise ValueError
    except Bad:
        return 1
    except ValueError:
        return 2
""",
        "class Bad(ValueError): pass",
        "Bad = ValueError",
    ),
    "a match pattern": edit(
        """
class P:
    __match_args__ = ("a", "b")
    a, b = 1, 2
def f(x):
    match P():
        case P(1, y):
            return y
""",
        '"a", "b"',
        '"a", "a"',
    ),
    "a walrus": edit("def f(x): return [y := x, y + 1]", "y + 1", "y + 2"),
    "a comprehension's global": edit("N = 1\ndef f(x): return [y + N for y in [x]]", "1", "2"),
    "a nested function": edit(
        "def f(x):\n    def g(y): return y + 1\n    return g(x)", "y + 1", "y + 2"
    ),
    "a nested function's default": edit(
        "N = 1\ndef f(x):\n    def g(y=N): return y\n    return g()", "N = 1", "N = 2"
    ),
    "a helper of a nested lambda": edit(
        "def g(x): return x\ndef f(x): return [(lambda y: g(y))(z) for z in [x]]",
        "return x\n",
        "return -x\n",
    ),
    "a generator function": edit("def g():\n    yield 1\ndef f(x): return list(g())", "1", "2"),
    "a function becomes a generator": edit(
        "def g(x):\n    return [x]\ndef f(x): return type(g(x)).__name__", "return [x]", "yield x"
    ),
    "an async function": edit(
        "async def g(): return 1\ndef f(x):\n    try:\n        g().send(None)\n"
        "    except StopIteration as end:\n        return end.value",
        "return 1",
        "return 2",
    ),
    "recursion": edit("def f(x): return x > 0 and x + f(x - 1)", "x - 1", "x - 2"),
    "mutual recursion": edit(
        "def g(x): return x > 0 and x + f(x - 1)\ndef f(x): return x > 0 and g(x - 1)",
        "x + f",
        "x * f",
    ),
    "a closure": edit(
        "def make(n):\n    def f(x): return x + n\n    return f\nf = make(1)", "(1)", "(2)"
    ),
    "a list in a closure": edit(
        "def make(n):\n    def f(x): return x + n[0]\n    return f\nf = make([1])", "[1]", "[2]"
    ),
    "a function in a closure": edit(
        "def make(g):\n    def f(x): return g(x)\n    return f\nf = make(lambda x: x + 1)",
        "+ 1",
        "+ 2",
    ),
    "a closure's helper": edit(
        "def g(x): return x\ndef make():\n    def f(x): return g(x)\n    return f\nf = make()",
        "return x\n",
        "return -x\n",
    ),
    "a function made by exec": edit(
        "names = {}\nexec('def g(x): return x + 1', names)\ng = names['g']\ndef f(x): return g(x)",
        "+ 1",
        "+ 2",
    ),
    "an attribute of a function": edit(
        "def g(x): return x + g.n\ng.n = 1\ndef f(x): return g(x)", "g.n = 1", "g.n = 2"
    ),
}

NAMES: dict[str, Edit] = {
    "a global constant": edit("N = 1\ndef f(x): return x + N", "1", "2"),
    "a global list": edit("N = [1]\ndef f(x): return x + N[0]", "1", "2"),
    "a global dict": edit("N = {3: {1, 2}}\ndef f(x): return N[x]", "{1, 2}", "{1, 4}"),
    "the order of a global dict": edit(
        "N = {'a': 1, 'b': 1}\ndef f(x): return list(N)", "{'a': 1, 'b': 1}", "{'b': 1, 'a': 1}"
    ),
    "a global set": edit("N = {1, 3}\ndef f(x): return x in N", "3", "4"),
    "a global array": edit(
        "import numpy as np\nN = np.arange(4)\ndef f(x): return N[x]", "arange(4)", "arange(4) * 2"
    ),
    "the dtype of a global array": edit(
        "import numpy as np\nN = np.arange(4)\ndef f(x): return N.itemsize",
        "arange(4)",
        "arange(4, dtype='i4')",
    ),
    "a global data frame": edit(
        "import pandas as pd\nN = pd.DataFrame({'a': [1]})\ndef f(x): return N.a[0]", "1", "2"
    ),
    "a global that a global refers to": edit(
        "M = [1]\nN = {'m': M}\ndef f(x): return N['m'][0]", "M = [1]", "M = [2]"
    ),
    "a global computed from another": edit(
        "M = 1\nN = M + 1\ndef f(x): return x + N", "M = 1", "M = 2"
    ),
    "a name that appears": edit(
        "def f(x):\n    try:\n        return N\n    except NameError:\n        return 'none'\n",
        "'none'\n",
        "'none'\nN = 1\n",
    ),
    "a global that shadows a builtin": edit(
        "def f(x): return len([x])\n", "def f", "def len(x): return 7\ndef f"
    ),
    "a monkeypatched builtin": edit(
        "import builtins\ndef g(x): return 7\ndef f(x): return abs(x)\n",
        "return abs(x)\n",
        "return abs(x)\nbuiltins.abs = g\n",
    ),
    "a helper": edit("def g(x): return x\ndef f(x): return g(x)", "return x\n", "return -x\n"),
    "a helper of a helper": edit(
        "def h(x): return x\ndef g(x): return h(x)\ndef f(x): return g(x)",
        "return x\n",
        "return -x\n",
    ),
    "which helper a name means": edit(
        "def g(x): return 1\ndef h(x): return 2\nk = g\ndef f(x): return k(x)", "k = g", "k = h"
    ),
    "a lambda in a dict": edit(
        "T = {'a': lambda x: x}\ndef f(x): return T['a'](x)", "x: x", "x: -x"
    ),
    "a lambda in a tuple in a list": edit(
        "T = [(1, lambda x: x)]\ndef f(x): return T[0][1](x)", "x: x", "x: -x"
    ),
    "a default factory": edit(
        "import collections\nD = collections.defaultdict(lambda: 1)\n"
        "def f(x): return D.default_factory()",
        ": 1",
        ": 2",
    ),
    "an environment variable": edit(
        "import os\nos.environ['SDC_TEST'] = 'a'\ndef f(x): return os.environ['SDC_TEST']",
        "'a'",
        "'b'",
    ),
    "which bare object a global is": edit(
        "A = object()\nB = object()\nM = A\ndef f(x): return bool(M is A)", "M = A", "M = B"
    ),
    "which of two equal objects a global is": edit(
        "class C: pass\nA = C()\nB = C()\nM = A\ndef f(x): return bool(M is A)",
        "M = A",
        "M = B",
    ),
    "which bare object a default is": edit(
        "A = object()\nB = object()\ndef g(m=A): return bool(m is A)\ndef f(x): return g()",
        "m=A",
        "m=B",
    ),
    "what a logger adapter adds": edit(
        "import logging\nlog = logging.LoggerAdapter(logging.getLogger('a'), {'k': 1})\n"
        "def f(x): return log.extra['k']",
        "'k': 1",
        "'k': 2",
    ),
}
