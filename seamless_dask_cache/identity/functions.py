"""What a function or a module of the user consists of, and which impure names it reaches."""

from __future__ import annotations

import os
from types import FunctionType, ModuleType
from typing import Any

from .bytecode import CodeFacts
from .effects import (
    ENVIRONMENT,
    PROCESS_STATE,
    RANDOM,
    Effect,
    attribute_effect,
    effect_kind,
    module_effects,
    seed_parameter,
)
from .encoder import Encoder, located, names_a_file
from .installed import (
    dotted_names,
    encode_attribute,
    home_of,
    is_generator_method,
    leaf,
)
from .literals import text
from .nodes import Node
from .opcodes import CONST, CONTAINS, REBINDING, SUBSCRIPT
from .references import Argument, Call, Reference, call_after
from .resolve import Found, NotImported, Scope, code_tree, is_missing

_WORDS = {
    "global": "global",
    "local": "import",
    "free": "closure",
    "import": "import",
}


def analyse_function(encoder: Encoder, node: Node, function: FunctionType) -> None:
    """Work out the parts of a function.

    Parameters
    ----------
    encoder : Encoder
        Whose site is ``node``.
    node : Node
        Gets the parts and the effects.
    function : types.FunctionType
        Any Python function that isn't installed under its name.
    """
    tree = code_tree(function)
    node.part("code").append(b"f" + tree[0].digest)
    _note_files(node, tree)
    _encode_defaults(encoder, node, function)
    _encode_closure(encoder, node, function)
    _encode_attributes(encoder, node, function)
    _judge_globals(encoder, tree)
    _References(encoder, node, function, tree).analyse()


def analyse_module(encoder: Encoder, node: Node, module: ModuleType) -> None:
    """Work out the parts of a module that is used as an object: all of its content.

    Parameters
    ----------
    encoder : Encoder
        Whose site is ``node``.
    node : Node
        Gets the parts.
    module : types.ModuleType
        A module of the user.
    """
    for name, value in sorted(vars(module).items()):
        if name.startswith("__") and name.endswith("__"):
            continue
        part = node.part(name)
        with located(name):
            part.append(text(name))
            encoder.encode(value, part)


def _judge_globals(encoder: Encoder, tree: list[CodeFacts]) -> None:
    # What assigns to a global gives something else, or does something else, the next time.
    for facts in tree:
        for step in facts.instructions:
            if step.opcode in REBINDING:
                name = facts.code.co_names[step.argument]
                encoder.effect(PROCESS_STATE, f"an assignment to the global {name}")


def _note_files(node: Node, tree: list[CodeFacts]) -> None:
    for facts in tree:
        node.files.extend(item for item in facts.texts if names_a_file(item))


def _encode_defaults(encoder: Encoder, node: Node, function: FunctionType) -> None:
    for index, value in enumerate(function.__defaults__ or ()):
        with located(f"default {index}"):
            encoder.encode(value, node.part(f"default {index}"))
    for name, value in sorted((function.__kwdefaults__ or {}).items()):
        part = node.part(f"default {name}")
        with located(f"default {name}"):
            part.append(text(name))
            encoder.encode(value, part)


def _encode_closure(encoder: Encoder, node: Node, function: FunctionType) -> None:
    names = function.__code__.co_freevars
    for name, cell in zip(names, function.__closure__ or (), strict=False):
        part = node.part(f"closure {name}")
        part.append(text(name))
        try:
            value = cell.cell_contents
        except ValueError:
            part.append(b"t" + text("empty cell"))
            continue
        if isinstance(value, ModuleType):
            continue  # what is used of it is followed by name
        with located(f"closure {name}"):
            encoder.encode(value, part)


def _encode_attributes(encoder: Encoder, node: Node, function: FunctionType) -> None:
    own = {key: value for key, value in vars(function).items() if not key.startswith("__")}
    for name, value in sorted(own.items()):
        part = node.part(f"attribute {name}")
        with located(f"attribute {name}"):
            part.append(text(name))
            encoder.encode(value, part)


