"""Bytecode as a stream of what happens, whatever file or cell it was compiled in.

The compiler writes the same statement in different ways: a call of an attribute of a module is a
plain call where the ``import`` stands in the same file and a method call where it stands in
another cell of a notebook; caches follow, and with them every offset; a docstring or a long file
shifts the numbers of constants and with them the prefixes of long arguments; line ends leave NOPs.
So instructions are counted instead of bytes, jumps and exception handlers point to instructions,
and what only concerns the calling convention is left out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from types import CodeType

from .opcodes import (
    ATTRIBUTE,
    BACKWARD,
    CACHE,
    CONST,
    DROPPED,
    EXTENDED_ARG,
    GLOBAL,
    JUMPS,
    JUMPS_ABSOLUTE,
    METHOD_LOADS,
    PLAIN_LOAD,
    Instruction,
    name_index,
)


def stream(code: CodeType, steps: list[Instruction], ranks: dict[int, int]) -> bytes:
    """Write down what bytecode does.

    Parameters
    ----------
    code : types.CodeType
        Where the instructions stand.
    steps : list of Instruction
        All of them.
    ranks : dict
        The number of each constant by the position of the instruction that loads it.

    Returns
    -------
    bytes
        Equal for code that was compiled from the same statements.
    """
    raw = code.co_code
    kept = [(index, step) for index, step in enumerate(steps) if step.opcode not in DROPPED]
    starts = [_start(raw, step.offset) for _, step in kept]
    lines: list[str] = []
    for index, step in kept:
        if step.opcode in JUMPS:
            argument = bisect_left(starts, _target(raw, step))
        elif step.kind == CONST:
            argument = ranks[index]
        else:
            argument = _plain(step)
        lines.append(f"{METHOD_LOADS.get(step.opcode, step.opcode)} {argument}")
    lines.extend(_handlers(getattr(code, "co_exceptiontable", b""), starts))
    return "\n".join(lines).encode()


def _start(raw: bytes, offset: int) -> int:
    """Give where an instruction begins, prefixes included: that is what jumps point to."""
    while offset >= 2 and raw[offset - 2] == EXTENDED_ARG:
        offset -= 2
    return offset


def _target(raw: bytes, step: Instruction) -> int:
    if step.opcode in JUMPS_ABSOLUTE:
        return 2 * step.argument
    after = step.offset + 2
    while after < len(raw) and raw[after] == CACHE:
        after += 2
    return after - 2 * step.argument if step.opcode in BACKWARD else after + 2 * step.argument


def _plain(step: Instruction) -> int:
    if step.kind in (GLOBAL, ATTRIBUTE):
        return name_index(step)
    return step.argument if step.opcode >= PLAIN_LOAD else 0


def _handlers(table: bytes, starts: list[int]) -> Iterator[str]:
    """Decode an exception table (Objects/exception_handling_notes.txt of CPython 3.11)."""
    numbers = _varints(table)
    for begin, length, target, depth in zip(numbers, numbers, numbers, numbers, strict=False):
        first, end, handler = (
            bisect_left(starts, 2 * place) for place in (begin, begin + length, target)
        )
        yield f"{first} {end} {handler} {depth}"


def _varints(table: bytes) -> Iterator[int]:
    value = 0
    for byte in table:
        value = value << 6 | byte & 63
        if not byte & 64:
            yield value
            value = 0
