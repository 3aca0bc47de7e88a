"""Twins: functions that arrived more than once, and are the same beyond doubt.

A function that is defined in a script travels by value, so a loop of submissions brings a new
object each time. Of those that refer to nothing but builtins and modules, only one is looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any


def twin_key(function: Any) -> Hashable | None:
    """Return what two functions have in common only when they have the same identity.

    Parameters
    ----------
    function : object
        Anything.

    Returns
    -------
    hashable or None
        None for everything but plain functions by value, without defaults, closure, annotations
        and attributes, whose globals are modules. It holds for one pass: modules are told apart by
        their ``id``, and what is in them is taken to stay.
    """
    if type(function) is not FunctionType or _has_more_than_code(function):
        return None
    if _is_imported(function):
        return None
    names = function.__globals__
    modules: list[tuple[str, int]] = []
    for name in _all_names(function.__code__):
        if name in names:
            value = names[name]
            if type(value) is not ModuleType:
                return None
            modules.append((name, id(value)))
    place = function.__module__, function.__qualname__, function.__name__
    return function.__code__, place, tuple(modules), id(names.get("__builtins__"))


def _has_more_than_code(function: FunctionType) -> bool:
    return bool(
        function.__closure__
        or function.__defaults__
        or function.__kwdefaults__
        or function.__annotations__
        or function.__dict__
        or getattr(function, "__type_params__", None)
    )


def _is_imported(function: FunctionType) -> bool:
    module = sys.modules.get(function.__module__ or "")
    return getattr(module, function.__name__, None) is function


@lru_cache(maxsize=1024)
def _all_names(code: CodeType) -> tuple[str, ...]:
    """Return all names in a code and those inside of it; attributes, too, which does no harm."""
    found = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found.update(dict.fromkeys(_all_names(constant)))
    return tuple(found)
