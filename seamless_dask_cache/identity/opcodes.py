"""What this interpreter's opcodes mean to an identity, and how to read them from a code object.

Everything that depends on the version of Python stands here. Checked by hand and by tests on
3.10, 3.11, 3.12 and 3.13; the numbers come from :mod:`opcode`, so that a newer interpreter whose
names did not change works too. An opcode that is not named here is hashed but not followed.
"""

from __future__ import annotations

import opcode
import sys
from types import CodeType
from typing import NamedTuple

(
    OTHER,
    CONST,
    GLOBAL,
    NAME,
    ATTRIBUTE,
    SUPER_ATTRIBUTE,
    DEREF,
    FAST,
    FAST_FAST,
    STORE_LOAD,
    STORE_STORE,
    STORE_FAST,
    STORE_NAME,
    STORE_DEREF,
    IMPORT,
    IMPORT_FROM,
    MAKE_FUNCTION,
    SUBSCRIPT,
    CONTAINS,
    NOTHING,
) = range(20)

_NAMED = {
    "LOAD_GLOBAL": GLOBAL,
    "LOAD_NAME": NAME,
    "LOAD_FROM_DICT_OR_GLOBALS": NAME,
    "LOAD_ATTR": ATTRIBUTE,
    "LOAD_METHOD": ATTRIBUTE,
    "LOAD_SUPER_ATTR": SUPER_ATTRIBUTE,
    "LOAD_DEREF": DEREF,
    "LOAD_CLASSDEREF": DEREF,
    "LOAD_FROM_DICT_OR_DEREF": DEREF,
    "LOAD_FAST": FAST,
    "LOAD_FAST_CHECK": FAST,
    "LOAD_FAST_BORROW": FAST,
    "LOAD_FAST_LOAD_FAST": FAST_FAST,
    "LOAD_FAST_BORROW_LOAD_FAST_BORROW": FAST_FAST,
    "STORE_FAST_LOAD_FAST": STORE_LOAD,
    "STORE_FAST_STORE_FAST": STORE_STORE,
    "STORE_FAST": STORE_FAST,
    "STORE_NAME": STORE_NAME,
    "STORE_GLOBAL": STORE_NAME,
    "STORE_DEREF": STORE_DEREF,
    "IMPORT_NAME": IMPORT,
    "IMPORT_FROM": IMPORT_FROM,
    "MAKE_FUNCTION": MAKE_FUNCTION,
    "BINARY_SUBSCR": SUBSCRIPT,
    "CONTAINS_OP": CONTAINS,
    "NOP": NOTHING,
    "PRECALL": NOTHING,
    "RESUME": NOTHING,
}


REBINDING = frozenset(
    opcode.opmap[name] for name in ("STORE_GLOBAL", "DELETE_GLOBAL") if name in opcode.opmap
)
"""Opcodes that change a global name."""

REBINDING_CLOSURE = frozenset(
    opcode.opmap[name] for name in ("STORE_DEREF", "DELETE_DEREF") if name in opcode.opmap
)
"""Opcodes that change a variable of an enclosing function, or one that a nested function sees."""

SETTING = frozenset(
    opcode.opmap[name] for name in ("STORE_ATTR", "DELETE_ATTR") if name in opcode.opmap
)
"""Opcodes that change an attribute."""

DOUBLING = frozenset(opcode.opmap[name] for name in ("COPY", "DUP_TOP") if name in opcode.opmap)
"""Opcodes that keep an object for a second use, as ``object.attribute += 1`` does."""


def _kinds() -> list[int]:
    kinds = [OTHER] * 512
    for name, kind in _NAMED.items():
        if name in opcode.opmap:
            kinds[opcode.opmap[name]] = kind
    for number in opcode.hasconst:
        kinds[number] = CONST
    return kinds


KIND = _kinds()
"""The meaning of each opcode number."""

CALLS = {
    opcode.opmap[name]
    for name in ("CALL", "CALL_KW", "CALL_FUNCTION", "CALL_FUNCTION_KW", "CALL_METHOD")
    if name in opcode.opmap
}
KEYWORD_CALLS = {
    opcode.opmap[name] for name in ("CALL_KW", "CALL_FUNCTION_KW") if name in opcode.opmap
}
KW_NAMES = opcode.opmap.get("KW_NAMES", -1)
PUSH_NULL = opcode.opmap.get("PUSH_NULL", -1)
JUMPS = {*opcode.hasjrel, *opcode.hasjabs}
"""Instructions after which the code does not simply go on with the next one."""

