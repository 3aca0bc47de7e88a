"""A code object as a digest of what it does, and as the names that it refers to.

The digest covers bytecode, constants that are loaded, names and the calling convention. It does
not cover what only people and debuggers read: file name, line numbers, docstring, qualified name.
Constants are numbered by first use, because a docstring shifts the compiler's own numbers.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from hashlib import sha256
from types import CodeType
from typing import Any

from .literals import LITERALS, framed, size, text
from .opcodes import (
    CONST,
    EXTENDED_ARG,
    MAKE_FUNCTION,
    QUALNAME_IS_CONSTANT,
    STORE_NAME,
    Instruction,
    instructions,
    name_of,
)
from .references import Reference, find_references

# Variable arguments, keywords, generator, coroutines, local namespace. Left out: docstring present,
# nested, future statements.
_FLAGS = 0x01 | 0x02 | 0x04 | 0x08 | 0x20 | 0x80 | 0x100 | 0x200
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
    """

    code: CodeType
    digest: bytes
    instructions: list[Instruction]
    references: list[Reference]
    nested: tuple[CodeFacts, ...]
    texts: tuple[str, ...]


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
    raw = code.co_code
    steps = instructions(raw)
    stream, constants = _constants_by_use(code, raw, steps)
    nested = tuple(code_facts(item) for item in constants if isinstance(item, CodeType))
    digest = sha256(_header(code) + framed(b"k", stream) + _encode(tuple(constants)))
    return CodeFacts(
        code=code,
        digest=digest.digest(),
        instructions=steps,
        references=find_references(code, steps),
        nested=nested,
        texts=tuple(_texts(constants)),
    )


def _header(code: CodeType) -> bytes:
    counts = (
        code.co_flags & _FLAGS,
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
    )
    names = (code.co_names, code.co_varnames, code.co_cellvars, code.co_freevars)
    table = getattr(code, "co_exceptiontable", b"")
    return _encode((sys.implementation.cache_tag, code.co_name, counts, names, table))


def _constants_by_use(
    code: CodeType, raw: bytes, steps: list[Instruction]
) -> tuple[bytes, list[Any]]:
    blanked = bytearray(raw)
    ranks: dict[int, int] = {}
    constants: list[Any] = []
    uses: list[int] = []
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
        _blank_argument(blanked, step.offset)
        uses.append(rank)
    return bytes(blanked) + repr(uses).encode(), constants


def _only_for_people(code: CodeType, steps: list[Instruction], index: int) -> bool:
    if index + 1 >= len(steps):
        return False
    following = steps[index + 1]
    if following.kind == STORE_NAME:
        return name_of(code, following) in _FOR_PEOPLE
    return QUALNAME_IS_CONSTANT and following.kind == MAKE_FUNCTION


def _blank_argument(blanked: bytearray, offset: int) -> None:
    blanked[offset + 1] = 0
    while offset >= 2 and blanked[offset - 2] == EXTENDED_ARG:
        offset -= 2
        blanked[offset + 1] = 0


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
