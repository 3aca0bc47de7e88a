"""What a class of the user consists of.

Its name, its bases, its metaclass and everything in its namespace that acts:
methods, properties, attributes, slots, the fields of a dataclass or a pydantic model. Not:
docstring, module, line numbers, caches that the interpreter puts there. Annotations count where
something reads them when the class is made, and they, docstring, module, qualified name and
subclasses where a method does, as a dataclass's ``__repr__`` reads the qualified name.
"""

from __future__ import annotations

import abc
import enum
import inspect
import types
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from ..errors import RefusedError
from .encoder import Encoder, located
from .installed import home_of
from .introspection import encode_read, read_by_methods
from .literals import text
from .nodes import Node

_NEVER = {
    "__module__",
    "__dict__",
    "__weakref__",
    "__doc__",
    "__qualname__",
    "__firstlineno__",
    "__static_attributes__",
    "__annotations__",
    "__annotations_cache__",
    "__annotate__",
    "__annotate_func__",
    "__abstractmethods__",
    "_abc_impl",
    "_abc_registry",
    "_abc_cache",
    "__parameters__",
    "__slotnames__",
    "__type_params__",
    "__classdictcell__",
}
_READS_ANNOTATIONS = (
    "__dataclass_fields__",
    "__attrs_attrs__",
    "_field_defaults",
    "__pydantic_fields__",
    "__fields__",
    "__total__",
)
_ENUM_MACHINERY = {
    "_member_names_",
    "_member_map_",
    "_value2member_map_",
    "_unhashable_values_",
    "_unhashable_values_map_",
    "_hashable_values_",
    "_member_type_",
    "_value_repr_",
    "_use_args_",
    "_new_member_",
    "_generate_next_value_",
    "_flag_mask_",
    "_all_bits_",
    "_singles_mask_",
    "_inverted_",
    "_boundary_",
    "_sort_order_",
    "_numeric_repr_",
}
_MEMBER_MACHINERY = {"_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_"}
_COMPILED = (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
)
# Set again, to the same, in classes that inherit them; cloudpickle leaves those out.
_REPEATED = ("__hash__", "__replace__")
_PLAIN_METACLASSES = (type, abc.ABCMeta, enum.EnumMeta)


def analyse_class(encoder: Encoder, node: Node, subject: type) -> None:
    """Work out the parts of a class.

    Parameters
    ----------
    encoder : Encoder
        Whose site is ``node``.
    node : Node
        Gets the parts.
    subject : type
        A class of the user.
    """
    _refuse_compiled(subject)
    node.part("class").append(b"t" + text("class") + text(subject.__name__))
    encoder.items((type(subject), *subject.__bases__), node.part("bases"))
    if issubclass(subject, enum.Enum):
        members = node.part("members")
        encoder.mapping(_enum_members(subject), members)
        encoder.encode(getattr(getattr(subject, "_boundary_", None), "name", None), members)
    if isinstance(subject, abc.ABCMeta):
        encoder.members(_registered(subject), b"<", node.part("registered"))
    for name, value in _of_pydantic(subject):
        with located(name):
            encoder.encode(value, node.part(name))
    for name, value in sorted(_namespace(subject)):
        part = node.part(f"attribute {name}")
        with located(name):
            part.append(text(name))
            encoder.encode(value, part)
    if _annotations_act(subject):
        annotations = inspect.get_annotations(subject)
        with located("annotations"):
            encoder.mapping(dict(annotations).items(), node.part("annotations"))
    for name in sorted(read_by_methods(subject)):
        with located(name):
            encode_read(encoder, subject, name, node.part(f"read {name}"))


def _refuse_compiled(subject: type) -> None:
    for value in tuple(subject.__dict__.values()):
        # Classes that Python code makes have descriptors of C code only for their slots.
        if isinstance(value, _COMPILED) and value.__objclass__ is subject:
            raise RefusedError(
                f"the compiled class {subject.__qualname__} belongs to no installed distribution"
            )


def _registered(subject: abc.ABCMeta) -> list[type]:
    # What was registered is kept in C; this is what its own debugging helper reads.
    references = import_module("_abc")._get_dump(subject)[0]
    return [kind for kind in (reference() for reference in references) if kind is not None]


def _of_pydantic(subject: type) -> Iterator[tuple[str, Any]]:
    """Yield what a pydantic model was made of, without what was compiled from it."""
    fields = subject.__dict__.get("__pydantic_fields__")
    if fields is None:
        return
    yield "__pydantic_fields__", fields
    decorators = subject.__dict__.get("__pydantic_decorators__")
    for kind in getattr(decorators, "__slots__", None) or vars(decorators or object):
        found = getattr(decorators, kind, None)
        if isinstance(found, dict) and found:
            # Their functions stand in the namespace.
            yield f"{kind}", {name: getattr(item, "info", None) for name, item in found.items()}


def _enum_members(subject: type[enum.Enum]) -> Iterator[tuple[str, Any]]:
    for name, member in subject.__members__.items():
        own = {key: value for key, value in vars(member).items() if key not in _MEMBER_MACHINERY}
        yield name, (member._value_, own)


def _namespace(subject: type) -> Iterator[tuple[str, Any]]:
    generated = set(_NEVER)
    if issubclass(subject, enum.Enum):
        generated.update(_ENUM_MACHINERY, subject.__members__)
    for name, value in tuple(subject.__dict__.items()):
        if name in generated or name.startswith("__pydantic_"):
            continue
        if isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType)):
            continue  # made from __slots__, which stands beside it
        if name in _REPEATED and value is getattr(subject.__mro__[1], name, ...):
            continue
        yield name, value


def _annotations_act(subject: type) -> bool:
    if any(hasattr(subject, name) for name in _READS_ANNOTATIONS):
        return True
    if type(subject) not in _PLAIN_METACLASSES and home_of(type(subject)) is None:
        return True  # a metaclass of the user may do anything
    return any("__init_subclass__" in base.__dict__ for base in subject.__mro__[1:-1])
