"""Code that reads code: docstrings, annotations, names of modules, subclasses.

These do not enter an identity as a rule, because nothing happens when they change. They do where
code reads them: from a function or class that it names, they become a part of their own; a
class whose methods read them has them among its parts; from something that can't be seen from the
code, reading them is an effect.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

from .bytecode import code_facts
from .installed import home_of, maker_of
from .literals import text
from .nodes import Piece

LEFT_OUT = frozenset(
    {
        "__annotate__",
        "__annotations__",
        "__closure__",
        "__code__",
        "__defaults__",
        "__dict__",
        "__doc__",
        "__kwdefaults__",
        "__module__",
        "__name__",
        "__qualname__",
        "__subclasses__",
        "__type_params__",
        "__wrapped__",
    }
)
"""Attributes of functions and classes that a node has no part of, or not under that name."""

READERS = {
    "typing.get_type_hints": "__annotations__",
    "inspect.get_annotations": "__annotations__",
    "inspect.getfullargspec": "__annotations__",
    "inspect.signature": "__annotations__",
    "inspect.Signature.from_callable": "__annotations__",
    "inspect.getdoc": "__doc__",
    "pydoc.getdoc": "__doc__",
    "builtins.type.__subclasses__": "__subclasses__",
}
"""Functions that read such an attribute of their argument."""

SOURCES = frozenset(
    f"inspect.{name}"
    for name in ("getsource", "getsourcelines", "getsourcefile", "getfile", "getcomments")
)
"""Functions that read source files."""

_UNSEEN = frozenset(
    {"__annotations__", "__code__", "__doc__", "__globals__", "__module__", "__qualname__"}
    | {"__subclasses__"}
)

_BY_CLASSES = {"__annotations__", "__doc__", "__module__", "__qualname__", "__subclasses__"}
_SHORT_READERS = {name.rpartition(".")[2]: what for name, what in READERS.items()}
_IDENTIFIER = re.compile(r"[^\W\d]\w*")


def is_method(function: FunctionType) -> bool:
    """Tell whether a function was written in a class: its class then has what it reads.

    Parameters
    ----------
    function : types.FunctionType
        Any function.

    Returns
    -------
    bool
        By qualified name, which decorators keep, or because only classes have such functions.
    """
    if function.__name__.startswith("__") and function.__name__.endswith("__"):
        return True
    return any("." in part for part in function.__qualname__.split(".<locals>."))


def unseen_read(attributes: list[str]) -> str | None:
    """Give what code reads from something that can't be seen from the code.

    Parameters
    ----------
    attributes : list of str
        The chain that it follows.

    Returns
    -------
    str or None
        The name of the attribute; ``None`` for what stands in every identity.
    """
    return next((name for name in attributes if name in _UNSEEN), None)


def value_of(subject: Any, rest: tuple[str, ...]) -> Any:
    """Follow attributes of a function or class as far as they can be followed.

    Parameters
    ----------
    subject : object
        Where to begin.
    rest : tuple of str
        Attributes.

    Returns
    -------
    object
        ``...`` if none of them was left out of the identity of ``subject``, or it isn't code.
    """
    if LEFT_OUT.isdisjoint(rest) or not isinstance(subject, (FunctionType, MethodType, type)):
        return ...
    for name in rest:
        if name == "__subclasses__" and isinstance(subject, type):
            return subclasses(subject)
        if not hasattr(subject, name):
            return subject
        subject = getattr(subject, name)
    return subject


def subclasses(subject: type) -> list[type]:
    """List the direct and indirect subclasses of a class that there are at the moment."""
    found: dict[type[Any], None] = {}
    below: type[Any]
    for below in type.__subclasses__(subject):
        found[below] = None
        found.update(dict.fromkeys(subclasses(below)))
    return list(found)


def attribute_of(encoder: Any, subject: Any, name: str, out: list[Piece]) -> None:
    """Encode an attribute that a function such as ``typing.get_type_hints`` reads.

    Parameters
    ----------
    encoder : Encoder
        Encodes the values.
    subject : function or class
        What is read.
    name : str
        Such as ``__annotations__``.
    out : list
        The pieces so far.
    """
    if name == "__annotations__":
        found, names = annotations_of(subject)
        encoder.mapping(found.items(), out)
        encoder.mapping(names.items(), out)
    elif name == "__subclasses__":
        encoder.encode(subclasses(subject), out)
    else:
        encoder.encode(getattr(subject, name, None), out)


def annotations_of(subject: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the annotations of a function or class, and what the names in textual ones mean.

    Parameters
    ----------
    subject : function or class
        Of the user.

    Returns
    -------
    (dict, dict)
        Annotations by parameter or attribute; objects by name.
    """
    subject = getattr(subject, "__func__", subject)
    found = dict(getattr(subject, "__annotations__", None) or {})
    module = sys.modules.get(getattr(subject, "__module__", None) or "")
    scope = getattr(subject, "__globals__", None) or vars(module or object)
    words = {word for item in found.values() for word in _words(item)}
    return found, {word: scope[word] for word in sorted(words) if word in scope}


def _words(annotation: Any) -> list[str]:
    return _IDENTIFIER.findall(annotation) if isinstance(annotation, str) else []


def read_by_methods(subject: type) -> set[str]:
    """Collect what the methods of a class and of its bases read of classes.

    Parameters
    ----------
    subject : type
        A class of the user.

    Returns
    -------
    set of str
        Attributes of classes, such as ``__doc__``.
    """
    names: set[str] = set()
    for base in subject.__mro__[:-1]:
        if home_of(base) is None:
            for value in tuple(vars(base).values()):
                names.update(*map(_named_by, _functions_in(value)))
    return (names & _BY_CLASSES) | {_SHORT_READERS[name] for name in names & set(_SHORT_READERS)}


def _named_by(function: FunctionType) -> frozenset[str]:
    inner = function.__dict__.get("__wrapped__")
    names = _named_by(inner) if isinstance(inner, FunctionType) else frozenset()
    if maker_of(function) is not None:
        return names
    return names | code_facts(function.__code__).names


def _functions_in(value: Any) -> Iterator[FunctionType]:
    if isinstance(value, FunctionType):
        yield value
    elif isinstance(value, (classmethod, staticmethod)):
        yield from _functions_in(value.__func__)
    elif isinstance(value, property):
        for part in (value.fget, value.fset, value.fdel):
            yield from _functions_in(part)
    elif isinstance(getattr(value, "func", None), FunctionType):
        yield value.func


def encode_read(encoder: Any, subject: type, name: str, out: list[Piece]) -> None:
    """Encode what the methods of a class read of it.

    Parameters
    ----------
    encoder : Encoder
        Encodes the values.
    subject : type
        The class.
    name : str
        One of the names that `read_by_methods` gives.
    out : list
        The pieces so far.
    """
    out.append(text(name))
    if name == "__subclasses__":
        encoder.encode([kind.__qualname__ for kind in subclasses(subject)], out)
        return
    attribute_of(encoder, subject, name, out)
    if name not in ("__annotations__", "__doc__"):
        return
    for label, value in sorted(vars(subject).items()):
        for function in _functions_in(value):
            out.append(text(label))
            attribute_of(encoder, function, name, out)