class _References:
    """Encodes and judges what the code of one function refers to."""

    def __init__(
        self, encoder: Encoder, node: Node, function: FunctionType, tree: list[CodeFacts]
    ) -> None:
        self.encoder = encoder
        self.node = node
        self.function = function
        self.tree = tree
        self.scope = Scope(function, tree)
        self.done: set[tuple[str, str, Any, tuple[str, ...]]] = set()

    def analyse(self) -> None:
        for facts in self.tree:
            for reference in facts.references:
                if reference.kind == "attribute":
                    self.judge_attribute(facts, reference, reference.attributes[-1])
                else:
                    self.follow(facts, reference)

    def follow(self, facts: CodeFacts, reference: Reference) -> None:
        found = self.scope.find(reference)
        used = [item for item in found if not self.scope.is_alias(reference, item)]
        for item in used:
            self.judge(facts, reference, item)
        key = (reference.kind, reference.root, reference.source, tuple(reference.attributes))
        if key in self.done:
            return
        self.done.add(key)
        for item in used:
            self.encode(reference, item)
        if not found and reference.kind in ("global", "import"):
            self.part(reference).append(b"t" + text("missing"))

    def part(self, reference: Reference) -> list[Any]:
        part = self.node.part(self.label(reference))
        part.append(text(".".join((reference.root, *reference.attributes))))
        return part

    def label(self, reference: Reference) -> str:
        name = ".".join((reference.root, *reference.attributes))
        return f"{_WORDS[reference.kind]} {name}"

    def encode(self, reference: Reference, found: Found) -> None:
        subject = found.subject
        with located(self.label(reference)):
            part = self.part(reference)
            if is_missing(found):
                part.append(b"t" + text("missing") + text(found.written))
            elif isinstance(subject, NotImported):
                part.append(leaf(self.encoder, subject.owner, found.written))
            elif subject is os.environ:
                part.append(b"t" + text("os.environ"))
            elif found.owner is not None and not isinstance(subject, ModuleType):
                self.encode_installed(part, found)
            elif (home := _home(subject)) is not None:
                part.append(leaf(self.encoder, *home))
            elif reference.kind != "free" or found.written:  # else it stands in the closure
                self.encoder.encode(subject, part)
            self.encode_function_attribute(part, found)

    def encode_installed(self, part: list[Any], found: Found) -> None:
        home = _home(found.subject)
        if home is not None:
            part.append(leaf(self.encoder, *home))
        elif callable(found.subject) and not _is_bound_installed(found.subject):
            self.encoder.encode(found.subject, part)  # a monkeypatch, or a nested function
        elif found.owner is not None:
            encode_attribute(self.encoder, found.owner, found.written, found.subject, part)

    def encode_function_attribute(self, part: list[Any], found: Found) -> None:
        if isinstance(found.subject, FunctionType) and found.rest:
            value = getattr(found.subject, found.rest[0], None)
            if value is None or isinstance(value, (str, int, float)):
                self.encoder.encode(value, part)

    # What follows notes effects.

    def judge(self, facts: CodeFacts, reference: Reference, found: Found) -> None:
        subject, rest = found.subject, found.rest
        if rest:
            self.judge_attribute(facts, reference, rest[-1])
        if isinstance(subject, ModuleType):
            self.judge_module(subject)
        elif is_generator_method(subject):
            self.note(RANDOM, found.written or reference.root)
        elif isinstance(subject, NotImported):
            self.judge_names(facts, reference, [found.written])
        else:
            names = dotted_names(subject, rest, found.written if found.owner else "")
            self.judge_names(facts, reference, names)

    def judge_names(self, facts: CodeFacts, reference: Reference, names: list[str]) -> None:
        call = call_after(facts.code, facts.instructions, reference.position)
        seed = seed_parameter(names)
        if seed is not None:
            self.judge_seed(facts, names[0], call, seed)
            return
        kind = effect_kind(names, call)
        if kind is None or (facts.code.co_name == "__hash__" and names[-1] == "builtins.hash"):
            return
        if kind != ENVIRONMENT or not self.environment(facts, reference, call):
            self.note(kind, names[0])

    def note(self, kind: str, name: str) -> None:
        self.node.effects.append(Effect(kind, name))

    def judge_module(self, module: ModuleType) -> None:
        seen = {item for facts in self.tree for item in (*facts.code.co_names, *facts.texts)}
        for kind, name in module_effects(module.__name__, frozenset(seen)):
            self.note(kind, name)

    def judge_attribute(self, facts: CodeFacts, reference: Reference, name: str) -> None:
        call = call_after(facts.code, facts.instructions, reference.position)
        effect = attribute_effect(name, call)
        if effect is not None:
            self.note(*effect)

    def judge_seed(self, facts: CodeFacts, name: str, call: Call | None, parameter: str) -> None:
        seed = call.argument(0, parameter) if call is not None else None
        if seed is None or self.is_none(seed):
            self.note(RANDOM, f"{name} without a seed")
        elif seed.kind == "local" and facts is self.tree[0] and self.is_parameter(seed.value):
            effect = Effect(RANDOM, f"{name} with {seed.value}=None", parameter=seed.value)
            # Without a default, only who calls the function can see whether it gets None.
            none_by_default = self.default(seed.value) is None
            (self.node.effects if none_by_default else self.node.conditional).append(effect)

    def default(self, name: str) -> Any:
        """Give the default of a parameter, ``...`` if it has none."""
        code, given = self.function.__code__, self.function.__defaults__ or ()
        named = code.co_varnames[: code.co_argcount][code.co_argcount - len(given) :]
        defaults = {**dict(zip(named, given, strict=False)), **(self.function.__kwdefaults__ or {})}
        return defaults.get(name, ...)

    def is_none(self, argument: Argument) -> bool:
        if argument.kind == "constant":
            return argument.value is None
        if argument.kind in ("global", "free"):
            return self.scope.constant(argument.kind, argument.value) is None
        return False

    def is_parameter(self, name: str) -> bool:
        code = self.function.__code__
        return name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    def environment(self, facts: CodeFacts, reference: Reference, call: Call | None) -> bool:
        """Enter the value of an environment variable that the code names by a constant."""
        name = _constant_name(facts, reference, call)
        if not isinstance(name, (str, bytes)):
            return False
        key = os.fsdecode(name)
        part = self.node.part(f"environment {key}")
        part.append(text(key))
        self.encoder.encode(os.environ.get(key), part)
        return True


def _home(subject: Any) -> Any:
    kinds = (type, FunctionType)
    return home_of(subject) if isinstance(subject, kinds) or _is_compiled(subject) else None


def _is_compiled(subject: Any) -> bool:
    owner = getattr(subject, "__self__", None)
    return isinstance(getattr(subject, "__qualname__", None), str) and (
        owner is None or isinstance(owner, ModuleType)
    )


def _is_bound_installed(subject: Any) -> bool:
    """Tell whether a callable in an installed module is an object of an installed class."""
    if isinstance(subject, FunctionType):
        return False
    owner = getattr(subject, "__self__", subject)
    return home_of(type(owner)) is not None


def _constant_name(facts: CodeFacts, reference: Reference, call: Call | None) -> Any:
    last = reference.attributes[-1] if reference.attributes else reference.root
    if call is not None and last not in ("pop", "setdefault", "update", "clear", "putenv"):
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
