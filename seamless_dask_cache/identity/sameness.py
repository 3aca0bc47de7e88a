"""Which of the things that a function refers to are one and the same object.

Two bare ``object()`` have the same encoding, and so have two equal lists. Where code compares with
``is``, it matters which names mean the same one.
"""

from __future__ import annotations

import opcode
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from .bytecode import CodeFacts
from .literals import LITERALS, text
from .nodes import Node
from .resolve import NotImported, Scope

_COMPARING = opcode.opmap["IS_OP"]
# The compiler may or may not make one object of two equal constants.
_INTERCHANGEABLE = (tuple, frozenset, type, FunctionType, ModuleType, NotImported)


def encode_sameness(
    node: Node, function: FunctionType, tree: list[CodeFacts], scope: Scope
) -> None:
    """Enter which names mean the same object, where the code compares with ``is``.

    Parameters
    ----------
    node : Node
        Gets a part where some names do.
    function : types.FunctionType
        The function.
    tree : list of CodeFacts
        Its code and all code nested in it.
    scope : Scope
        What its names mean.
    """
    if not any(step.opcode == _COMPARING for facts in tree for step in facts.instructions):
        return
    names: dict[int, list[str]] = {}
    for name, value in dict(_named(function, tree, scope)).items():
        if type(value) not in LITERALS and not isinstance(value, _INTERCHANGEABLE):
            names.setdefault(id(value), []).append(name)
    for same in sorted(sorted(group) for group in names.values() if len(group) > 1):
        node.part(f"the same: {', '.join(same)}").extend(map(text, same))


def _named(
    function: FunctionType, tree: list[CodeFacts], scope: Scope
) -> Iterator[tuple[str, Any]]:
    for index, value in enumerate(function.__defaults__ or ()):
        yield f"default {index}", value
    for name, value in (function.__kwdefaults__ or {}).items():
        yield f"default {name}", value
    for facts in tree:
        for reference in facts.references:
            if reference.kind in ("global", "free", "import"):
                for found in scope.find(reference):
                    if not found.rest:
                        yield ".".join((reference.root, *reference.attributes)), found.subject
