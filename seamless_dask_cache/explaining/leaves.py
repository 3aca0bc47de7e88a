"""Notes on values: where in a value stands what.

A note names the parts of a value by paths such as ``['alpha']`` or ``[3].name`` and gives a short
text for each, so that two notes can be compared part by part after both values are gone.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import itertools
import types
from collections.abc import Iterable, Iterator
from typing import Any

from seamless_dask_cache.explaining.texts import (
    HIDDEN,
    LONGEST_TEXT,
    clean,
    hidden_text,
    short_text,
    shortened,
    type_name,
)
from seamless_dask_cache.identity.installed import is_users

MAX_LEAVES = 200
MAX_LEAF_BYTES = 16 * 1024
MAX_HASHED = 1_000_000
_DEEPEST = 8
_FIRST_VALUES = 5
_MOST_COLUMNS = 60

_MAPPINGS = (
    dict,
    collections.OrderedDict,
    collections.defaultdict,
    collections.Counter,
    types.MappingProxyType,
)
_SEQUENCES = (list, tuple, collections.deque)

Leaf = tuple[str, str]


def value_note(value: Any) -> dict[str, Any]:
    """Describe a value by its parts.

    Parameters
    ----------
    value : object
        Anything. None of its own code is run.

    Returns
    -------
    dict
        ``kind`` ("value"), ``type``, and ``leaves``: path to short text, at most 200 of them and
        16 KiB; ``truncated`` where there was more.
    """
    leaves, whole = leaves_of(value)
    note: dict[str, Any] = {"kind": "value", "type": clean(type_name(type(value)))}
    note["leaves"] = leaves
    return note if whole else note | {"truncated": True}


def leaves_of(
    value: Any, most: int = MAX_LEAVES, most_bytes: int = MAX_LEAF_BYTES
) -> tuple[dict[str, str], bool]:
    """Return the parts of a value by their paths, and whether these are all.

    Parameters
    ----------
    value : object
        Anything.
    most, most_bytes : int
        Parts, and bytes of their paths and texts, at most.
    """
    found: dict[str, str] = {}
    size = 0
    try:
        for path, text in _Walk().leaves(value, "", 0):
            path, text = clean(path), shortened(clean(text), LONGEST_TEXT)
            size += len(path.encode()) + len(text.encode())
            if len(found) >= most or size > most_bytes:
                return found, False
            found[path] = text
    except Exception:
        return found, False
    return found, True


def callables_in(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the functions in a value, and the user's classes of its objects, with their paths.

    Each class comes once, where it is met first.
    """
    stack = [("", value, 0)]
    classes: set[type] = set()
    seen = 0
    while stack and seen < MAX_LEAVES:
        path, item, depth = stack.pop()
        seen += 1
        if isinstance(item, types.FunctionType):
            yield path, item
            continue
        kind = item if isinstance(item, type) else type(item)
        if kind not in classes and is_users(kind):
            classes.add(kind)
            yield path, kind
        if depth < _DEEPEST:
            stack += [(path + step, part, depth + 1) for step, part in _parts(item)]


class _Walk:
    """One walk through a value; remembers how much it hashed and what it is inside of."""

    def __init__(self) -> None:
        self.left = MAX_HASHED
        self.inside: set[int] = set()

    def leaves(self, value: Any, path: str, depth: int) -> Iterator[Leaf]:
        special = _SPECIAL.get(_family(value))
        if special is not None:
            yield from special(self, value, path)
            return
        parts = _parts(value) if depth < _DEEPEST and id(value) not in self.inside else []
        if not parts:
            yield path, short_text(value)
            return
        self.inside.add(id(value))
        for step, part in parts:
            if _is_hidden(step, part):
                yield path + step, HIDDEN
            else:
                yield from self.leaves(part, path + step, depth + 1)
        self.inside.discard(id(value))

    def digest(self, content: bytes) -> str:
        """Name the content of a buffer."""
        self.left -= len(content)
        return f", content {hashlib.sha256(content).hexdigest()[:12]}"


def _is_hidden(step: str, part: Any) -> bool:
    return part is not None and hidden_text(step, part) == HIDDEN


