"""What a class of the user consists of.

Its bases, its metaclass and everything in its namespace that acts: methods, properties, attributes,
slots, the fields of a dataclass. Not: docstring, module, line numbers, caches that the interpreter
puts there. Annotations count where something reads them when the class is made.
"""

from __future__ import annotations

import enum
import inspect
import types
from collections.abc import Iterator
from typing import Any

from .encoder import Encoder, located
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
    node.part("class").append(b"t" + text("class") + text(subject.__name__))
    encoder.items((type(subject), *subject.__bases__), node.part("bases"))
    if issubclass(subject, enum.Enum):
        members = node.part("members")
        encoder.mapping(_enum_members(subject), members)
    for name, value in sorted(_namespace(subject)):
        part = node.part(f"attribute {name}")
        with located(name):
            part.append(text(name))
            encoder.encode(value, part)
    if _annotations_act(subject):
        annotations = inspect.get_annotations(subject)
        with located("annotations"):
            encoder.mapping(dict(annotations).items(), node.part("annotations"))


def _enum_members(subject: type[enum.Enum]) -> Iterator[tuple[str, Any]]:
    for name, member in subject.__members__.items():
        yield name, member._value_


def _namespace(subject: type) -> Iterator[tuple[str, Any]]:
    generated = set(_NEVER)
    if issubclass(subject, enum.Enum):
        generated.update(_ENUM_MACHINERY, subject.__members__)
    for name, value in tuple(subject.__dict__.items()):
        if name in generated or name.startswith("__pydantic_"):
            continue
        if isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType)):
            continue  # made from __slots__, which stands beside it
        yield name, value


def _annotations_act(subject: type) -> bool:
    if any(hasattr(subject, name) for name in _READS_ANNOTATIONS):
        return True
    return any("__init_subclass__" in base.__dict__ for base in subject.__mro__[1:-1])