JUMPS_ABSOLUTE = frozenset(opcode.hasjabs)
BACKWARD = frozenset(number for name, number in opcode.opmap.items() if "JUMP_BACKWARD" in name)
"""Jumps whose argument counts back; until 3.10 all of those are absolute."""

EXTENDED_ARG = opcode.opmap["EXTENDED_ARG"]
CACHE = opcode.opmap.get("CACHE", -1)
PLAIN_LOAD = opcode.HAVE_ARGUMENT
METHOD_LOADS = (
    {opcode.opmap["LOAD_METHOD"]: opcode.opmap["LOAD_ATTR"]}
    if sys.version_info[:2] == (3, 11)  # 3.10 decides by the form of the call alone
    else {}
)
"""Opcodes that load an attribute for a call, which the compiler also loads without."""

DROPPED = frozenset(
    opcode.opmap[name] for name in ("NOP", "PUSH_NULL", "CACHE") if name in opcode.opmap
)
"""Opcodes that do nothing, or that only prepare the stack for a call."""

_GLOBAL_SHIFT = 1 if sys.version_info >= (3, 11) else 0
_ATTRIBUTE_SHIFT = 1 if sys.version_info >= (3, 12) else 0
_SUPER_SHIFT = 2
_SHIFTED = {opcode.opmap["LOAD_GLOBAL"], opcode.opmap["LOAD_ATTR"]}
# Until 3.10 the qualified name of a nested function is a constant of the enclosing one.
QUALNAME_IS_CONSTANT = sys.version_info < (3, 11)


class Instruction(NamedTuple):
    """One instruction, its EXTENDED_ARG prefixes folded in."""

    opcode: int
    argument: int
    kind: int
    offset: int


def instructions(raw: bytes) -> list[Instruction]:
    """Decode bytecode.

    Parameters
    ----------
    raw : bytes
        ``co_code``: pairs of opcode and argument, specialisation undone by the interpreter.

    Returns
    -------
    list of Instruction
        Without caches and prefixes.
    """
    found: list[Instruction] = []
    prefix = 0
    for offset in range(0, len(raw), 2):
        number = raw[offset]
        if number == CACHE:
            continue
        argument = raw[offset + 1] | prefix
        if number == EXTENDED_ARG:
            prefix = argument << 8
            continue
        prefix = 0
        found.append(Instruction(number, argument, KIND[number], offset))
    return found


def name_index(instruction: Instruction) -> int:
    """Give the index of a global's or an attribute's name, without the bits for calls.

    Parameters
    ----------
    instruction : Instruction
        A load of a global or an attribute.

    Returns
    -------
    int
        Index into ``co_names``.
    """
    shift = _GLOBAL_SHIFT if instruction.kind == GLOBAL else _ATTRIBUTE_SHIFT
    plain = instruction.opcode in METHOD_LOADS or instruction.opcode not in _SHIFTED
    return instruction.argument if plain else instruction.argument >> shift


def name_of(code: CodeType, instruction: Instruction) -> str:
    """Give the name that a load, store or import refers to.

    Parameters
    ----------
    code : types.CodeType
        The code that holds the instruction.
    instruction : Instruction
        One with a name; of a pair of locals, the *last*.

    Returns
    -------
    str
        A global, attribute or variable name.
    """
    kind, argument = instruction.kind, instruction.argument
    if kind in (GLOBAL, ATTRIBUTE):
        return code.co_names[name_index(instruction)]
    if kind == SUPER_ATTRIBUTE:
        return code.co_names[argument >> _SUPER_SHIFT]
    if kind in (FAST_FAST, STORE_LOAD, STORE_STORE):
        return code.co_varnames[argument & 15]
    if kind in (DEREF, STORE_DEREF, FAST, STORE_FAST):
        return _variable(code, argument, kind)
    return code.co_names[argument]


def first_name(code: CodeType, instruction: Instruction) -> str:
    """Give the first name of an instruction on two locals.

    Parameters
    ----------
    code : types.CodeType
        The code that holds the instruction.
    instruction : Instruction
        A pair of loads, of stores, or a store and a load.

    Returns
    -------
    str
        A variable name.
    """
    return code.co_varnames[instruction.argument >> 4]


def _variable(code: CodeType, argument: int, kind: int) -> str:
    if kind in (FAST, STORE_FAST) and argument < len(code.co_varnames):
        return code.co_varnames[argument]
    if sys.version_info >= (3, 11):
        return str(code._varname_from_oparg(argument))  # type: ignore[attr-defined]
    return (code.co_cellvars + code.co_freevars)[argument]
