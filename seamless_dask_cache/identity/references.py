"""Which names a code object loads, how it follows them, and how it calls what it finds.

One linear pass over the bytecode, no execution. A *reference* is a root (a global, an imported
module, a local variable that an import was stored in) and the chain of attributes that directly
follows: ``np.random.default_rng`` is one reference.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from .opcodes import (
    ATTRIBUTE,
    CALLS,
    CONST,
    DEREF,
    FAST,
    FAST_FAST,
    GLOBAL,
    IMPORT,
    IMPORT_FROM,
    JUMPS,
    KEYWORD_CALLS,
    KW_NAMES,
    NAME,
    NOTHING,
    PUSH_NULL,
    STORE_DEREF,
    STORE_FAST,
    STORE_LOAD,
    STORE_NAME,
    STORE_STORE,
    SUPER_ATTRIBUTE,
    Instruction,
    first_name,
    name_of,
)

_STORES = {STORE_FAST, STORE_NAME, STORE_DEREF, STORE_LOAD, STORE_STORE}
_LONGEST_CALL = 200


@dataclass(frozen=True, slots=True)
class Import:
    """What an import statement inside a function names."""

    module: str
    level: int
    item: str | None
    whole: bool


@dataclass(slots=True)
class Reference:
    """A name that code loads, and what directly happens to it.

    Attributes
    ----------
    kind : str
        ``global``, ``local``, ``free``, ``import`` or ``attribute`` (of an object that can't be
        known from the code alone).
    root : str
        The variable, or the module.
    attributes : list of str
        The chain that follows.
    position : int
        Index of the last instruction of the chain.
    stored : str or None
        The variable that the result is directly stored in.
    source : Import or None
        For an import.
    """

    kind: str
    root: str
    attributes: list[str]
    position: int
    stored: str | None = None
    source: Import | None = None


_ROOTS = {GLOBAL: "global", NAME: "global", DEREF: "free", FAST: "local", FAST_FAST: "local"}


def find_references(code: CodeType, steps: list[Instruction]) -> list[Reference]:
    """List what a code object refers to, in the order of the bytecode.

    Parameters
    ----------
    code : types.CodeType
        Where the names stand.
    steps : list of Instruction
        Its decoded bytecode.

    Returns
    -------
    list of Reference
        Locals only where something with a visible origin was stored in them.
    """
    walk = _Walk(code, steps)
    walk.run()
    return [item for item in map(walk.checked, walk.found) if item is not None]


class _Walk:
    def __init__(self, code: CodeType, steps: list[Instruction]) -> None:
        self.code = code
        self.steps = steps
        self.found: list[Reference] = []
        self.stored: set[str] = set()
        self.open: Reference | None = None

    def checked(self, reference: Reference) -> Reference | None:
        """Turn locals of unknown origin into plain attributes, drop those that are only loaded."""
        if reference.kind != "local" or reference.root in self.stored:
            return reference
        if not reference.attributes:
            return None
        return Reference("attribute", "", reference.attributes, reference.position)

    def run(self) -> None:
        for index, step in enumerate(self.steps):
            kind = step.kind
            if kind in _ROOTS:
                self.begin(_ROOTS[kind], name_of(self.code, step), index)
            elif kind in (ATTRIBUTE, SUPER_ATTRIBUTE):
                self.attribute(name_of(self.code, step), index)
            elif kind in _STORES:
                self.store(step, index)
            elif kind == IMPORT:
                self.import_module(step, index)
            elif kind == IMPORT_FROM:
                self.import_item(step, index)
            elif kind != NOTHING:
                self.open = None

    def begin(self, kind: str, root: str, index: int) -> None:
        self.open = None
        if root == "__name__" and self._stores_module_name(index):
            return
        self.open = Reference(kind, root, [], index)
        self.found.append(self.open)

    def _stores_module_name(self, index: int) -> bool:
        if index + 1 >= len(self.steps) or self.steps[index + 1].kind != STORE_NAME:
            return False
        return name_of(self.code, self.steps[index + 1]) == "__module__"

    def attribute(self, name: str, index: int) -> None:
        if self.open is None or self.open.kind == "import":
            self.open = Reference("attribute", "", [], index)
            self.found.append(self.open)
        self.open.attributes.append(name)
        self.open.position = index

    def store(self, step: Instruction, index: int) -> None:
        pair = step.kind in (STORE_LOAD, STORE_STORE)
        if self.open is not None:
            name = first_name(self.code, step) if pair else name_of(self.code, step)
            self.open.stored = name
            self.stored.add(name)
        self.open = None
        if step.kind == STORE_LOAD:
            self.begin("local", name_of(self.code, step), index)

    def import_module(self, step: Instruction, index: int) -> None:
        level, items = (self._constant(index - 2) or 0), self._constant(index - 1)
        module = name_of(self.code, step)
        following = self.steps[index + 1].kind if index + 1 < len(self.steps) else NOTHING
        as_chain = not items and following == IMPORT_FROM
        source = Import(module, level, None, as_chain or bool(items))
        self._last_import, self._as_chain, self.open = source, None, None
        if not items:
            self.open = Reference("import", module, [], index, source=source)
            self.found.append(self.open)
            self._as_chain = self.open if as_chain else None

    def import_item(self, step: Instruction, index: int) -> None:
        if self._as_chain is not None:  # import a.b as c: the store that follows gets a.b
            self.open = self._as_chain
            return
        assert self._last_import is not None  # the compiler puts IMPORT_NAME before
        module, level = self._last_import.module, self._last_import.level
        item = name_of(self.code, step)
        self.open = Reference("import", module, [], index, source=Import(module, level, item, True))
        self.found.append(self.open)

    def _constant(self, index: int) -> Any:
        step = self.steps[index]
        return self.code.co_consts[step.argument] if step.kind == CONST else None

    _last_import: Import | None = None
    _as_chain: Reference | None = None


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a visible call: a constant, a variable, or something computed."""

    kind: str  # "constant", "local", "global", "free", "computed"
    value: Any = None
    # Index of the instruction that finished it.
    position: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A call whose arguments can be counted in the bytecode."""

    positional: tuple[Argument, ...]
    keywords: dict[str, Argument]
    # Index of the instruction that calls.
    position: int = field(default=-1, compare=False)

    def argument(self, position: int, name: str) -> Argument | None:
        """Give an argument by position or keyword; ``None`` where it is left out."""
        if position < len(self.positional):
            return self.positional[position]
        return self.keywords.get(name)


_VARIABLES = {GLOBAL: "global", NAME: "global", FAST: "local", DEREF: "free"}


def call_after(code: CodeType, steps: list[Instruction], position: int) -> Call | None:
    """Find the call of what the instruction at a position has loaded.

    Follows the depth of the stack until a call consumes exactly what lies above the callee.

    Parameters
    ----------
    code : types.CodeType
        Where constants and names stand.
    steps : list of Instruction
        Decoded bytecode.
    position : int
        The instruction that loads the callee.

    Returns
    -------
    Call or None
        ``None`` when it isn't called, is called with ``*`` or ``**``, or an argument branches.
    """
    stack: list[Argument] = []
    begin = position + 1
    if begin < len(steps) and steps[begin].opcode == PUSH_NULL:
        begin += 1
    names: Sequence[str] = ()
    for index, step in enumerate(steps[begin : begin + _LONGEST_CALL], begin):
        if step.opcode == KW_NAMES:
            names = code.co_consts[step.argument]
        if step.opcode in CALLS:
            extra = 1 if step.opcode in KEYWORD_CALLS else 0
            if len(stack) == step.argument + extra:
                return _call(stack, names, extra, index)
            if step.opcode not in KEYWORD_CALLS:
                names = ()
        if step.opcode in JUMPS or not _advance(code, step, stack, index):
            return None
    return None


def _call(stack: list[Argument], names: Sequence[str], extra: int, position: int) -> Call | None:
    if extra:
        last = stack.pop()
        if not isinstance(last.value, tuple):
            return None
        names = last.value
    split = len(stack) - len(names)
    return Call(tuple(stack[:split]), dict(zip(names, stack[split:], strict=True)), position)


def _advance(code: CodeType, step: Instruction, stack: list[Argument], index: int) -> bool:
    simple = _simple(code, step, index)
    if simple is not None:
        stack.append(simple)
        return True
    effect = _stack_effect(step)
    if -effect > len(stack):
        return False
    if effect < 0:
        del stack[effect:]
    if stack and step.kind != NOTHING and step.opcode not in (KW_NAMES, PUSH_NULL):
        stack[-1] = Argument("computed", position=index)
    stack.extend([Argument("computed", position=index)] * effect)
    return True


def _simple(code: CodeType, step: Instruction, index: int) -> Argument | None:
    if step.kind == CONST and step.opcode != KW_NAMES:
        if dis.stack_effect(step.opcode, step.argument) == 1:
            return Argument("constant", code.co_consts[step.argument], index)
        return None
    if step.kind in _VARIABLES and _stack_effect(step) == 1:
        return Argument(_VARIABLES[step.kind], name_of(code, step), index)
    return None


def _stack_effect(step: Instruction) -> int:
    name = dis.opname[step.opcode]
    if sys.version_info[:2] == (3, 11):  # there PRECALL takes what the others let CALL take
        if name == "PRECALL":
            return 0
        if name == "CALL":
            return -1 - step.argument
    argument = step.argument if step.opcode >= dis.HAVE_ARGUMENT else None
    return dis.stack_effect(step.opcode, argument, jump=False)
