"""How code names the environment variables that it reads."""

from __future__ import annotations

from typing import Any

from .bytecode import CodeFacts
from .opcodes import CONST, CONTAINS, SUBSCRIPT
from .references import Call, Reference

_NO_NAMES = {"pop", "setdefault", "update", "clear", "putenv", "expandvars"}
"""Functions whose first argument is no name of a variable that is only read."""


def variable_named(facts: CodeFacts, reference: Reference, call: Call | None) -> Any:
    """Give the constant by which code names an environment variable.

    Parameters
    ----------
    facts : CodeFacts
        The code.
    reference : Reference
        Leads to ``os.environ`` or a function that reads it.
    call : Call or None
        How it is called.

    Returns
    -------
    object
        ``None`` where there is no constant, or all of the environment is meant.
    """
    last = reference.attributes[-1] if reference.attributes else reference.root
    if call is not None and last not in _NO_NAMES:
        first = call.argument(0, "key")
        return first.value if first is not None and first.kind == "constant" else None
    if last not in ("environ", "environb") and reference.attributes:
        return None
    steps, position = facts.instructions, reference.position
    following = steps[position + 1 : position + 3]
    if len(following) == 2 and following[0].kind == CONST and following[1].kind == SUBSCRIPT:
        return facts.code.co_consts[following[0].argument]
    return _tested_name(facts, reference)


def _tested_name(facts: CodeFacts, reference: Reference) -> Any:
    steps, position = facts.instructions, reference.position
    if position + 1 >= len(steps) or steps[position + 1].kind != CONTAINS:
        return None
    before = position - len(reference.attributes) - 1
    if before >= 0 and steps[before].kind == CONST:
        return facts.code.co_consts[steps[before].argument]
    return None
