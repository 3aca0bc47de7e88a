"""Edits that change what runs: modules, imports, and patches."""

from __future__ import annotations

from code_tables import Edit, edit

MODULES: dict[str, Edit] = {
    "a helper of a helper in another module": edit(
        """
import helpers
def f(x): return helpers.clean(x)
#: helpers.py
from deep import low
def clean(x): return low(x)
#: deep.py
def low(x): return x
""",
        "return x\n",
        "return -x\n",
    ),
    "module.attr": edit(
        "import helpers as h\ndef f(x): return x + h.N\n#: helpers.py\nN = 1", "N = 1", "N = 2"
    ),
    "module.attr of a package's module": edit(
        "import pack.part\ndef f(x): return x + pack.part.N\n#: pack/__init__.py\n"
        "#: pack/part.py\nN = 1",
        "N = 1",
        "N = 2",
    ),
    "from module import name": edit(
        "from helpers import N\ndef f(x): return x + N\n#: helpers.py\nN = 1", "N = 1", "N = 2"
    ),
    "from module import name as other": edit(
        "from helpers import g as h\ndef f(x): return h(x)\n#: helpers.py\ndef g(x): return x",
        "return x",
        "return -x",
    ),
    "a star import": edit(
        "from helpers import *\ndef f(x): return N\n#: helpers.py\nN = 1", "N = 1", "N = 2"
    ),
    "a name re-exported by a package": edit(
        "import pack\ndef f(x): return pack.g(x)\n#: pack/__init__.py\nfrom pack.part import g\n"
        "#: pack/part.py\ndef g(x): return x",
        "return x",
        "return -x",
    ),
    "a relative import": edit(
        """
from package.main import f
#: package/__init__.py
#: package/main.py
from .part import g
def f(x): return g(x)
#: package/part.py
def g(x): return x
""",
        "return x",
        "return -x",
    ),
    "a relative import inside the function": edit(
        """
from package.main import f
#: package/__init__.py
#: package/main.py
def f(x):
    from . import part
    return part.g(x)
#: package/part.py
def g(x): return x
""",
        "return x",
        "return -x",
    ),
    "import inside the function": edit(
        "def f(x):\n    import helpers\n    return helpers.g(x)\n#: helpers.py\ndef g(x): return x",
        "return x",
        "return -x",
    ),
    "import as inside the function": edit(
        "def f(x):\n    import pack.part as p\n    return p.g(x)\n#: pack/__init__.py\n"
        "#: pack/part.py\ndef g(x): return x",
        "return x",
        "return -x",
    ),
    "from import inside the function": edit(
        "def f(x):\n    from helpers import g as q\n    return q(x)\n#: helpers.py\n"
        "def g(x): return x",
        "return x",
        "return -x",
    ),
    "import inside a nested function": edit(
        "def f(x):\n    def inner():\n        import helpers\n        return helpers.g(x)\n"
        "    return inner()\n#: helpers.py\ndef g(x): return x",
        "return x",
        "return -x",
    ),
    "import inside, used by a nested function": edit(
        "def f(x):\n    import helpers\n    return (lambda: helpers.g(x))()\n"
        "#: helpers.py\ndef g(x): return x",
        "return x",
        "return -x",
    ),
    "import inside, passed on": edit(
        "def f(x):\n    import helpers\n    return getattr(helpers, 'g')(x)\n"
        "#: helpers.py\ndef g(x): return x",
        "return x",
        "return -x",
    ),
    "a module in a closure": edit(
        """
def make():
    import helpers
    def f(x): return helpers.g(x)
    return f
f = make()
#: helpers.py
def g(x): return x
""",
        "return x",
        "return -x",
    ),
    "a module as a default": edit(
        "import helpers\ndef f(x, h=helpers): return h.g(x)\n#: helpers.py\ndef g(x): return x",
        "return x",
        "return -x",
    ),
    "a module in a list": edit(
        "import helpers\nM = [helpers]\ndef f(x): return M[0].g(x)\n#: helpers.py\n"
        "def g(x): return x",
        "return x",
        "return -x",
    ),
    "a module as class attribute": edit(
        "import helpers\nclass A: h = helpers\ndef f(x): return A.h.g(x)\n#: helpers.py\n"
        "def g(x): return x",
        "return x",
        "return -x",
    ),
    "a module passed on": edit(
        "import helpers\ndef f(x): return getattr(helpers, 'N')\n#: helpers.py\nN = 1",
        "N = 1",
        "N = 2",
    ),
    "a module's version passed on": edit(
        "import helpers\ndef f(x): return getattr(helpers, '__version__')\n#: helpers.py\n"
        "__version__ = '1'",
        "'1'",
        "'2'",
    ),
    "a module's __getattr__": edit(
        "import helpers\ndef f(x): return helpers.anything\n#: helpers.py\n"
        "def __getattr__(name):\n    return len(name)",
        "len(name)",
        "-len(name)",
    ),
    "a module renamed under the same alias": edit(
        "import helpers as h\ndef f(x): return h.g(x)\n#: helpers.py\ndef g(x): return x\n"
        "#: deep.py\ndef g(x): return -x",
        "import helpers",
        "import deep",
    ),
    "one of two branches that import": edit(
        "try:\n    import no_such_module as h\nexcept ImportError:\n    import helpers as h\n"
        "def f(x): return h.g(x)\n#: helpers.py\ndef g(x): return x",
        "return x",
        "return -x",
    ),
    "a registry that another module fills": edit(
        "import helpers\nfrom deep import REGISTRY\ndef f(x): return REGISTRY['g'](x)\n"
        "#: deep.py\nREGISTRY = {}\n#: helpers.py\nfrom deep import REGISTRY\n"
        "REGISTRY['g'] = lambda x: x",
        "x: x",
        "x: -x",
    ),
    "a patched helper of another module": edit(
        "import helpers\ndef g(x): return -x\ndef f(x): return helpers.h(x)\n"
        "#: helpers.py\ndef g(x): return x\ndef h(x): return g(x)",
        "def f(x)",
        "helpers.g = g\ndef f(x)",
    ),
    "a patched function of the standard library": edit(
        "import colorsys\ndef g(*x): return 'x'\ndef f(x): return colorsys.rgb_to_hls(1, 1, x)",
        "def f(x)",
        "colorsys.rgb_to_hls = g\ndef f(x)",
    ),
    "the body of such a patch": edit(
        "import colorsys\ndef g(*x): return 'x'\ncolorsys.rgb_to_hls = g\n"
        "def f(x): return colorsys.rgb_to_hls(1, 1, x)",
        "'x'",
        "'y'",
    ),
    "a patch in disguise": edit(
        "import colorsys, functools\n@functools.wraps(colorsys.rgb_to_hls)\n"
        "def g(*x): return 'x'\ncolorsys.rgb_to_hls = g\n"
        "def f(x): return colorsys.rgb_to_hls(1, 1, x)",
        "'x'",
        "'y'",
    ),
    "a constant of the standard library": edit(
        "import colorsys\ncolorsys.ONE_THIRD = 1\ndef f(x): return colorsys.ONE_THIRD",
        "= 1",
        "= 2",
    ),
    "a patched method of an installed class": edit(
        "import pandas as pd\ndef mine(self): return 7\npd.DataFrame.sum = mine\n"
        "def f(x): return pd.DataFrame({'a': [x]}).sum()",
        "7",
        "8",
    ),
    "a patched method, named by its class": edit(
        "import textwrap\ndef mine(self, text): return [text]\n"
        "textwrap.TextWrapper.wrap = mine\n"
        "def f(x): return textwrap.TextWrapper.wrap(None, 'a')",
        "[text]",
        "[text, text]",
    ),
    "an accessor of data frames": edit(
        """
import pandas as pd
import warnings
warnings.simplefilter("ignore")
@pd.api.extensions.register_dataframe_accessor("sdc")
class Accessor:
    def __init__(self, frame): self.frame = frame
    def area(self): return len(self.frame) + 1
def f(x): return pd.DataFrame({"a": [x]}).sdc.area()
""",
        "+ 1",
        "+ 2",
    ),
    "an accessor named by a string": edit(
        """
import pandas as pd
import operator
import warnings
warnings.simplefilter("ignore")
@pd.api.extensions.register_dataframe_accessor("sdc")
class Accessor:
    def __init__(self, frame): self.frame = frame
    def area(self): return len(self.frame) + 1
def f(x): return getattr(pd.DataFrame({"a": [x]}), "sdc").area()
""",
        "+ 1",
        "+ 2",
    ),
    "a patched method named by operator.methodcaller": edit(
        """
import pandas as pd
import operator
import warnings
warnings.simplefilter("ignore")
@pd.api.extensions.register_dataframe_accessor("sdc")
class Accessor:
    def __init__(self, frame): self.frame = frame
    def area(self): return len(self.frame) + 1
pd.DataFrame.sdc_area = lambda self: len(self) + 1
def f(x): return operator.methodcaller("sdc_area")(pd.DataFrame({"a": [x]}))
""",
        "+ 1",
        "+ 2",
    ),
    "an accessor named by a global string": edit(
        """
import pandas as pd
import operator
import warnings
warnings.simplefilter("ignore")
@pd.api.extensions.register_dataframe_accessor("sdc")
class Accessor:
    def __init__(self, frame): self.frame = frame
    def area(self): return len(self.frame) + 1
NAME = "sdc"
def f(x): return getattr(pd.DataFrame({"a": [x]}), NAME).area()
""",
        "+ 1",
        "+ 2",
    ),
    "an installed single-dispatch function's registration": edit(
        """
import pkgutil
@pkgutil.iter_importer_modules.register(int)
def mine(x, prefix=""): return x + 1
def f(x): return pkgutil.iter_importer_modules(x)
""",
        "x + 1",
        "x + 2",
    ),
}
