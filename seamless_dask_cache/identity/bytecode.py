"""A code object as a digest of what it does, and as the names that it refers to.

The digest covers bytecode, constants that are loaded, names and the calling convention. It does
not cover what only people and debuggers read: file name, line numbers, docstring, qualified name.
Constants are numbered by first use, because a docstring shifts the compiler's own numbers.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from hashlib import sha256
from types import CodeType
from typing import Any

from .canonical import stream
from .literals import LITERALS, framed, size, text
from .opcodes import (
    ATTRIBUTE,
    CONST,
    GLOBAL,
    IMPORT_FROM,
    MAKE_FUNCTION,
    NAME,
    QUALNAME_IS_CONSTANT,
    STORE_NAME,
    SUPER_ATTRIBUTE,
    Instruction,
    instructions,
    name_of,
)
from .references import Call, Reference, call_after, find_references

# Variable arguments, keywords, generator, coroutines, local namespace. Left out: docstring present,
# nested, future statements.
_FLAGS = 0x01 | 0x02 | 0x04 | 0x08 | 0x20 | 0x80 | 0x100 | 0x200
_NAMING = {GLOBAL, NAME, ATTRIBUTE, SUPER_ATTRIBUTE, IMPORT_FROM}
_FOR_PEOPLE = {"__qualname__", "__firstlineno__", "__static_attributes__", "__doc__"}
_IGNORED = object()
_KEPT_CODES = 20_000


@dataclass(frozen=True)
class CodeFacts:
    """What is known of a code object without its globals.

    Attributes
    ----------
    code : types.CodeType
        The code object itself.
    digest : bytes
        SHA-256 of what it does, nested code included.
    instructions : list of Instruction
        The decoded bytecode.
    references : list of Reference
        What it loads by name and imports, without nested code.
    nested : tuple of CodeFacts
        The code objects among its constants.
    texts : tuple of str
        The strings among its constants.
    names : frozenset of str
        Globals and attributes that it names, nested code included.
    """

    code: CodeType
    digest: bytes
    instructions: list[Instruction]
    references: list[Reference]
    nested: tuple[CodeFacts, ...]
    texts: tuple[str, ...]
    names: frozenset[str]
    _calls: dict[int, Call | None] = field(default_factory=dict, repr=False, compare=False)

    def call_of(self, reference: Reference) -> Call | None:
        """Find the call of what a reference leads to; see :func:`.references.call_after`."""
        position = reference.position
        if position not in self._calls:
            self._calls[position] = call_after(self.code, self.instructions, position)
        return self._calls[position]


_known: dict[int, CodeFacts] = {}


def code_facts(code: CodeType) -> CodeFacts:
    """Analyse a code object; code objects never change, so the answer is kept.

    Parameters
    ----------
    code : types.CodeType
        Of a function, a class body, a lambda, a comprehension.

    Returns
    -------
    CodeFacts
        Equal digests mean: the same code, given the same globals.
    """
    known = _known.get(id(code))
    if known is not None and known.code is code:
        return known
    if len(_known) >= _KEPT_CODES:
        _known.clear()
    facts = _analyse(code)
    _known[id(code)] = facts
    return facts


def _analyse(code: CodeType) -> CodeFacts:
    steps = instructions(code.co_code)
    uses, constants = _constants_by_use(code, steps)
    nested = tuple(code_facts(item) for item in constants if isinstance(item, CodeType))
    digest = sha256(
        _header(code) + framed(b"k", stream(code, steps, uses)) + _encode(tuple(constants))
    )
    return CodeFacts(
        code=code,
        digest=digest.digest(),
        instructions=steps,
        references=find_references(code, steps),
        nested=nested,
        texts=tuple(_texts(constants)),
        names=_loaded_names(code, steps).union(*(item.names for item in nested)),
    )


def _loaded_names(code: CodeType, steps: list[Instruction]) -> frozenset[str]:
    return frozenset(name_of(code, step) for step in steps if step.kind in _NAMING)


def _header(code: CodeType) -> bytes:
    counts = (
        code.co_flags & _FLAGS,
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
    )
    names = (code.co_names, code.co_varnames, code.co_cellvars, code.co_freevars)
    return _encode((sys.implementation.cache_tag, code.co_name, counts, names))


def _constants_by_use(code: CodeType, steps: list[Instruction]) -> tuple[dict[int, int], list[Any]]:
    ranks: dict[int, int] = {}
    constants: list[Any] = []
    uses: dict[int, int] = {}
    for index, step in enumerate(steps):
        if step.kind != CONST:
            continue
        rank = len(constants)
        if _only_for_people(code, steps, index):
            constants.append(_IGNORED)
        else:
            rank = ranks.setdefault(step.argument, rank)
            if rank == len(constants):
                constants.append(code.co_consts[step.argument])
        uses[index] = rank
    return uses, constants


def _only_for_people(code: CodeType, steps: list[Instruction], index: int) -> bool:
    if index + 1 >= len(steps):
        return False
    following = steps[index + 1]
    if following.kind == STORE_NAME:
        return name_of(code, following) in _FOR_PEOPLE
    return QUALNAME_IS_CONSTANT and following.kind == MAKE_FUNCTION


def _encode(value: Any) -> bytes:
    literal = LITERALS.get(type(value))
    if literal is not None:
        return literal(value)
    if isinstance(value, CodeType):
        return b"C" + code_facts(value).digest
    if isinstance(value, tuple):
        return b"(" + size(len(value)) + b"".join(map(_encode, value))
    if isinstance(value, frozenset):
        return b">" + size(len(value)) + b"".join(sorted(map(_encode, value)))
    if isinstance(value, slice):
        return b":" + _encode((value.start, value.stop, value.step))
    if value is _IGNORED:
        return b"_"
    return b"?" + text(repr(value))


def _texts(constants: Any) -> list[str]:
    found: list[str] = []
    for item in constants:
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, (tuple, frozenset)):
            found.extend(_texts(item))
    return found
