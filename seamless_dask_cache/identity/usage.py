"""What the code of a function refers to: each name as a part of its identity, and judged.

What the names mean at the moment is worked out by :mod:`.resolve`, which of them are impure stands
in :mod:`.effects`.
"""

from __future__ import annotations

import os
from functools import cached_property
from types import CodeType, FunctionType, ModuleType
from typing import Any

from .bytecode import CodeFacts
from .callables import encode_registrations
from .effect_names import VARIABLES
from .effects import (
    DYNAMIC_CODE,
    ENVIRONMENT,
    HIDDEN_FILE,
    PROCESS_STATE,
    RANDOM,
    WRITE,
    Effect,
    attribute_effect,
    effect_kind,
    module_effects,
    seed_parameter,
    shows_while_running,
)
from .encoder import Encoder, located
from .environment_names import variable_named
from .expressions import EVALUATORS, is_evaluation, outer_name
from .hidden_files import (
    PathOrigins,
    asks_blindly,
    made_in_place,
    path_argument,
    reads_blindly,
)
from .installed import (
    SHIPPED,
    dotted_names,
    encode_attribute,
    home_of,
    is_generator_method,
    leaf,
    patched,
)
from .introspection import READERS, SOURCES, attribute_of, is_method, unseen_read, value_of
from .literals import LITERALS, text
from .nodes import Node
from .opcodes import ATTRIBUTE, DOUBLING, FAST, SETTING
from .patches import parts_of, patches
from .references import Argument, Call, Reference
from .resolve import Found, NotImported, Scope, is_missing
from .sameness import encode_sameness

_WORDS = {
    "global": "global",
    "local": "import",
    "free": "closure",
    "import": "import",
}


