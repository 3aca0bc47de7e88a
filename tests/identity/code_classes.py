"""Edits that change what runs: classes."""

from __future__ import annotations

from code_tables import Edit, edit

CLASSES: dict[str, Edit] = {
    "a method": edit(
        "class A:\n    def m(self): return 1\ndef f(x): return A().m()", "return 1", "return 2"
    ),
    "a method's default": edit(
        "class A:\n    def m(self, n=1): return n\ndef f(x): return A().m()", "n=1", "n=2"
    ),
    "a method's helper": edit(
        "def g(): return 1\nclass A:\n    def m(self): return g()\ndef f(x): return A().m()",
        "return 1",
        "return 2",
    ),
    "a base class method": edit(
        "class B:\n    def m(self): return 1\nclass A(B): pass\ndef f(x): return A().m()",
        "return 1",
        "return 2",
    ),
    "a base class method through super": edit(
        "class B:\n    def m(self): return 1\nclass A(B):\n    def m(self): return super().m()\n"
        "def f(x): return A().m()",
        "return 1",
        "return 2",
    ),
    "the order of bases": edit(
        "class B: n = 1\nclass C: n = 2\nclass A(B, C): pass\ndef f(x): return A.n",
        "A(B, C)",
        "A(C, B)",
    ),
    "a base class in another module": edit(
        "from helpers import B\nclass A(B): pass\ndef f(x): return A().m()\n#: helpers.py\n"
        "class B:\n    def m(self): return 1",
        "return 1",
        "return 2",
    ),
    "a property": edit(
        "class A:\n    @property\n    def m(self): return 1\ndef f(x): return A().m",
        "return 1",
        "return 2",
    ),
    "a property's setter": edit(
        """
class A:
    @property
    def m(self): return self.n
    @m.setter
    def m(self, value): self.n = value + 1
def f(x):
    a = A()
    a.m = x
    return a.m
""",
        "+ 1",
        "+ 2",
    ),
    "a property of a class of its own": edit(
        """
class own(property):
    def __get__(self, *owner): return 1
class A:
    @own
    def m(self): return 0
def f(x): return A().m
""",
        "return 1",
        "return 2",
    ),
    "a cached property": edit(
        "from functools import cached_property\nclass A:\n    @cached_property\n"
        "    def m(self): return 1\ndef f(x): return A().m",
        "return 1",
        "return 2",
    ),
    "a static method": edit(
        "class A:\n    @staticmethod\n    def m(): return 1\ndef f(x): return A.m()",
        "return 1",
        "return 2",
    ),
    "a class method": edit(
        "class A:\n    @classmethod\n    def m(cls): return 1\ndef f(x): return A.m()",
        "return 1",
        "return 2",
    ),
    "a class attribute": edit("class A: n = 1\ndef f(x): return A.n", "1", "2"),
    "a list as class attribute": edit("class A: n = [1]\ndef f(x): return A.n[0]", "1", "2"),
    "a mangled attribute": edit(
        "class A:\n    __n = 1\n    def m(self): return self.__n\ndef f(x): return A().m()",
        "= 1",
        "= 2",
    ),
    "a class inside the function": edit(
        "def f(x):\n    class A: n = 1\n    return A.n", "n = 1", "n = 2"
    ),
    "a class's qualified name": edit(
        """
import dataclasses
def make():
    @dataclasses.dataclass
    class A: pass
    return A
A = make()
def f(x): return repr(A())
""",
        "make",
        "build",
    ),
    "a class in a closure": edit(
        "def make():\n    class A: n = 1\n    def f(x): return A.n\n    return f\nf = make()",
        "n = 1",
        "n = 2",
    ),
    "a type argument of a base": edit(
        "from typing import Generic, TypeVar, get_args\nT = TypeVar('T')\nclass B(Generic[T]):\n"
        "    def m(self): return get_args(type(self).__orig_bases__[0])\n"
        "class A(B[int]): pass\ndef f(x): return A().m()",
        "B[int]",
        "B[float]",
    ),
    "typing.NewType": edit(
        "import typing\nT = typing.NewType('T', int)\ndef f(x): return T.__supertype__",
        "int)",
        "float)",
    ),
    "the __class__ cell": edit(
        "class A:\n    n = 1\n    def m(self): return __class__.n\ndef f(x): return A().m()",
        "n = 1",
        "n = 2",
    ),
    "slots": edit("class A: __slots__ = ('a',)\ndef f(x): return A.__slots__", "('a',)", "('b',)"),
    "a special method": edit(
        "class A:\n    def __add__(self, x): return x\ndef f(x): return A() + x",
        "return x\n",
        "return -x\n",
    ),
    "a metaclass": edit(
        "class M(type):\n    def __len__(cls): return 1\nclass A(metaclass=M): pass\n"
        "def f(x): return len(A)",
        "return 1",
        "return 2",
    ),
    "a metaclass that makes attributes": edit(
        "class M(type):\n    def __new__(m, name, bases, names):\n"
        "        return super().__new__(m, name, bases, {**names, 'n': 1})\n"
        "class A(metaclass=M): pass\ndef f(x): return A.n",
        "'n': 1",
        "'n': 2",
    ),
    "a metaclass that reads annotations": edit(
        """
FIELDS = {}
class M(type):
    def __init__(cls, name, bases, names):
        super().__init__(name, bases, names)
        cls.fields = tuple(cls.__annotations__)
class A(metaclass=M):
    a: int
def f(x): return A.fields
""",
        "    a: int",
        "    b: int",
    ),
    "__init_subclass__": edit(
        "class B:\n    def __init_subclass__(cls): cls.n = 1\nclass A(B): pass\n"
        "def f(x): return A.n",
        "= 1",
        "= 2",
    ),
    "__set_name__": edit(
        "class D:\n    def __set_name__(self, owner, name): self.n = name * 2\n"
        "    def __get__(self, *owner): return self.n\nclass A: d = D()\ndef f(x): return A.d",
        "* 2",
        "* 3",
    ),
    "a descriptor": edit(
        "class D:\n    def __get__(self, *owner): return 1\nclass A: d = D()\ndef f(x): return A.d",
        "return 1",
        "return 2",
    ),
    "a descriptor's state": edit(
        "class D:\n    def __init__(self, n): self.n = n\n"
        "    def __get__(self, *owner): return self.n\nclass A: d = D(1)\ndef f(x): return A.d",
        "D(1)",
        "D(2)",
    ),
    "a class decorator": edit(
        "def mark(cls):\n    cls.n = 1\n    return cls\n@mark\nclass A: pass\ndef f(x): return A.n",
        "= 1",
        "= 2",
    ),
    "a total ordering": edit(
        """
import functools
@functools.total_ordering
class A:
    def __init__(self, n): self.n = n
    def __eq__(self, other): return self.n == other.n
    def __lt__(self, other): return self.n < other.n
def f(x): return A(1) >= A(2)
""",
        "self.n < other.n",
        "self.n > other.n",
    ),
    "a dataclass field": edit(
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    a: int = 1\n"
        "def f(x): return A()",
        "a: int",
        "b: int",
    ),
    "a dataclass field's default": edit(
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    a: int = 1\n"
        "def f(x): return A()",
        "= 1",
        "= 2",
    ),
    "a dataclass field's default factory": edit(
        "from dataclasses import dataclass, field\n@dataclass\nclass A:\n"
        "    a: list = field(default_factory=lambda: [1])\ndef f(x): return A()",
        "[1]",
        "[2]",
    ),
    "a dataclass field's type": edit(
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n    a: int = 1\n"
        "def f(x): return dataclasses.fields(A)[0].type",
        "int",
        "float",
    ),
    "a dataclass field's metadata": edit(
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n"
        "    a: int = dataclasses.field(metadata={'n': 1}, default=0)\n"
        "def f(x): return dataclasses.fields(A)[0].metadata['n']",
        "'n': 1",
        "'n': 2",
    ),
    "the order of dataclass fields": edit(
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    a: int\n    b: int\n"
        "def f(x): return A(1, 2)",
        "    a: int\n    b: int",
        "    b: int\n    a: int",
    ),
    "a dataclass's options": edit(
        "from dataclasses import dataclass\n@dataclass(order=True)\nclass A:\n    a: int\n"
        "def f(x): return A(1) < A(2)",
        "(order=True)",
        "",
    ),
    "an inherited dataclass field": edit(
        "from dataclasses import dataclass\n@dataclass\nclass B:\n    a: int = 1\n@dataclass\n"
        "class A(B): pass\ndef f(x): return A()",
        "= 1",
        "= 2",
    ),
    "a frozen dataclass's method": edit(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass A:\n    a: int\n"
        "    def m(self): return self.a + 1\ndef f(x): return A(x).m()",
        "+ 1",
        "+ 2",
    ),
    "an attrs field's default": edit(
        "import attrs\n@attrs.define\nclass A:\n    a: int = 1\ndef f(x): return A()",
        "= 1",
        "= 2",
    ),
    "an attrs converter": edit(
        "import attrs\n@attrs.define\nclass A:\n"
        "    a: int = attrs.field(converter=lambda x: x + 1)\ndef f(x): return A(x)",
        "+ 1",
        "+ 2",
    ),
    "a pydantic field's default": edit(
        "import pydantic\nclass A(pydantic.BaseModel):\n    a: int = 1\ndef f(x): return A()",
        "= 1",
        "= 2",
    ),
    "a pydantic field's type": edit(
        "import pydantic\nclass A(pydantic.BaseModel):\n    a: int\ndef f(x): return A(a=x)",
        "int",
        "float",
    ),
    "a pydantic field's constraint": edit(
        "import pydantic\nclass A(pydantic.BaseModel):\n    a: int = pydantic.Field(gt=1)\n"
        "def f(x): return A(a=x)",
        "gt=1",
        "gt=5",
    ),
    "a pydantic validator": edit(
        "import pydantic\nclass A(pydantic.BaseModel):\n    a: int\n"
        "    @pydantic.field_validator('a')\n    @classmethod\n"
        "    def check(cls, a): return a + 1\n"
        "def f(x): return A(a=x)",
        "+ 1",
        "+ 2",
    ),
    "which field a pydantic validator is for": edit(
        "import pydantic\nclass A(pydantic.BaseModel):\n    a: int\n    b: int = 0\n"
        "    @pydantic.field_validator('a')\n    @classmethod\n"
        "    def check(cls, a): return a + 1\n"
        "def f(x): return A(a=x, b=x)",
        "validator('a')",
        "validator('b')",
    ),
    "a pydantic model's configuration": edit(
        "import pydantic\nclass A(pydantic.BaseModel):\n"
        "    model_config = pydantic.ConfigDict(extra='ignore')\n    a: int\n"
        "def f(x): return A(a=x, b=x)",
        "'ignore'",
        "'allow'",
    ),
    "an enumeration's value": edit(
        "import enum\nclass E(enum.Enum):\n    a = 1\n    b = 3\ndef f(x): return E.a.value",
        "a = 1",
        "a = 2",
    ),
    "the order of an enumeration": edit(
        "import enum\nclass E(enum.Enum):\n    a = 1\n    b = 3\n"
        "def f(x): return [e.name for e in E]",
        "    a = 1\n    b = 3",
        "    b = 3\n    a = 1",
    ),
    "an enumeration's method": edit(
        "import enum\nclass E(enum.Enum):\n    a = 1\n    def m(self): return self.value + 1\n"
        "def f(x): return E.a.m()",
        "+ 1",
        "+ 2",
    ),
    "an attribute of an enumeration's members": edit(
        "import enum\nT = {1: 'one'}\nclass E(enum.Enum):\n    a = 1\n"
        "    def __init__(self, n): self.word = T[n]\ndef f(x): return E.a.word",
        "'one'",
        "'eins'",
    ),
    "a NamedTuple's default": edit(
        "from typing import NamedTuple\nclass P(NamedTuple):\n    a: int = 1\ndef f(x): return P()",
        "= 1",
        "= 2",
    ),
    "a namedtuple's field": edit(
        "from collections import namedtuple\nP = namedtuple('P', 'a')\ndef f(x): return P(x)",
        "'a'",
        "'b'",
    ),
    "a TypedDict's keys": edit(
        "from typing import TypedDict\nclass T(TypedDict):\n    a: int\n"
        "def f(x): return sorted(T.__required_keys__)",
        "a: int",
        "b: int",
    ),
    "a protocol's members": edit(
        "from typing import Protocol, runtime_checkable\n@runtime_checkable\nclass P(Protocol):\n"
        "    def bit_length(self): ...\ndef f(x): return isinstance(x, P)",
        "bit_length",
        "bit_width",
    ),
    "an abstract class's registration": edit(
        "import abc\nclass A(abc.ABC): pass\nA.register(int)\ndef f(x): return isinstance(x, A)",
        "int",
        "float",
    ),
    "a generic class's method": edit(
        "from typing import Generic, TypeVar\nT = TypeVar('T')\nclass A(Generic[T]):\n"
        "    def m(self): return 1\ndef f(x): return A().m()",
        "return 1",
        "return 2",
    ),
    "a subclass that only exists": edit(
        "class B: pass\nclass A(B): pass\n"
        "def f(x): return [c.__name__ for c in B.__subclasses__()]",
        "class A(B)",
        "class C(B)",
    ),
    "a patched class attribute": edit(
        "class A: n = 1\nA.n = 2\ndef f(x): return A.n", "A.n = 2", "A.n = 3"
    ),
    "a patched method": edit(
        "class A:\n    def m(self): return 1\nA.m = lambda self: 2\ndef f(x): return A().m()",
        "self: 2",
        "self: 3",
    ),
}
