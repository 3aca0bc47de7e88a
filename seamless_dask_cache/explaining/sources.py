"""The text of a function: its source where that is certain, a disassembly where it is not.

A file may have been edited since its functions were made. So a text counts as a function's source
only if it compiles, here and now, to code that does the same.
"""

from __future__ import annotations

import ast
import dis
import linecache
import textwrap
import types
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from seamless_dask_cache.explaining.texts import clean, short_text
from seamless_dask_cache.identity.bytecode import code_facts
from seamless_dask_cache.identity.installed import SHIPPED

LONGEST_SOURCE = 20 * 1024
_LONGEST_FILE = 1_000_000
_UNSAID = frozenset({"CACHE", "RESUME", "NOP", "EXTENDED_ARG", "PRECALL", "NOT_TAKEN"})
_JUMPS = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class _Definition(NamedTuple):
    """One function of a file: its name, its lines, and its code object."""

    name: str
    first: int
    last: int
    code: types.CodeType


def function_text(function: types.FunctionType) -> dict[str, str]:
    """Return the text of a function.

    Parameters
    ----------
    function : types.FunctionType
        Any Python function.

    Returns
    -------
    dict
        ``text``; ``form``, "source" or "bytecode"; ``file``, the name of the file without its
        folder. At most 20 KiB.
    """
    code = function.__code__
    file = Path(_file_of(code, function.__globals__)).name
    source = source_of(code, function.__globals__)
    if source is not None:
        return {"text": _cut(source), "form": "source", "file": clean(file)}
    return {"text": _cut(disassembly(code)), "form": "bytecode", "file": clean(file)}


def source_of(code: types.CodeType, module: dict[str, Any] | None = None) -> str | None:
    """Return the source of a code object, or None where it is not certain.

    Parameters
    ----------
    code : types.CodeType
        The code of a function.
    module : dict, optional
        The globals of its module, by which the text in a zip file is found.
    """
    try:
        lines = _lines(_file_of(code, module or {}), module)
        found = _find(code, "".join(lines))
    except Exception:
        return None
    if found is None:
        return None
    return clean(textwrap.dedent("".join(lines[found.first - 1 : found.last])))


def _file_of(code: types.CodeType, module: dict[str, Any]) -> str:
    # A function that was sent has lost the file of its code, but not that of its module.
    if code.co_filename != SHIPPED:
        return code.co_filename
    file = module.get("__file__")
    return file if isinstance(file, str) else ""


def _lines(filename: str, module: dict[str, Any] | None) -> list[str]:
    linecache.checkcache(filename)
    return linecache.getlines(filename, module)


def _find(code: types.CodeType, text: str) -> _Definition | None:
    if not text or len(text) > _LONGEST_FILE:
        return None
    same_name = [item for item in _definitions(text) if item.name == code.co_name]
    # The one on the same line first: others may do the same, and look different.
    same_name.sort(key=lambda item: abs(item.first - code.co_firstlineno))
    digest = code_facts(code).digest
    for item in same_name:
        if code_facts(item.code).digest == digest:
            return item
    return None


@lru_cache(maxsize=32)
def _definitions(text: str) -> tuple[_Definition, ...]:
    tree = ast.parse(text)
    spans: dict[tuple[str, int], int] = {}
    for node in ast.walk(tree):
        if isinstance(node, _DEFINITIONS):
            name = getattr(node, "name", "<lambda>")
            spans[name, _first_line(node)] = max(
                node.end_lineno or node.lineno, spans.get((name, _first_line(node)), 0)
            )
    return tuple(
        _Definition(code.co_name, code.co_firstlineno, last, code)
        for code in _codes(compile(text, "<source>", "exec", dont_inherit=True))
        if (last := spans.get((code.co_name, code.co_firstlineno))) is not None
    )


def _first_line(node: Any) -> int:
    decorators = getattr(node, "decorator_list", ())
    return min(int(item.lineno) for item in (node, *decorators))


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _codes(constant)


def disassembly(code: types.CodeType) -> str:
    """Return the instructions of a code object, without line numbers, offsets and addresses.

    What is inserted in the middle changes nothing after it, so that two of these can be compared
    line by line.
    """
    names = ", ".join(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    lines = [f"{code.co_name}({names})"]
    steps = list(dis.get_instructions(code))
    targets = sorted({step.argval for step in steps if step.opcode in _JUMPS})
    labels = {offset: f"L{number}" for number, offset in enumerate(targets, 1)}
    for step in steps:
        if step.offset in labels:
            lines.append(f"{labels[step.offset]}:")
        if step.opname not in _UNSAID:
            lines.append(f"    {step.opname} {_argument(step, labels)}".rstrip())
    for nested in code.co_consts:
        if isinstance(nested, types.CodeType):
            lines += ["", disassembly(nested)]
    return "\n".join(lines)


def _argument(step: dis.Instruction, labels: dict[int, str]) -> str:
    if step.opcode in _JUMPS:
        return labels[step.argval]
    if isinstance(step.argval, types.CodeType):
        return f"<code {step.argval.co_name}>"
    if step.opcode in dis.hasconst:
        return short_text(step.argval)
    return "" if step.arg is None else clean(step.argrepr or str(step.arg))


def _cut(text: str) -> str:
    if len(text.encode()) <= LONGEST_SOURCE:
        return text
    kept = text.encode()[: LONGEST_SOURCE - 16].decode("utf-8", "ignore")
    return f"{kept}\n(cut here)\n"