class References:
    """Encodes and judges what the code of one function refers to.

    Parameters
    ----------
    encoder : Encoder
        Whose site is ``node``.
    node : Node
        Gets the parts and the effects.
    function : types.FunctionType
        Any Python function that isn't installed under its name.
    tree : list of CodeFacts
        Its code and all code nested in it.
    """

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
        """Work out everything that the code refers to."""
        for facts in self.tree:
            for reference in facts.references:
                self._judge_setting(facts, reference)
                if reference.kind == "attribute":
                    self._judge_attribute(facts, reference, reference.attributes[-1])
                else:
                    self._follow(facts, reference)
        self._encode_patches()
        encode_sameness(self.node, self.function, self.tree, self.scope)

    def _follow(self, facts: CodeFacts, reference: Reference) -> None:
        found = self.scope.find(reference)
        used = [item for item in found if not self.scope.is_alias(reference, item)]
        for item in used:
            self._judge(facts, reference, item)
        key = (reference.kind, reference.root, reference.source, tuple(reference.attributes))
        if key in self.done:
            return
        self.done.add(key)
        for item in used:
            self._encode(reference, item)
        if not found and reference.kind in ("global", "import"):
            self._part(reference).append(b"t" + text("missing"))

    def _encode_patches(self) -> None:
        # Strings name attributes for getattr and the like.
        names = self.tree[0].names | parts_of(self.node.files)
        for label, value in patches(self.encoder.registry, names):
            with located(f"patch {label}"):
                self.encoder.encode(value, self.node.part(f"patch {label}"))

    def _part(self, reference: Reference) -> list[Any]:
        part = self.node.part(self._label(reference))
        part.append(text(".".join((reference.root, *reference.attributes))))
        return part

    def _label(self, reference: Reference) -> str:
        name = ".".join((reference.root, *reference.attributes))
        return f"{_WORDS[reference.kind]} {name}"

    def _encode(self, reference: Reference, found: Found) -> None:
        subject = found.subject
        with located(self._label(reference)):
            part = self._part(reference)
            if is_missing(found):
                part.append(b"t" + text("missing") + text(found.written))
            elif isinstance(subject, NotImported):
                part.append(leaf(self.encoder, subject.owner, found.written))
            elif subject is os.environ:
                part.append(b"t" + text("os.environ"))
            elif found.owner is not None and not isinstance(subject, ModuleType):
                self._encode_installed(part, found)
            elif (home := _home(subject)) is not None:
                self._encode_leaf(part, home, found)
            elif reference.kind != "free" or found.written:  # else it stands in the closure
                self.encoder.encode(subject, part)
            self._encode_function_attribute(part, found)

    def _encode_installed(self, part: list[Any], found: Found) -> None:
        home = _home(found.subject)
        if home is not None:
            self._encode_leaf(part, home, found)
        elif callable(found.subject) and not _is_bound_installed(found.subject):
            self.encoder.encode(found.subject, part)  # a monkeypatch, or a nested function
        elif found.owner is not None:
            encode_attribute(self.encoder, found.owner, found.written, found.subject, part)

    def _encode_leaf(self, part: list[Any], home: Any, found: Found) -> None:
        part.append(leaf(self.encoder, *home))
        if isinstance(found.subject, type):
            patch = patched(found.subject, found.rest)
            if patch is not None:
                self.encoder.encode(patch, part)
        else:
            encode_registrations(self.encoder, found.subject, part)

    def _encode_function_attribute(self, part: list[Any], found: Found) -> None:
        value = value_of(found.subject, found.rest)
        if value is not ... and _home(found.subject) is None:
            self.encoder.encode(value, part)

    # What follows notes effects.

    def _judge(self, facts: CodeFacts, reference: Reference, found: Found) -> None:
        subject, rest = found.subject, found.rest
        if rest and not _has_own(subject, rest):
            self._judge_attribute(facts, reference, rest[-1])
        if isinstance(subject, ModuleType):
            self._judge_module(subject)
        elif is_generator_method(subject):
            self._note(RANDOM, found.written or reference.root)
        else:
            self._judge_names(facts, reference, _names_of(found))

    def _judge_names(self, facts: CodeFacts, reference: Reference, names: list[str]) -> None:
        call = facts.call_of(reference)
        read = next((READERS[name] for name in names if name in READERS), None)
        if read is not None:
            self._encode_argument(names[0], call, read)
        for variable in {VARIABLES[name] for name in names if name in VARIABLES}:
            self._enter_variable(variable)
        seed = seed_parameter(names)
        if seed is not None:
            self._judge_seed(facts, names[0], call, seed)
            return
        kind = effect_kind(names, call)
        if any(name in SOURCES or name in EVALUATORS for name in names):
            kind = DYNAMIC_CODE
        if kind is None and call is not None and reads_blindly(names):
            self._judge_path(facts, names[0], path_argument(call))
        if kind == WRITE and call is not None and self._origins(facts).is_nowhere(call):
            return
        if kind is None or _is_guard(facts.code, names[-1]):
            return
        if kind != ENVIRONMENT or not self._environment(facts, reference, call):
            self._note(kind, names[0])

    def _encode_argument(self, reader: str, call: Call | None, read: str) -> None:
        """Enter what a function such as ``typing.get_type_hints`` reads of its argument."""
        seen = [*call.positional, *call.keywords.values()][:1] if call is not None else []
        value = self.scope.constant(seen[0].kind, seen[0].value) if seen else ...
        if isinstance(value, (FunctionType, type)):
            part = self.node.part(f"{read} by {reader}")
            with located(f"{read} of {value.__name__}"):
                attribute_of(self.encoder, value, read, part)
        elif not is_method(self.function):
            self._note(DYNAMIC_CODE, f"{reader} of something unseen")

    def _judge_setting(self, facts: CodeFacts, reference: Reference) -> None:
        if reference.kind == "attribute" or not _is_set(facts, reference):
            return
        if _is_made_by_attrs(facts.code):
            return  # a guard against loops in a repr
        names = ".".join((reference.root, *reference.attributes))
        self._note(PROCESS_STATE, f"an assignment to an attribute of {names}")

    def _note(self, kind: str, name: str) -> None:
        if kind == WRITE and shows_while_running(name) and self._makes_temporary_files:
            return  # only there can be seen where it writes
        self.node.effects.append(Effect(kind, name))

    @cached_property
    def _makes_temporary_files(self) -> bool:
        found = (
            name for facts in self.tree for item in facts.references for name in self._names(item)
        )
        return any(name.startswith("tempfile.") for name in found)

    def _judge_module(self, module: ModuleType) -> None:
        seen = {item for facts in self.tree for item in (*facts.code.co_names, *facts.texts)}
        for kind, name in module_effects(module.__name__, frozenset(seen)):
            self._note(kind, name)

    def _judge_attribute(self, facts: CodeFacts, reference: Reference, name: str) -> None:
        call = facts.call_of(reference)
        known = (*facts.code.co_varnames, *facts.code.co_cellvars)
        effect = attribute_effect(name, call, known)
        if effect is not None and not (effect[0] == RANDOM and _is_on_self(facts, reference)):
            self._note(*effect)
        elif is_evaluation(name, call):
            self._judge_expression(facts, name, call)
        elif asks_blindly(name) and self._origins(facts).is_made_path(reference.position - 1):
            self._note(HIDDEN_FILE, made_in_place(f".{name}"))
        if name == "expanduser":
            self._enter_variable("HOME")
        unseen = unseen_read(reference.attributes) if reference.kind == "attribute" else None
        if unseen is not None and not is_method(self.function):
            self._note(DYNAMIC_CODE, f".{unseen} of something unseen")

    def _judge_expression(self, facts: CodeFacts, name: str, call: Call | None) -> None:
        given = call.argument(0, "expr") if call is not None else None
        seen = self._value(given) if given is not None else ...
        texts = (text for item in self.tree for text in item.texts)
        code = facts.code
        local = (*code.co_varnames, *code.co_cellvars, *code.co_freevars)
        outer = outer_name(seen, (*texts, *self.node.files), local)
        if outer is not None:
            self._note(DYNAMIC_CODE, f".{name} of the global {outer}")

    def _value(self, argument: Argument) -> Any:
        """Give the value of an argument that no caller can change, ``...`` for others."""
        if argument.kind == "constant":
            return argument.value
        if argument.kind in ("global", "free"):
            return self.scope.constant(argument.kind, argument.value)
        return ...

    def _judge_path(self, facts: CodeFacts, name: str, path: Argument | None) -> None:
        if path is not None and self._origins(facts).is_made(path):
            self._note(HIDDEN_FILE, made_in_place(name))

    def _origins(self, facts: CodeFacts) -> PathOrigins:
        return PathOrigins(facts, self.tree, self._names)

    def _names(self, reference: Reference) -> list[str]:
        return [name for found in self.scope.find(reference) for name in _names_of(found)]

    def _judge_seed(self, facts: CodeFacts, name: str, call: Call | None, parameter: str) -> None:
        seed = call.argument(0, parameter) if call is not None else None
        if seed is None or self._is_none(seed):
            self._note(RANDOM, f"{name} without a seed")
        elif seed.kind == "local" and facts is self.tree[0] and self._is_parameter(seed.value):
            effect = Effect(RANDOM, f"{name} with {seed.value}=None", parameter=seed.value)
            # Without a default, only who calls the function can see whether it gets None.
            none_by_default = self._default(seed.value) is None
            (self.node.effects if none_by_default else self.node.conditional).append(effect)

    def _default(self, name: str) -> Any:
        """Give the default of a parameter, ``...`` if it has none."""
        code, given = self.function.__code__, self.function.__defaults__ or ()
        named = code.co_varnames[: code.co_argcount][code.co_argcount - len(given) :]
        defaults = {**dict(zip(named, given, strict=False)), **(self.function.__kwdefaults__ or {})}
        return defaults.get(name, ...)

    def _is_none(self, argument: Argument) -> bool:
        return self._value(argument) is None

    def _is_parameter(self, name: str) -> bool:
        code = self.function.__code__
        return name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    def _environment(self, facts: CodeFacts, reference: Reference, call: Call | None) -> bool:
        """Enter the value of an environment variable that the code names by a constant."""
        name = variable_named(facts, reference, call)
        if not isinstance(name, (str, bytes)):
            return False
        self._enter_variable(os.fsdecode(name))
        return True

    def _enter_variable(self, key: str) -> None:
        part = self.node.part(f"environment {key}")
        part.append(text(key))
        # A path in it is no argument: what is opened there is seen while the function runs.
        value = os.environ.get(key)
        part.append(LITERALS[type(value)](value))


