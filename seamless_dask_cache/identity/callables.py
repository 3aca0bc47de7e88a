"""Functions, classes, modules and everything else that can be called, as pieces of an encoding.

The user's functions, classes and modules become nodes, whose content :mod:`.functions` and
:mod:`.classes` work out; installed ones end in their name and version.
"""

from __future__ import annotations

import functools
import sys
import types
from typing import Any

from ..errors import RefusedError
from . import frameworks
from .distributions import owner_of
from .effects import RANDOM
from .encoder import Encoder, Handler, located
from .installed import home_of, is_generator_method, judge, leaf
from .literals import size, text
from .nodes import Piece


def _code(encoder: Encoder, subject: Any, out: list[Piece]) -> None:
    home = home_of(subject)
    if home is not None:
        out.append(leaf(encoder, *home))
        judge(encoder, subject)
        return
    out.append(encoder.registry.node(subject, _name(subject)))


def _function(encoder: Encoder, subject: types.FunctionType, out: list[Piece]) -> None:
    registry = _registry(subject)
    if registry is not None and home_of(subject) is None:
        _single_dispatch(encoder, registry, out)
        return
    _code(encoder, subject, out)
    encode_registrations(encoder, subject, out)


def _registry(subject: Any) -> Any:
    registry = getattr(subject, "registry", None)
    known = isinstance(registry, types.MappingProxyType) and hasattr(subject, "dispatch")
    return registry if known else None


def encode_registrations(encoder: Encoder, subject: Any, out: list[Piece]) -> None:
    """Encode what the user registered with an installed single-dispatch function.

    Parameters
    ----------
    encoder : Encoder
        Encodes the user's functions.
    subject : object
        Anything installed.
    out : list
        The pieces so far; unchanged where the user registered nothing.
    """
    pairs = (_registry(subject) or {}).items() if isinstance(subject, types.FunctionType) else ()
    own = {kind: function for kind, function in pairs if home_of(function) is None}
    if own and home_of(subject) is not None:
        encoder.members(own.items(), b"<", out)


def _single_dispatch(encoder: Encoder, registry: Any, out: list[Piece]) -> None:
    def fill(encoder: Encoder, pairs: Any, inner: list[Piece]) -> None:
        inner.append(b"t" + text("singledispatch"))
        encoder.members(pairs.items(), b"<", inner)

    # The proxy is the same object each time, so that a recursive generic function ends here.
    encoder.container(registry, out, fill)


def _module(encoder: Encoder, subject: types.ModuleType, out: list[Piece]) -> None:
    owner = owner_of(subject.__name__)
    if owner is not None:
        out.append(leaf(encoder, owner, subject.__name__))
    else:
        out.append(encoder.registry.node(subject, subject.__name__))


def _builtin(encoder: Encoder, subject: Any, out: list[Piece]) -> None:
    owner = subject.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        _compiled(encoder, subject, out)
    else:
        _bound(encoder, subject, owner, subject.__name__, out)


def _bound(encoder: Encoder, subject: Any, owner: Any, method: Any, out: list[Piece]) -> None:
    if is_generator_method(subject) and (encoder.shared or _is_global_generator(owner)):
        encoder.effect(RANDOM, f"{type(owner).__name__}.{getattr(subject, '__name__', '')}")
    elif isinstance(owner, type) and home_of(owner) is not None:
        judge(encoder, subject)
    out.append(b"t" + text("bound"))
    encoder.encode(method, out)
    # The state of a global generator would differ in each process.
    encoder.encode("global generator" if _is_global_generator(owner) else owner, out)


def _is_global_generator(owner: Any) -> bool:
    stdlib = getattr(sys.modules.get("random"), "_inst", None)
    numpy = getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None)
    return owner is stdlib or owner is numpy


def _method(encoder: Encoder, subject: types.MethodType, out: list[Piece]) -> None:
    _bound(encoder, subject, subject.__self__, subject.__func__, out)


def _compiled(encoder: Encoder, subject: Any, out: list[Piece]) -> None:
    home = home_of(subject)
    if home is None:
        raise RefusedError(
            f"compiled function {_name(subject)!r} belongs to no installed distribution"
        )
    out.append(leaf(encoder, *home))
    judge(encoder, subject)


def _descriptor(encoder: Encoder, subject: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("descriptor") + text(subject.__name__))
    encoder.encode(subject.__objclass__, out)


def _method_wrapper(encoder: Encoder, subject: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("method-wrapper") + text(subject.__name__))
    encoder.encode(subject.__self__, out)


def _partial(encoder: Encoder, subject: Any, out: list[Piece]) -> None:
    def fill(encoder: Encoder, value: Any, inner: list[Piece]) -> None:
        inner.append(b"t" + text("partial"))
        encoder.encode(type(value), inner)
        with located("partial"):
            encoder.encode(value.func, inner)
            inner.append(size(len(value.args)))
            encoder.items(value.args, inner)
            encoder.mapping((value.keywords or {}).items(), inner)  # the callee may see the order

    encoder.container(subject, out, fill)


