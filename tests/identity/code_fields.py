"""Edits that change what runs: annotated fields of classes, by the kinds of annotations."""

from __future__ import annotations

from code_tables import Edit, edit

FIELDS: dict[str, Edit] = {
    "a dataclass field of type Optional": edit(
        "import dataclasses\nfrom typing import Optional\n@dataclasses.dataclass\nclass A:\n"
        "    a: Optional[int] = 1\ndef f(x): return A().a",
        "Optional[int] = 1",
        "Optional[int] = 2",
    ),
    "a dataclass field of type int or None": edit(
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n    a: int | None = 1\n"
        "def f(x): return str(A.__dataclass_fields__['a'].type)",
        "int | None",
        "float | None",
    ),
    "a dataclass field of type list": edit(
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n    a: list[int] = None\n"
        "def f(x): return str(A.__dataclass_fields__['a'].type)",
        "list[int]",
        "list[float]",
    ),
    "a dataclass field of type Callable": edit(
        "import dataclasses\nfrom collections.abc import Callable\n@dataclasses.dataclass\n"
        "class A:\n    a: Callable[[int], None] = None\n"
        "def f(x): return str(A.__dataclass_fields__['a'].type)",
        "[int]",
        "[float]",
    ),
    "a dataclass field of type Literal": edit(
        "import dataclasses\nfrom typing import Literal\n@dataclasses.dataclass\n"
        "class A:\n    a: Literal['x', None] = None\n"
        "def f(x): return str(A.__dataclass_fields__['a'].type)",
        "'x'",
        "'y'",
    ),
    "a dataclass field of a type in quotes": edit(
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n    a: 'A | None' = None\n"
        "def f(x): return str(A.__dataclass_fields__['a'].type)",
        "'A | None'",
        "'None | A'",
    ),
    "a NamedTuple's optional field": edit(
        "from typing import NamedTuple, Optional\nclass A(NamedTuple):\n"
        "    a: Optional[int] = 1\ndef f(x): return A().a",
        "= 1",
        "= 2",
    ),
    "an optional attrs field's default": edit(
        "import attrs\n@attrs.define\nclass A:\n    a: int | None = 1\ndef f(x): return A().a",
        "= 1",
        "= 2",
    ),
    "an optional pydantic field's default": edit(
        "import pydantic\nclass A(pydantic.BaseModel):\n    a: int | None = 1\n"
        "def f(x): return A().a",
        "= 1",
        "= 2",
    ),
}
