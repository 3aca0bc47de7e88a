"""Recipes: the readable document whose checksum is a transformation checksum.

A recipe is JSON in Seamless's canonical ``plain`` form (two spaces of indentation, sorted keys, a
final newline)::

    {
      "args": [1, "x", {"float": "0x1.8p+1"}, {"transformation": "<64 hex digits>"}],
      "code": "<64 hex digits>",
      "function": "clean",
      "kwargs": {"depth": {"type": "numpy.ndarray", "value": "<64 hex digits>"}},
      "recipe": 1
    }

An argument is one of: a JSON scalar that stands for itself (exact ``None``, ``bool``, ``int`` and
``str``); ``{"float": hex}``; ``{"value": checksum, "type": name}`` for a value by its canonical
encoding; ``{"transformation": checksum}`` or ``{"value": checksum}`` for an input that another node
of the graph makes; ``{"code": checksum, "function": name}`` for a callable; ``{"list": [...]}`` and
its like (``tuple``, ``set``, and ``dict`` with keys and values in turn) for a container that has
inputs inside, or that is short and plain, and ``{"slice": [start, stop, step]}``
(:mod:`~seamless_dask_cache.identity.inline`); ``{"call": recipe}`` for a nested call.

``files`` (file state of each argument that names an existing file) and ``producer`` (the token by
which Dask names what a task reads) appear only where they apply. The key of a task never does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from seamless_dask_cache.dask_internals import Key

RECIPE_VERSION = 1
PLAIN = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


class Identity(NamedTuple):
    """What a node of a graph is, apart from its name.

    Attributes
    ----------
    checksum : str
        64 hex digits: the transformation checksum of a task, the value checksum of data.
    recipe : bytes or None
        The recipe document of a task; None for data.
    function : str
        Name of the function, for people.
    code : str
        Checksum of all code that the task names, which a worker compares with its own.
    expires : float or None
        Seconds after which a stored result counts no more.
    trusted : bool
        Whether the user declared the task pure.
    covers : tuple of (str, str)
        Files whose state or content stands in the checksum: path, and state when it was looked at.
    """

    checksum: str
    recipe: bytes | None
    function: str
    code: str
    expires: float | None = None
    trusted: bool = False
    covers: tuple[tuple[str, str], ...] = ()

    @property
    def entry(self) -> dict[str, str]:
        """How a recipe names this node as an input."""
        return {"value" if self.recipe is None else "transformation": self.checksum}


def dump_recipe(document: Mapping[str, Any]) -> bytes:
    """Serialize a recipe canonically.

    Strings and integers that JSON cannot hold (lone surrogates, more than 64 bits) are replaced by
    an unambiguous form first.
    """
    try:
        recipe = orjson.dumps(document, option=PLAIN)
    except TypeError:
        recipe = orjson.dumps(_json_safe(document), option=PLAIN)
    # orjson writes into a kilobyte and shrinks it in place: kept by the thousand, such blocks leave
    # as much memory unused between them. A copy lies dense.
    return b"%b" % recipe


def _json_safe(entry: Any) -> Any:
    if isinstance(entry, dict):
        return {str(_json_safe_text(name)): _json_safe(value) for name, value in entry.items()}
    if isinstance(entry, list):
        return [_json_safe(item) for item in entry]
    if isinstance(entry, str):
        return _json_safe_text(entry)
    if isinstance(entry, int) and not isinstance(entry, bool) and entry.bit_length() > 63:
        return {"int": hex(entry)}
    return entry


def _json_safe_text(text: str) -> Any:
    try:
        text.encode()
    except UnicodeEncodeError:
        return {"str": text.encode("utf-8", "surrogatepass").hex()}
    return text


def producer_token(key: Key) -> str:
    """Return the part of a data producer's key that names what it reads.

    Dask puts the state of a file into this token (the name of the key up to its partition number).
    """
    while isinstance(key, tuple):
        key = key[0]
    return str(key)
