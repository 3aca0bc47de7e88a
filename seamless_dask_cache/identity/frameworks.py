"""Callables of numba and pydantic: what they were made of, without what was compiled from it.

numba takes the values of globals when it compiles. A function that was compiled before its globals
changed gives results that another process, which compiles it now, does not give; so one that is
already compiled is known only as long as it is what it was when it was first seen.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from ..errors import RefusedError
from .encoder import Encoder, Handler, located
from .installed import home_of, leaf
from .introspection import attribute_of
from .literals import text
from .nodes import Piece
from .resolve import closure_of, code_tree

_LIKE_CODE = (ModuleType, type)
# What numba calls a variable that holds something from outside of the function.
_LOADS = ("load_global", "load_attr", "load_method", "load_deref", "freevar")
_MOST_NAMES = 1000

# The plain globals of each compiled function as they were when it was first seen.
_frozen: WeakKeyDictionary[Any, dict[str, str]] = WeakKeyDictionary()


def _dispatcher(encoder: Encoder, subject: Any, out: list[Piece]) -> None:
    home = home_of(subject)
    if home is not None:
        out.append(leaf(encoder, *home))
        return
    _check_globals(subject)
    _check_helpers(subject)
    out.append(b"t" + text("numba"))
    encoder.encode(type(subject), out)
    with located("numba"):
        encoder.encode(subject.py_func, out)
    encoder.attributes(subject.targetoptions.items(), out)


def _check_globals(subject: Any) -> None:
    values = _plain_globals(subject.py_func)
    compiled = bool(getattr(subject, "overloads", None))
    known = _frozen.get(subject)
    if known is None:
        if compiled and values and getattr(subject, "_can_compile", False):
            names = ", ".join(sorted(values))
            raise RefusedError(
                f"numba compiled {subject.py_func.__name__} before the cache saw it, perhaps with"
                f" other values of {names}"
            )
        _frozen[subject] = values
    elif compiled and known != values:
        names = ", ".join(name for name in sorted(values) if known.get(name) != values[name])
        raise RefusedError(
            f"numba compiled {subject.py_func.__name__} with other values of {names}"
        )
    else:
        _frozen[subject] = values


def _check_helpers(subject: Any) -> None:
    """Refuse what was compiled with jitted helpers that its names no longer lead to."""
    compiled = [item for item in _compiled_with(subject) if item is not subject]
    if not compiled:
        return
    present = _reachable(subject.py_func)
    gone = [item for item in compiled if not any(item is helper for helper in present)]
    if gone:
        names = ", ".join(sorted({item.py_func.__name__ for item in gone}))
        raise RefusedError(
            f"numba compiled {subject.py_func.__name__} with another definition of {names}"
        )


def _compiled_with(subject: Any) -> list[Any]:
    found: list[Any] = []
    for overload in getattr(subject, "overloads", {}).values():
        # What numba loads from a file of its own has no types any more.
        types = getattr(overload.type_annotation, "typemap", None) or {}
        found += [
            getattr(kind, "dispatcher", None)
            for name, kind in types.items()
            if any(load in name for load in _LOADS)
        ]
    return [item for item in found if hasattr(item, "py_func")]


def _reachable(function: Any) -> list[Any]:
    """List what the names of a function lead to, through modules as well."""
    names = {name for facts in code_tree(function) for name in facts.code.co_names}
    found = [function.__globals__[name] for name in names if name in function.__globals__]
    found += closure_of(function)
    for item in found:
        if isinstance(item, _LIKE_CODE) and len(found) < _MOST_NAMES:
            found += [vars(item)[name] for name in names if name in vars(item)]
    return found


def _plain_globals(function: Any) -> dict[str, str]:
    """Give the globals that numba takes for constants, as text."""
    names = {name for facts in code_tree(function) for name in facts.code.co_names}
    scope = function.__globals__
    return {
        name: _as_text(scope[name])
        for name in names
        if name in scope and not callable(scope[name]) and not isinstance(scope[name], _LIKE_CODE)
    }


def _as_text(value: Any) -> str:
    content = getattr(value, "tobytes", None)
    return repr(content()) if content is not None else repr(value)


def _ufunc(encoder: Encoder, subject: Any, out: list[Piece]) -> None:
    dispatcher = getattr(subject, "_dispatcher", None)
    dispatcher = getattr(subject, "gufunc_builder", None) if dispatcher is None else dispatcher
    function = getattr(dispatcher, "py_func", None)
    if function is None:
        raise RefusedError(f"{type(subject).__name__} does not show the function it was made of")
    out.append(b"t" + text("numba") + text(type(subject).__name__))
    # Compiled when it is made or when it is first called, with the globals of that moment.
    plain = _plain_globals(function)
    if plain and _frozen.setdefault(subject, plain) != plain:
        raise RefusedError(f"numba compiled {function.__name__} with other values of its globals")
    with located("numba"):
        encoder.encode(function, out)
    signature = getattr(dispatcher, "signature", None)
    encoder.encode(signature if isinstance(signature, str) else None, out)
    if getattr(subject, "_frozen", False) and not getattr(subject, "is_dynamic", False):
        encoder.encode(sorted(map(str, subject.types)), out)  # others are compiled when called
    options = getattr(dispatcher, "targetoptions", None) or {}
    encoder.attributes(options.items(), out)


def _callback(encoder: Encoder, subject: Any, out: list[Piece]) -> None:
    raise RefusedError("numba's cfunc is an address in memory")


def _validated_call(encoder: Encoder, subject: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("validate_call"))
    function = getattr(subject, "function", None) or getattr(subject, "raw_function", None)
    if function is None:
        raise RefusedError("pydantic's validate_call does not show the function it was made of")
    with located("validate_call"):
        encoder.encode(function, out)
        attribute_of(encoder, function, "__annotations__", out)
    wrapper = getattr(subject, "config_wrapper", None)
    encoder.encode(dict(getattr(wrapper, "config_dict", None) or {}), out)
    encoder.encode(bool(getattr(subject, "validate_return", False)), out)


HANDLERS: dict[str, Handler] = {
    "numba.core.registry.CPUDispatcher": _dispatcher,
    "numba.np.ufunc.dufunc.DUFunc": _ufunc,
    "numba.np.ufunc.gufunc.GUFunc": _ufunc,
    "numba.core.ccallback.CFunc": _callback,
    "pydantic._internal._validate_call.ValidateCallWrapper": _validated_call,
}
"""Handlers by the dotted name of a class."""
