"""What stands for installed code: distribution, version, and the name under which it is found."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

from .distributions import PYTHON, Owner, owner_of
from .effects import RANDOM, effect_kind, seed_parameter
from .encoder import Encoder
from .literals import LITERALS, text
from .nodes import Piece

SHIPPED = "<dynamic-code>"
"""The file of a function that cloudpickle 3.1.3 or newer sent; of others the one it was made in."""

_MISSING = object()
_PRIVATE = {"posix": "os", "nt": "os", "_socket": "socket", "_io": "io", "_random": "random"}
_GENERATORS = {"random.Random", "numpy.random.mtrand.RandomState"}
_GENERATOR_NAMES = {"Generator", "BitGenerator", "RandomState"}

# Classes of the interpreter that are no attributes of the module that they name.
_VIEWS: tuple[Any, ...] = ({}.keys(), {}.values(), {}.items())
_ITERABLES: tuple[Any, ...] = ([], (), "", b"", set(), range(0), {}, *_VIEWS)
_HIDDEN = {*map(type, _VIEWS), *map(type, map(iter, _ITERABLES))}
_NAMELESS = {kind: f"builtins.{kind.__name__}" for kind in _HIDDEN} | {
    kind: f"types.{name}" for name, kind in vars(types).items() if isinstance(kind, type)
}


def home_of(subject: Any) -> tuple[Owner, str] | None:
    """Find the installed name of a function or class.

    Parameters
    ----------
    subject : object
        Has ``__module__`` and ``__qualname__`` (or ``__name__``).

    Returns
    -------
    (Owner, str) or None
        Distribution and dotted name; ``None`` for the user's code and for objects that can't be
        found under their name (created in a function, replaced by a monkeypatch).
    """
    module = getattr(subject, "__module__", None)
    if not isinstance(module, str):
        return None
    owner = owner_of(module)
    if owner is None:
        return None
    name = getattr(subject, "__qualname__", None) or getattr(subject, "__name__", None)
    if not isinstance(name, str) or not _is_found(subject, module, name):
        return _nameless(subject, module)
    if isinstance(subject, FunctionType) and _is_users_code(subject):
        return None  # it took over name and module by functools.wraps
    return owner, f"{module}.{name}"


def _nameless(subject: Any, module: str) -> tuple[Owner, str] | None:
    known = module == "builtins" and isinstance(subject, type) and subject in _NAMELESS
    return (PYTHON, _NAMELESS[subject]) if known else None


def _is_users_code(function: FunctionType) -> bool:
    inner: Any = function
    while isinstance(inner, FunctionType):
        name = inner.__globals__.get("__name__")
        # Libraries run generated code in namespaces that have no name, or one that is no module's.
        if (name == "__main__" or name in sys.modules) and owner_of(name) is None:
            return True
        inner = inner.__dict__.get("__wrapped__")
    return False


def maker_of(function: FunctionType) -> Owner | None:
    """Find who installed the code that made a function which has no name of its own.

    Parameters
    ----------
    function : types.FunctionType
        Such as the wrapper that ``contextlib.contextmanager`` makes.

    Returns
    -------
    Owner or None
        Its globals are those of this distribution's module, which the version stands for; its
        code, closure and defaults are still its own. ``None`` for the user's functions and for
        code that was generated.
    """
    name = function.__globals__.get("__name__")
    if not isinstance(name, str) or not _stands_in(function.__code__, name):
        return None
    return owner_of(name) if _has_globals_of(function, name) else None


def _stands_in(code: CodeType, name: str) -> bool:
    """Tell whether code is of a module, by its file or, if it has none, by what it does."""
    file = code.co_filename.replace("\\", "/")
    if file == SHIPPED:
        return code in _codes_of(name)
    # A shipped function has a copy of its globals, and the path of its file elsewhere.
    place = name.replace(".", "/")
    return file.endswith((f"/{place}.py", f"/{place}/__init__.py", f"<frozen {name}>"))


def _has_globals_of(function: FunctionType, name: str) -> bool:
    """Tell whether what a function uses is what its module has, and not what somebody put there."""
    given = function.__globals__
    home = vars(sys.modules[name]) if name in sys.modules else None
    if home is None or given is home:
        return home is not None
    used = {used for code in _with_nested(function.__code__) for used in code.co_names}
    return all(_is_same(given[key], home.get(key, _MISSING)) for key in used & given.keys())


def _is_same(one: Any, other: Any) -> bool:
    # What was sent is equal where it is a literal; zeros of two signs are equal, too.
    if one is other:
        return True
    return type(one) is type(other) and type(one) in LITERALS and repr(one) == repr(other)


def _with_nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _with_nested(constant)


def _codes_of(module: str) -> frozenset[CodeType]:
    """Give all code that stands in the source of a loaded module, which is not run for that."""
    loaded = sys.modules.get(module)
    return frozenset() if loaded is None else _codes_of_loaded(module, loaded)


@cache
def _codes_of_loaded(name: str, module: ModuleType) -> frozenset[CodeType]:
    try:
        whole = cast(Any, module.__spec__).loader.get_code(name)
    except Exception:  # it has no source, or none that can be read
        return frozenset()
    return frozenset(_with_nested(whole) if isinstance(whole, CodeType) else ())


def patched(subject: type, rest: tuple[str, ...]) -> Any:
    """Give the user's function that stands in an installed class under a name.

    Parameters
    ----------
    subject : type
        An installed class.
    rest : tuple of str
        Attributes that code reads from it.

    Returns
    -------
    object
        ``None`` where the class has what it was installed with.
    """
    for base in subject.__mro__ if rest else ():
        found = base.__dict__.get(rest[0])
        if found is not None:
            return found if is_users(found) else None
    return None


def is_users(value: Any) -> bool:
    """Tell whether an attribute of an installed class is a function or class of the user.

    Parameters
    ----------
    value : object
        As it stands in the class.

    Returns
    -------
    bool
        Also for what a static method, a class method, a property or an accessor leads to.
    """
    if isinstance(value, FunctionType):
        return _is_users_code(value)
    if isinstance(value, type):
        return owner_of(value.__module__) is None
    inner = [
        getattr(value, name, None)
        for name in ("__func__", "fget", "func", "_accessor")
        if hasattr(type(value), name) or name in getattr(value, "__dict__", ())
    ]
    return any(is_users(item) for item in inner if item is not None)


def _is_found(subject: Any, module: str, name: str) -> bool:
    place = found = cast(Any, sys.modules.get(module))
    for step in name.split("."):
        place, found = found, getattr(found, step, _MISSING)
    # Looking up a function of a class may bind it.
    return found is subject or (
        isinstance(place, type) and getattr(found, "__func__", None) is subject
    )


def leaf(encoder: Encoder, owner: Owner, name: str) -> bytes:
    """Encode an installed name.

    Parameters
    ----------
    encoder : Encoder
        Knows the version policy.
    owner : Owner
        The distribution.
    name : str
        Dotted.

    Returns
    -------
    bytes
        Tag, distribution and version, name.
    """
    return b"X" + text(owner.identity(encoder.registry.versions)) + text(name)


def dotted_names(subject: Any, rest: tuple[str, ...] = (), written: str = "") -> list[str]:
    """List the names under which the table of effects may know an object.

    Parameters
    ----------
    subject : object
        A function, a class, a value of an installed module.
    rest : tuple of str
        Attributes that the code reads from it.
    written : str
        Name as the code wrote it, through modules.

    Returns
    -------
    list of str
        Dotted, most specific first.
    """
    names = [".".join((written, *rest)), written] if written else []
    if subject is os.environ:
        names.append("os.environ")
    elif isinstance(subject, type):
        names.extend(_class_names(subject, rest))
    else:
        names.extend(_callable_names(subject))
    return [_public(name) for name in names]


def _class_names(subject: type, rest: tuple[str, ...]) -> list[str]:
    own = f"{subject.__module__}.{subject.__qualname__}"
    if not rest:
        return [own]
    bases = subject.__mro__[:-1]
    return [*(f"{base.__module__}.{base.__qualname__}.{rest[0]}" for base in bases), own]


def _callable_names(subject: Any) -> list[str]:
    name = getattr(subject, "__name__", None)
    if not isinstance(name, str) or isinstance(subject, ModuleType):
        return []
    owner = getattr(subject, "__self__", None)
    if isinstance(owner, type):
        return [f"{base.__module__}.{base.__qualname__}.{name}" for base in owner.__mro__[:-1]]
    return [f"{getattr(subject, '__module__', None)}.{getattr(subject, '__qualname__', name)}"]


def _public(name: str) -> str:
    first, dot, rest = name.partition(".")
    return f"{_PRIVATE.get(first, first)}{dot}{rest}"


def is_generator_method(subject: Any) -> bool:
    """Tell whether something is a method bound to a generator of random numbers."""
    owner = getattr(subject, "__self__", None)
    if owner is None or isinstance(owner, (type, ModuleType)):
        return False
    return any(
        f"{kind.__module__}.{kind.__qualname__}" in _GENERATORS
        or (kind.__module__.startswith("numpy.random") and kind.__name__ in _GENERATOR_NAMES)
        for kind in type(owner).__mro__
    )


def judge(encoder: Encoder, subject: Any) -> None:
    """Note the effect of an installed object that occurs as a value: nobody sees how it is called.

    Parameters
    ----------
    encoder : Encoder
        Where to note it.
    subject : object
        A function or a class.
    """
    if any(subject is kind for kind in encoder.constructed):
        return
    names = dotted_names(subject)
    if isinstance(subject, type) and seed_parameter(names) is not None and not encoder.shared:
        return  # dask.array passes the class of a generator together with its seed
    if seed_parameter(names) is not None:
        encoder.effect(RANDOM, f"{names[0]} without a visible seed")
        return
    kind = effect_kind(names)
    if kind is not None:
        encoder.effect(kind, names[0])


def encode_attribute(
    encoder: Encoder, owner: Owner, name: str, value: Any, out: list[Piece]
) -> None:
    """Encode what an attribute of an installed module holds.

    Parameters
    ----------
    encoder : Encoder
        Encodes the value where that is cheap and certain.
    owner : Owner
        The distribution of the module.
    name : str
        Dotted name of the attribute.
    value : object
        What it holds at the moment. Plain values count themselves, as a program may have set them.
    out : list
        The pieces so far.
    """
    out.append(leaf(encoder, owner, name))
    kind = type(value)
    plain = kind in (list, tuple) and all(type(item) in LITERALS for item in value)
    if plain or kind in LITERALS or owner_of(kind.__module__) is None:
        encoder.encode(value, out)
