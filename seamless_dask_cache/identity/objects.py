"""The rule for objects of types that have no encoding of their own.

In this order:

1. Types registered with :func:`register_identity`, and classes with a method
   ``__seamless_identity__(self)``: what the function or method returns, and the class as code.
   Subclasses inherit it; the nearest declaration counts.
2. Locks are constants: they guard a computation and do not enter it.
3. Handles, iterators, sockets, threads, frames, weak references, pointers, shared memory, clients,
   futures and variables of a cluster, and Dask collections are refused: what they give depends on
   more than what can be seen. A bare ``object()`` is known by its address only: refused as an
   argument, a constant where it belongs to the code.
4. Loggers are constants: logging is no effect. What an adapter adds to messages counts.
5. Functions, classes, modules and other callables enter as code.
6. Members of an enumeration enter as class and name.
7. Subclasses of numpy's, pandas' and pyarrow's types enter as these do, with class and attributes;
   sets without order; exceptions with arguments, attributes, cause and context.
8. Anything else enters as what pickle (protocol 4) would rebuild it from: the callable, its
   arguments, the state with attributes sorted by name, list items and dict items; the class enters
   as code. Of classes of the user, what is stored in the object and left out by its pickle enters
   too. It covers ordinary Python objects whole, and extension types that give their state, such as
   scikit-learn's trees.
9. What can't be pickled is refused.

Two rules bound the damage of a type that pickles badly: what may differ between two processes for
equal objects is a miss, never a wrong hit; what an installed class hides from pickle is
hidden from here too, and :func:`register_identity` is the answer.
"""

from __future__ import annotations

import enum
import logging
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

from ..errors import RefusedError
from .effects import ENVIRONMENT, RANDOM
from .encoder import Encoder, Handler
from .literals import text
from .nodes import Piece
from .reduction import (
    dotted,
    encode_exception,
    encode_object,
    encode_path_like,
    encode_set,
)
from .uncertain import LOCKS, why_uncertain
from .values import HANDLERS

_FAMILIES = {
    "numpy": "arrays",
    "scipy": "arrays",
    "pandas": "frames",
    "pyarrow": "arrow",
    "PIL": "images",
    "xarray": "labelled",
}
_OWN = f"{__name__.partition('.')[0]}."
_registered: dict[type, Callable[[Any], Any]] = {}
_registered_by_name: dict[str, Callable[[Any], Any]] = {}


def register_identity(kind: type, function: Callable[[Any], Any]) -> None:
    """Say what identifies the values of a type.

    Parameters
    ----------
    kind : type
        The type; subclasses are meant too, unless they have their own.
    function : callable
        Takes a value, returns plain values (numbers, strings, arrays, containers of such) that
        differ whenever two values are not interchangeable.

    Examples
    --------
    >>> class Model:
    ...     def __init__(self, weights):
    ...         self.weights = weights
    >>> register_identity(Model, lambda model: model.weights)
    """
    _registered[kind] = function


def register_identity_by_name(name: str, function: Callable[[Any], Any]) -> None:
    """Say what identifies the values of a type of a library that is not imported yet.

    Parameters
    ----------
    name : str
        Module and qualified name of the class; subclasses are meant too.
    function : callable
        As for :func:`register_identity`.
    """
    _registered_by_name[name] = function


def registered() -> dict[type, Callable[[Any], Any]]:
    """Give the table of registered types."""
    return _registered


def own_handler(kind: type) -> Handler | None:
    """Give the handler that the user declared for a type.

    Parameters
    ----------
    kind : type
        Any class.

    Returns
    -------
    callable or None
        For registered types and classes with ``__seamless_identity__``.
    """
    for base in kind.__mro__:
        function = _registered.get(base) or _registered_by_name.get(dotted(base))
        if function is not None:
            return _declared(function)
        if "__seamless_identity__" in base.__dict__:
            return _declared(lambda value: value.__seamless_identity__())
    return None


def _declared(function: Callable[[Any], Any]) -> Handler:
    def handler(encoder: Encoder, value: Any, out: list[Piece]) -> None:
        out.append(b"t" + text("declared"))
        encoder.constructed.append(type(value))
        try:
            _encode_class(encoder, type(value), out)
            encoder.encode(_said(function, value), out)
        finally:
            encoder.constructed.pop()

    return handler


def _encode_class(encoder: Encoder, kind: type, out: list[Piece]) -> None:
    if kind.__module__.startswith(_OWN):
        # What this package hands out is its content, in whatever way its classes come by it.
        out.append(text(dotted(kind)))
    else:
        # The word is about the value; what its methods do is code as any other.
        encoder.encode(kind, out)


