"""What stands for installed code: distribution, version, and the name under which it is found."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

from .distributions import Owner, owner_of
from .effects import RANDOM, effect_kind, seed_parameter
from .encoder import Encoder
from .literals import LITERALS, text
from .nodes import Piece

_MISSING = object()
_PRIVATE = {"posix": "os", "nt": "os", "_socket": "socket", "_io": "io", "_random": "random"}
_GENERATORS = {"random.Random", "numpy.random.mtrand.RandomState"}
_GENERATOR_NAMES = {"Generator", "BitGenerator", "RandomState"}


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
        return None
    return owner, f"{module}.{name}"


def _is_found(subject: Any, module: str, name: str) -> bool:
    found: Any = sys.modules.get(module)
    for step in name.split("."):
        found = getattr(found, step, _MISSING)
    # Looking up a function of a class may bind it.
    return found is subject or (
        found is not _MISSING and getattr(found, "__func__", None) is subject
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