_ATTRS = "<attrs generated "
_ATTRS_REPR = ("_compat", "repr_context", "already_repring")
"""What the code of a repr begins with: the objects whose repr is being made, against loops."""


def _names_of(found: Found) -> list[str]:
    if isinstance(found.subject, NotImported):
        return [found.written]
    return dotted_names(found.subject, found.rest, found.written if found.owner else "")


def _is_on_self(facts: CodeFacts, reference: Reference) -> bool:
    """Tell whether a method of the function's own object is meant, which is judged itself."""
    before = facts.instructions[reference.position - len(reference.attributes)]
    own = facts.code.co_varnames[:1] in (("self",), ("cls",))
    return own and before.kind == FAST and before.argument == 0 and len(reference.attributes) == 1


def _has_own(subject: Any, rest: tuple[str, ...]) -> bool:
    """Tell whether an attribute is defined by a class of the user, whose code is judged itself."""
    kind = subject if isinstance(subject, type) else type(subject)
    owners = [base for base in kind.__mro__ if rest[-1] in vars(base)]
    return len(rest) == 1 and bool(owners) and home_of(owners[0]) is None


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


def _is_guard(code: CodeType, name: str) -> bool:
    """Tell whether a value of this process is only used within it, as a hash or against loops."""
    if name == "builtins.hash":
        return code.co_name == "__hash__"
    return name == "builtins.id" and _is_made_by_attrs(code)


def _is_made_by_attrs(code: CodeType) -> bool:
    # Code that was sent has no file any more; of what attrs makes only a repr has to be known.
    is_repr = code.co_name == "__repr__" and code.co_names[:3] == _ATTRS_REPR
    return code.co_filename.startswith(_ATTRS) or (code.co_filename == SHIPPED and is_repr)


def _is_set(facts: CodeFacts, reference: Reference) -> bool:
    following = facts.instructions[reference.position + 1 : reference.position + 3]
    if not following or reference.stored is not None:
        return False
    if following[0].opcode in SETTING:
        return True
    doubled = following[0].opcode in DOUBLING and len(following) == 2
    return doubled and following[1].kind == ATTRIBUTE
