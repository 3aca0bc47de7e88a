"""What a function or a module of the user consists of."""

from __future__ import annotations

from types import FunctionType, ModuleType

from .bytecode import CodeFacts
from .effects import (
    PROCESS_STATE,
)
from .encoder import Encoder, located, names_a_file
from .installed import (
    leaf,
    maker_of,
)
from .literals import text
from .nodes import Node
from .opcodes import (
    REBINDING,
    REBINDING_CLOSURE,
    name_of,
)
from .resolve import code_tree
from .usage import References

# Of a module: what the import system put there, and its docstring.
_MACHINERY = {
    "__annotations__",
    "__builtins__",
    "__cached__",
    "__conditional_annotations__",
    "__doc__",
    "__file__",
    "__loader__",
    "__name__",
    "__package__",
    "__path__",
    "__spec__",
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
    if function.__name__ != function.__code__.co_name:
        node.part("name").append(text(function.__name__))
    _note_files(node, tree)
    _encode_defaults(encoder, node, function)
    _encode_attributes(encoder, node, function)
    maker = maker_of(function)
    _encode_closure(encoder, node, function, modules=maker is not None)
    if maker is not None:
        node.part("made by").append(leaf(encoder, maker, function.__globals__["__name__"]))
        return
    _encode_docstrings(node, tree)
    _judge_stores(encoder, tree, function)
    References(encoder, node, function, tree).analyse()


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
        if name in _MACHINERY:
            continue
        part = node.part(name)
        with located(name):
            part.append(text(name))
            encoder.encode(value, part)


def _judge_stores(encoder: Encoder, tree: list[CodeFacts], function: FunctionType) -> None:
    # What assigns to a name that outlives the call gives something else the next time.
    enclosing = frozenset(function.__code__.co_freevars) - {"__class__"}
    for facts in tree:
        for step in facts.instructions:
            if step.opcode in REBINDING:
                name = facts.code.co_names[step.argument]
                encoder.effect(PROCESS_STATE, f"an assignment to the global {name}")
            elif step.opcode in REBINDING_CLOSURE:
                name = name_of(facts.code, step)
                if name in enclosing and name in facts.code.co_freevars:
                    encoder.effect(PROCESS_STATE, f"an assignment to the closure's {name}")


def _encode_docstrings(node: Node, tree: list[CodeFacts]) -> None:
    if "__doc__" not in tree[0].names:
        return
    part = node.part("docstrings")
    for facts in tree[1:]:
        part.extend(text(item) for item in facts.code.co_consts if isinstance(item, str))


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


def _encode_closure(
    encoder: Encoder, node: Node, function: FunctionType, modules: bool = False
) -> None:
    names = function.__code__.co_freevars
    for name, cell in zip(names, function.__closure__ or (), strict=False):
        part = node.part(f"closure {name}")
        part.append(text(name))
        try:
            value = cell.cell_contents
        except ValueError:
            part.append(b"t" + text("empty cell"))
            continue
        if isinstance(value, ModuleType) and not modules:
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
