"""Short texts for values, made without running any code of the user.

No ``__repr__`` but those of builtin types is called, so that writing a text down can neither fail
nor do anything. What is of another type is named by its type.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import functools
import pathlib
import re
import types
import uuid
from collections.abc import Callable, Iterable
from typing import Any

LONGEST_TEXT = 200
HIDDEN = "<hidden: its name says that it is a secret>"

_MOST_ITEMS = 20
_DEEPEST = 5
_LARGEST_INTEGER_BITS = 2000
_SECRET = re.compile(
    r"(token|secret|passw|passphrase|credential|api_?key|private_?key|access_?key)", re.IGNORECASE
)
_PLAIN = (
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    fractions.Fraction,
    uuid.UUID,
    complex,
    range,
    type(None),
    bool,
    float,
    type(Ellipsis),
    type(NotImplemented),
)
_PATHS = (
    pathlib.PosixPath,
    pathlib.WindowsPath,
    pathlib.PurePosixPath,
    pathlib.PureWindowsPath,
)


def short_text(value: Any, limit: int = LONGEST_TEXT) -> str:
    """Write a value down in a few words.

    Parameters
    ----------
    value : object
        Anything.
    limit : int
        Characters at most.

    Returns
    -------
    str
        As ``repr`` would give it for builtin types, shortened; the name of its type for others.
    """
    try:
        text = _text(value, limit, 0)
    except Exception:
        text = f"<{type_name(type(value))}>"
    return shortened(clean(text), limit)


def hidden_text(name: str, value: Any) -> str:
    """Write the value of a name down, unless the name says that it is a secret."""
    return HIDDEN if _SECRET.search(name) and value is not None else short_text(value)


def unless_secret(name: str, text: str) -> str:
    """Keep the text of a value to oneself whose name says that it is a secret."""
    return HIDDEN if _SECRET.search(name) and text != "None" else text


def type_name(kind: type) -> str:
    """Give the dotted name of a type; builtins without their module."""
    module = type.__getattribute__(kind, "__module__")
    name = str(type.__getattribute__(kind, "__qualname__"))
    return name if module == "builtins" or not isinstance(module, str) else f"{module}.{name}"


def quoted(key: str) -> str:
    """Put a key into quotation marks, unless it is a tuple, which shows its own."""
    return key if key.startswith("(") else f"'{key}'"


def clean(text: str) -> str:
    """Replace what UTF-8 cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def shortened(text: str, limit: int) -> str:
    """Cut a text to a number of characters, and show that it was cut."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _text(value: Any, limit: int, depth: int) -> str:
    kind = type(value)
    if kind is int:
        return repr(value) if value.bit_length() < _LARGEST_INTEGER_BITS else _large_integer(value)
    if kind is str or kind is bytes or kind is bytearray:
        return repr(value) if len(value) <= limit else f"{value[:limit]!r}..."
    if (kind in _PLAIN or kind in _PATHS) and _has_known_zone(value):
        return repr(value)
    if kind is slice:
        return f"slice({_all((value.start, value.stop, value.step), limit, depth)})"
    if depth < _DEEPEST and kind in _CONTAINERS:
        return _CONTAINERS[kind](value, limit, depth + 1)
    return _named(value, kind, limit, depth)


def _has_known_zone(value: Any) -> bool:
    zone = getattr(value, "tzinfo", None)
    return zone is None or type(zone).__module__ in ("datetime", "zoneinfo")


def _large_integer(value: int) -> str:
    return f"<int of {value.bit_length()} bits>"


def _all(items: Iterable[Any], limit: int, depth: int) -> str:
    shown: list[str] = []
    length = 0
    for item in items:
        if len(shown) >= _MOST_ITEMS or length > limit:
            return ", ".join([*shown, "..."])
        shown.append(_text(item, limit, depth))
        length += len(shown[-1])
    return ", ".join(shown)


def _tuple(value: Any, limit: int, depth: int) -> str:
    comma = "," if len(value) == 1 else ""
    return f"({_all(value, limit, depth)}{comma})"


def _dict(value: Any, limit: int, depth: int) -> str:
    shown: list[str] = []
    for name, item in value.items():
        if len(shown) >= _MOST_ITEMS or sum(map(len, shown)) > limit:
            shown.append("...")
            break
        secret = type(name) is str and _SECRET.search(name)
        text = HIDDEN if secret and item is not None else _text(item, limit, depth)
        shown.append(f"{_text(name, limit, depth)}: {text}")
    return f"{{{', '.join(shown)}}}"


def _set(value: Any, limit: int, depth: int) -> str:
    # In the order of their texts: that of the set differs from process to process.
    shown = sorted(_text(item, limit, depth) for item in list(value)[:1000])
    more = ["..."] if len(value) > _MOST_ITEMS else []
    inner = ", ".join(shown[:_MOST_ITEMS] + more)
    return f"{type(value).__name__}({{{inner}}})" if type(value) is frozenset else f"{{{inner}}}"


def _partial(value: Any, limit: int, depth: int) -> str:
    named = [f"{n}={_text(v, limit, depth)}" for n, v in list(value.keywords.items())[:_MOST_ITEMS]]
    return f"partial({', '.join([_all((value.func, *value.args), limit, depth), *named])})"


_CONTAINERS: dict[type, Callable[[Any, int, int], str]] = {
    list: lambda value, limit, depth: f"[{_all(value, limit, depth)}]",
    tuple: _tuple,
    dict: _dict,
    collections.OrderedDict: _dict,
    collections.defaultdict: _dict,
    collections.Counter: _dict,
    collections.deque: lambda value, limit, depth: f"deque([{_all(value, limit, depth)}])",
    set: _set,
    frozenset: _set,
    functools.partial: _partial,
    types.MappingProxyType: _dict,
}


def _named(value: Any, kind: type, limit: int, depth: int) -> str:
    if issubclass(kind, type):
        return f"<class {type_name(value)}>"
    if kind is types.ModuleType:
        return f"<module {value.__name__}>"
    if kind in (types.FunctionType, types.BuiltinFunctionType):
        return f"<function {value.__qualname__}>"
    if kind is types.MethodType:
        return f"<method {value.__func__.__qualname__}>"
    if issubclass(kind, enum.Enum):
        return f"{type_name(kind)}.{object.__getattribute__(value, '_name_')}"
    if kind.__module__ == "numpy" and hasattr(kind, "dtype") and hasattr(kind, "item"):
        return _numpy(value, kind, limit, depth)
    return f"<{type_name(kind)}>"


def _numpy(value: Any, kind: type, limit: int, depth: int) -> str:
    if kind.__name__ == "ndarray":
        return f"<array {value.dtype} {value.shape}>"
    if kind.__name__ == "void":
        return f"<numpy.void {value.dtype}>"
    return f"numpy.{kind.__name__}({_text(value.item(), limit, depth)})"