def _cached_function(encoder: Encoder, subject: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("lru_cache"))
    encoder.encode(subject.__wrapped__, out)
    parameters: dict[str, Any] = getattr(subject, "cache_parameters", dict)()
    encoder.attributes(parameters.items(), out)


def _accessor(name: str, *attributes: str) -> Handler:
    tag = b"t" + text(name)

    def handler(encoder: Encoder, subject: Any, out: list[Piece]) -> None:
        out.append(tag)
        encoder.items((getattr(subject, attribute) for attribute in attributes), out)
        if home_of(type(subject)) is None:  # a class of the user's own, which may do anything
            encoder.encode(type(subject), out)
            encoder.attributes(getattr(subject, "__dict__", {}).items(), out)

    return handler


def _ufunc(encoder: Encoder, subject: Any, out: list[Piece]) -> None:
    function: str = subject.__name__
    for name in ("numpy", "scipy.special", "numpy.strings", "numpy._core.umath"):
        owner = owner_of(name)
        if owner and getattr(sys.modules.get(name), function, None) is subject:
            out.append(leaf(encoder, owner, f"{name}.{function}"))
            return
    raise RefusedError(f"ufunc {function!r} is not one of numpy's or scipy's")


def _vectorized(encoder: Encoder, subject: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("vectorize"))
    encoder.encode(type(subject), out)
    names = ("pyfunc", "otypes", "excluded", "signature", "cache")
    encoder.items((getattr(subject, name, None) for name in names), out)


def _dispatch(encoder: Encoder, subject: Any, out: list[Piece]) -> None:
    """Encode dask.utils.Dispatch: what dask registers is dask's, what the user registers counts."""
    out.append(b"t" + text("Dispatch") + text(str(subject.__name__)))
    encoder.encode(type(subject), out)
    own = [pair for pair in subject._lookup.items() if home_of(pair[1]) is None]
    encoder.members(own, b"<", out)


def _type_variable(encoder: Encoder, subject: Any, out: list[Piece]) -> None:
    out.append(b"t" + text(type(subject).__name__) + text(subject.__name__))
    names = ("__bound__", "__constraints__", "__covariant__", "__contravariant__")
    encoder.items((getattr(subject, name, None) for name in names), out)
    if getattr(subject, "has_default", bool)():
        encoder.encode(subject.__default__, out)


_HANDLERS: dict[Any, Handler] = {
    types.FunctionType: _function,
    type: _code,
    types.ModuleType: _module,
    types.BuiltinFunctionType: _builtin,
    types.MethodType: _method,
    types.MethodDescriptorType: _descriptor,
    types.WrapperDescriptorType: _descriptor,
    types.ClassMethodDescriptorType: _descriptor,
    types.GetSetDescriptorType: _descriptor,
    types.MemberDescriptorType: _descriptor,
    types.MethodWrapperType: _method_wrapper,
    functools.partial: _partial,
    functools.partialmethod: _partial,
    functools._lru_cache_wrapper: _cached_function,
    property: _accessor("property", "fget", "fset", "fdel"),
    staticmethod: _accessor("staticmethod", "__func__"),
    classmethod: _accessor("classmethod", "__func__"),
    functools.cached_property: _accessor("cached_property", "func"),
    functools.singledispatchmethod: _accessor("singledispatchmethod", "dispatcher", "func"),
}
_BY_NAME: dict[str, Handler] = {
    "numpy.ufunc": _ufunc,
    "numpy._ArrayFunctionDispatcher": _compiled,
    "numpy.vectorize": _vectorized,
    **frameworks.HANDLERS,
    "toolz.functoolz.curry": _partial,
    "cytoolz.functoolz.curry": _partial,
    "dask.utils.Dispatch": _dispatch,
    "typing.NewType": _accessor("NewType", "__name__", "__supertype__"),
    "typing.TypeVar": _type_variable,
    "typing.ParamSpec": _type_variable,
    "typing.TypeVarTuple": _type_variable,
    "_cython.cython_function_or_method": _compiled,
    "fused_cython_function": _compiled,
}


def find_handler(kind: type) -> Handler | None:
    """Give the handler of a type of callables.

    Parameters
    ----------
    kind : type
        Any class.

    Returns
    -------
    callable or None
        ``None`` for instances of ordinary classes, with ``__call__`` or without.
    """
    if issubclass(kind, type):
        return _code
    if issubclass(kind, types.ModuleType):
        return _module
    for base in kind.__mro__:
        name = f"{base.__module__}.{base.__qualname__}"
        handler = _HANDLERS.get(base) or _BY_NAME.get(name)
        if handler is not None:
            return handler
    if kind.__name__ in ("cython_function_or_method", "fused_cython_function"):
        return _compiled
    return None


def _name(subject: Any) -> str:
    return str(getattr(subject, "__name__", None) or type(subject).__name__)
