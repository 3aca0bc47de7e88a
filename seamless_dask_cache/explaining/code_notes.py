"""Notes on code: what a function consists of, with a text for each part.

A checksum says that something changed; two notes say what. ``parts`` holds a digest of everything
that the function consists of, each without what is below it; ``sources`` the text of each function;
``values`` what globals, defaults and closures hold.
"""

from __future__ import annotations

import builtins
import os
import platform
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import orjson

from seamless_dask_cache.explaining.leaves import leaves_of
from seamless_dask_cache.explaining.sources import function_text
from seamless_dask_cache.explaining.texts import HIDDEN, clean, hidden_text
from seamless_dask_cache.identity.code import CodeIdentity
from seamless_dask_cache.identity.nodes import Node, Piece, own_content, reach

MAX_PARTS = 2_000
MAX_NOTE_BYTES = 200 * 1024
_MOST_LEAVES = 50
_MOST_LEAF_BYTES = 4 * 1024
_DIGEST_DIGITS = 16
_MISSING = object()
DISTRIBUTION, NAME = "distribution", "name"
"""Where, among the leaves of a part that is installed code, its home and its name stand."""

_LENGTH = slice(1, 9)


def code_note(identity: CodeIdentity) -> dict[str, Any]:
    """Describe the code of a function, down to every helper.

    Parameters
    ----------
    identity : CodeIdentity
        As the identifier of a pass gave it.

    Returns
    -------
    dict
        ``kind`` ("code"), ``name``, ``module`` (in which it is defined), ``python`` (version),
        ``parts`` (path of a function, class or module to {label: digest}, at most 2,000 digests),
        ``sources`` (path of a function to its text, form and file), ``values`` (path to {label:
        leaves}); ``truncated`` where there was more. At most 200 KiB as JSON.

    Notes
    -----
    Runs no code of the user, and never raises.
    """
    note: dict[str, Any] = {
        "kind": "code",
        "name": clean(identity.name),
        "module": _module_of(identity._root.subject),
        "python": platform.python_version(),
        "parts": {},
        "sources": {},
        "values": {},
    }
    try:
        _Writer(note).write(identity._root)
    except Exception:
        note["truncated"] = True
    return note


def _module_of(subject: Any) -> str:
    module = getattr(subject, "__module__", None)
    return clean(module) if isinstance(module, str) else ""


class _Writer:
    """Fills in one note: all digests first, which say where, then texts, until it is full."""

    def __init__(self, note: dict[str, Any]) -> None:
        self.note = note
        self.left = MAX_NOTE_BYTES // 2
        self.parts = 0

    def write(self, root: Node) -> None:
        nodes = list(self.digested(root))
        self.left += MAX_NOTE_BYTES // 2 - 1024
        for path, node in nodes:
            self.texts(path, node)

    def digested(self, root: Node) -> Iterator[tuple[str, Node]]:
        for path, node in _unique(root):
            for label, pieces in _labelled(node):
                if not self.part(path, label, pieces):
                    return
            yield path, node

    def texts(self, path: str, node: Node) -> None:
        if isinstance(node.subject, types.FunctionType):
            text = function_text(node.subject)
            if self.fits(path, text):
                self.note["sources"][path] = text
        for label, pieces in _labelled(node):
            leaves = _leaves(node, label, pieces)
            if leaves and self.fits(path, label, leaves):
                self.note["values"].setdefault(path, {})[label] = leaves

    def part(self, path: str, label: str, pieces: list[Piece]) -> bool:
        self.parts += 1
        digest = digest_of(pieces)
        if self.parts > MAX_PARTS or not self.fits(path, label, digest):
            self.note["truncated"] = True
            return False
        self.note["parts"].setdefault(path, {})[label] = digest
        return True

    def fits(self, *content: Any) -> bool:
        size = len(orjson.dumps(content))
        if size > self.left:
            self.note["truncated"] = True
            return False
        self.left -= size
        return True