def _said(function: Callable[[Any], Any], value: Any) -> Any:
    try:
        return function(value)
    except RefusedError:
        raise
    except Exception as error:
        reason = f"the declared identity of {dotted(type(value))} raised {error!r}"
        raise RefusedError(reason) from error


def find_handler(kind: type) -> Handler:
    """Give the handler of a type by the rule of this module.

    Parameters
    ----------
    kind : type
        Any class.

    Returns
    -------
    callable
        It may always refuse.
    """
    known = HANDLERS.get(kind)
    if known is not None:
        return known
    names = {dotted(base) for base in kind.__mro__}
    if not LOCKS.isdisjoint(names):
        return _constant("lock")
    reason = why_uncertain(kind)
    if reason is not None:
        return _refusal(reason)
    if hasattr(kind, "__dask_graph__") and "dask._expr.Expr" not in names:
        return _collection(_find_certain(kind, names))
    return _find_certain(kind, names)


def _find_certain(kind: type, names: set[str]) -> Handler:
    from . import callables

    if issubclass(kind, logging.Logger):
        return _constant("logger")
    if issubclass(kind, logging.LoggerAdapter):
        return _logger_adapter
    if "random.Random" in names:
        return _random_state
    if issubclass(kind, os._Environ):
        return _environment
    if issubclass(kind, enum.Enum):
        return _enum_member
    if not names.isdisjoint({"dask._task_spec.GraphNode", "dask._task_spec.TaskRef"}):
        return _graph_node
    if hasattr(kind, "__seamless_call_policy__"):
        return _cached_function
    return _family_handler(kind) or callables.find_handler(kind) or _general_handler(kind)


def _family_handler(kind: type) -> Handler | None:
    for base in kind.__mro__:
        family = _FAMILIES.get(str(base.__module__ or "").partition(".")[0])
        if family is not None:
            handler: Handler | None = import_module(f".{family}", __package__).find_handler(kind)
            return handler
    return None


def _general_handler(kind: type) -> Handler:
    if kind is object:
        return _sentinel
    if issubclass(kind, BaseException):
        return encode_exception
    if issubclass(kind, (set, frozenset)):
        return encode_set
    if issubclass(kind, os.PathLike):
        return encode_path_like
    return encode_object


def _sentinel(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    if not encoder.shared:
        raise RefusedError("an object() is known by its address only")
    out.append(b"t" + text("object()"))


def _collection(otherwise: Handler) -> Handler:
    def handler(encoder: Encoder, value: Any, out: list[Piece]) -> None:
        if value.__dask_graph__() is not None:
            name = dotted(type(value))
            raise RefusedError(
                f"a Dask collection ({name}) inside a value: its result is not known"
            )
        otherwise(encoder, value, out)

    return handler


def _constant(name: str) -> Handler:
    def handler(encoder: Encoder, value: Any, out: list[Piece]) -> None:
        out.append(b"t" + text(name))

    return handler


def _logger_adapter(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    def fill(encoder: Encoder, value: Any, inner: list[Piece]) -> None:
        own = {name: item for name, item in vars(value).items() if name != "logger"}
        inner.append(b"t" + text("logger"))
        encoder.attributes(own.items(), inner)

    encoder.container(value, out, fill)


def _refusal(reason: str) -> Handler:
    def handler(encoder: Encoder, value: Any, out: list[Piece]) -> None:
        raise RefusedError(f"{reason} ({dotted(type(value))}) has no certain identity")

    return handler


def _enum_member(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("enum"))
    encoder.encode(type(value), out)
    # Only a combination of flags has no name of its own.
    encoder.encode(value._name_, out)
    if value._name_ is None or value._name_ not in type(value).__members__:
        encoder.encode(value._value_, out)


def _random_state(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    if encoder.shared:
        encoder.effect(RANDOM, "state of a random generator")
    encode_object(encoder, value, out)


def _environment(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    encoder.effect(ENVIRONMENT, "os.environ")
    out.append(b"t" + text("os.environ"))


def _cached_function(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    from .content import encode_contents
    from .policy import EXPIRY, call_policy

    # Called within a task, a cached function is just the function.
    policy = call_policy(value)
    if policy is None:
        raise RefusedError(f"{dotted(type(value))} does not say how it is identified")
    if policy.expires is not None:
        encoder.effect(EXPIRY, repr(policy.expires))
    out.append(b"t" + text("cached"))
    encoder.items((policy.function, policy.version), out)
    if policy.files:
        encode_contents(encoder, policy.files, out)


def _graph_node(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    hook = encoder.registry.graph_node_hook
    if hook is None:
        raise RefusedError(f"a node of a Dask graph ({type(value).__name__}) outside of its graph")
    out.append(b"t" + text("graph node"))
    encoder.encode(hook(value), out)