def _parts(value: Any) -> list[tuple[str, Any]]:
    """Take a container apart by one level; empty for what is none."""
    kind = type(value)
    if kind in _MAPPINGS:
        return [(f"[{short_text(k, 60)}]", item) for k, item in _some(value.items())]
    if kind in _SEQUENCES:
        return [(f"[{i}]", item) for i, item in enumerate(_some(value))]
    names = getattr(kind, "_fields", None)
    if issubclass(kind, tuple) and isinstance(names, tuple):
        items = tuple.__iter__(value)
        return [(f".{name}", item) for name, item in zip(names, items, strict=False)]
    if kind is functools.partial:
        named = [(f"['{name}']", item) for name, item in value.keywords.items()]
        return [*((f"[{i}]", item) for i, item in enumerate(value.args)), *named]
    if kind is types.MethodType:
        return [(f".__self__{step}", item) for step, item in _parts(value.__self__)]
    return _attributes(value, kind)


def _some(items: Iterable[Any]) -> Iterator[Any]:
    # One more than a note may have, so that it is noticed that there are more.
    return itertools.islice(items, MAX_LEAVES + 1)


def _attributes(value: Any, kind: type) -> list[tuple[str, Any]]:
    if issubclass(kind, (type, types.ModuleType, types.FunctionType, BaseException)):
        return []
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in _some(dataclasses.fields(kind))]
        return [(f".{name}", _attribute(value, name)) for name in names]
    if kind.__module__ in ("builtins", "numpy", "enum", "pathlib") or _is_enum(kind):
        return []
    own = _attribute(value, "__dict__")
    pairs = list(_some(own.items())) if type(own) is dict else []
    pairs += [(name, _attribute(value, name)) for name in _slots(kind)]
    return [(f".{name}", item) for name, item in pairs]


def _slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        for name, descriptor in vars(base).items():
            if type(descriptor) is types.MemberDescriptorType:
                yield name


def _is_enum(kind: type) -> bool:
    return any(base.__module__ == "enum" for base in kind.__mro__)


def _attribute(value: Any, name: str) -> Any:
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return None


# Arrays and frames --------------------------------------------------------------------------------


def _family(value: Any) -> str:
    kind = type(value)
    module, _, _ = str(kind.__module__).partition(".")
    return f"{module}.{kind.__name__}"


def _array(walk: _Walk, value: Any, path: str) -> Iterator[Leaf]:
    yield path, f"array {value.dtype} {value.shape}{_first(value)}{_array_digest(walk, value)}"


def _first(value: Any) -> str:
    if value.dtype.hasobject or value.size == 0:
        return ""
    values = value.reshape(-1)[:_FIRST_VALUES] if value.ndim == 0 else value.flat[:_FIRST_VALUES]
    dots = ", ..." if value.size > _FIRST_VALUES else ""
    return f": {', '.join(short_text(item, 40) for item in values.tolist())}{dots}"


def _array_digest(walk: _Walk, value: Any) -> str:
    if value.dtype.hasobject or value.nbytes > walk.left:
        return ""
    return walk.digest(value.tobytes())


def _frame(walk: _Walk, value: Any, path: str) -> Iterator[Leaf]:
    yield path, f"frame of {value.shape[0]} rows, {value.shape[1]} columns"
    yield f"{path}.columns", short_text(value.columns[:_MOST_COLUMNS].tolist())
    yield from _index(walk, value.index, f"{path}.index")
    for position in range(min(value.shape[1], _MOST_COLUMNS)):
        name = short_text(value.columns[position], 60)
        yield from _series(walk, value.iloc[:, position], f"{path}[{name}]")


def _series(walk: _Walk, value: Any, path: str) -> Iterator[Leaf]:
    yield path, _column(walk, value.array, value.dtype, value.iloc[:_FIRST_VALUES])


def _index(walk: _Walk, value: Any, path: str) -> Iterator[Leaf]:
    yield path, f"{type(value).__name__} {_column(walk, value.array, value.dtype, value[:5])}"


def _column(walk: _Walk, array: Any, dtype: Any, first: Any) -> str:
    values = ", ".join(short_text(item, 40) for item in first.tolist())
    dots = ", ..." if len(array) > _FIRST_VALUES else ""
    plain = getattr(array, "_ndarray", None)
    digest = "" if plain is None else _array_digest(walk, plain)
    return f"{dtype} {len(array)}: {values}{dots}{digest}"


def _arrow(walk: _Walk, value: Any, path: str) -> Iterator[Leaf]:
    yield path, f"Arrow table of {value.num_rows} rows"
    for field in value.schema:
        first = value.column(field.name)[:_FIRST_VALUES].to_pylist()
        yield f"{path}[{field.name!r}]", f"{field.type}: {short_text(first)}"


_SPECIAL = {
    "numpy.ndarray": _array,
    "numpy.memmap": _array,
    "pandas.DataFrame": _frame,
    "pandas.Series": _series,
    "pandas.Index": _index,
    "pandas.RangeIndex": _index,
    "pyarrow.Table": _arrow,
}