def _unique(root: Node) -> Iterator[tuple[str, Node]]:
    seen: Counter[str] = Counter()
    for path, node in reach(root, everything=True):
        seen[path] += 1
        yield clean(path if seen[path] == 1 else f"{path} #{seen[path]}"), node


def _labelled(node: Node) -> Iterator[tuple[str, list[Piece]]]:
    seen: Counter[str] = Counter()
    for label, pieces in node.parts:
        seen[label] += 1
        yield clean(label if seen[label] == 1 else f"{label} #{seen[label]}"), pieces


def digest_of(pieces: list[Piece]) -> str:
    """Give a digest of a part, without the functions and classes that it refers to."""
    return sha256(own_content(pieces)).hexdigest()[:_DIGEST_DIGITS]


# What a part holds --------------------------------------------------------------------------------


def _leaves(node: Node, label: str, pieces: list[Piece]) -> dict[str, str]:
    installed = [p for p in pieces if isinstance(p, bytes) and p.startswith(b"X")]
    alone = len(installed) == 1 and (not label or " " in label)
    home = _installed(installed[0]) if alone else {}
    if home and pieces[-1] is installed[0]:
        return home
    value = _value(node.subject, label)
    if value is _MISSING:
        return home
    if hidden_text(label, value) == HIDDEN:
        return home | {"": HIDDEN}
    found, _ = leaves_of(value, _MOST_LEAVES, _MOST_LEAF_BYTES)
    return home | found


def _installed(piece: bytes) -> dict[str, str]:
    """Read distribution, version and name back from what stands for installed code."""
    texts, rest = [], piece[1:]
    for _ in range(2):
        end = 9 + int.from_bytes(rest[_LENGTH], "little")
        texts.append(rest[9:end].decode("utf-8", "backslashreplace"))
        rest = rest[end:]
    return dict(zip((DISTRIBUTION, NAME), texts, strict=True))


def _value(subject: Any, label: str) -> Any:
    if not label:
        plain = (types.FunctionType, type, types.ModuleType)
        return _MISSING if isinstance(subject, plain) else subject
    kind, _, name = label.partition(" ")
    if kind == "environment":
        return os.environ.get(name)
    if isinstance(subject, types.FunctionType):
        finder = _OF_FUNCTION.get(kind)
        return _MISSING if finder is None else finder(subject, name)
    if isinstance(subject, type):
        return _of_class(subject, kind, name)
    return _MISSING


def _of_class(subject: type, kind: str, name: str) -> Any:
    if kind == "bases":
        return subject.__bases__
    if kind == "members":
        return dict(getattr(subject, "__members__", {}))
    return vars(subject).get(name, _MISSING) if kind == "attribute" else _MISSING


def _default(function: types.FunctionType, name: str) -> Any:
    if name.isdigit():
        given = function.__defaults__ or ()
        return given[int(name)] if int(name) < len(given) else _MISSING
    return (function.__kwdefaults__ or {}).get(name, _MISSING)


def _closure(function: types.FunctionType, name: str) -> Any:
    root, _, rest = name.partition(".")
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
    try:
        return _follow(cells[root].cell_contents, rest)
    except (KeyError, ValueError):
        return _MISSING


def _global(function: types.FunctionType, name: str) -> Any:
    root, _, rest = name.partition(".")
    found = function.__globals__.get(root, vars(builtins).get(root, _MISSING))
    return _follow(found, rest)


def _imported(function: types.FunctionType, name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    found = sys.modules.get(name, sys.modules.get(module, _MISSING))
    return found if name in sys.modules else _follow(found, attribute)


def _follow(value: Any, rest: str) -> Any:
    """Follow attributes, those only that stand in the namespace of a module or a class."""
    for step in filter(None, rest.split(".")):
        if not isinstance(value, (types.ModuleType, type)):
            return _MISSING
        value = vars(value).get(step, _MISSING)
    return value


_Finder = Callable[[types.FunctionType, str], Any]
_OF_FUNCTION: dict[str, _Finder] = {
    "default": _default,
    "closure": _closure,
    "global": _global,
    "import": _imported,
    "attribute": lambda function, name: vars(function).get(name, _MISSING),
}
