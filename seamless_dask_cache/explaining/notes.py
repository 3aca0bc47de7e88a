"""Notes: what people want to know of the checksums that stand in a recipe.

A recipe names code and values by checksums. A note says what such a checksum stands for, so that
two recipes can be compared long after the function and the values are gone.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections import deque
from collections.abc import Container, Iterable, Iterator
from typing import Any

import orjson

from seamless_dask_cache.dask_internals import DataNode, Graph, GraphNode, Key, TaskRef
from seamless_dask_cache.explaining.code_notes import code_note
from seamless_dask_cache.explaining.leaves import callables_in, value_note
from seamless_dask_cache.identity.code import CodeIdentity, Identifier
from seamless_dask_cache.identity.graph import GraphIdentity
from seamless_dask_cache.identity.literals import LITERALS
from seamless_dask_cache.identity.recipe import Identity, dump_recipe

logger = logging.getLogger(__name__)

MAX_NOTES = 2_000
_MOST_CODES_IN_VALUE = 20
_LONGEST_LITERAL = 1_000_000
_DEEPEST = 50

Note = dict[str, Any]


def collect_notes(
    graph: Graph,
    identities: GraphIdentity,
    identifier: Identifier,
    known: Container[str],
    *,
    keys: Iterable[Key] | None = None,
    limit: int = MAX_NOTES,
) -> dict[str, Note]:
    """Make the notes of everything that some recipes of one graph name by a checksum.

    Parameters
    ----------
    graph : dict
        Key to graph node.
    identities : GraphIdentity
        Of that graph.
    identifier : Identifier
        With which it was identified; nothing is identified anew.
    known : container of str
        Checksums that have a note already.
    keys : iterable, optional
        The keys whose recipes count, with those inside of fused tasks; all by default.
    limit : int
        Notes at most.

    Returns
    -------
    dict
        Checksum to note. What is no longer at hand has none.

    Notes
    -----
    Meant for a thread: the first note of a function reads its source file. Never raises.
    """
    asked = list(identities.known if keys is None else keys)
    documents = recipes_of(identities, asked).values()
    wanted = {name: None for identity in documents for name in named_in(identity.recipe or b"")}
    maker = NoteMaker(graph, identities, identifier, asked)
    found: dict[str, Note] = {}
    pending = deque(name for name in wanted if name not in known)
    while pending and len(found) < limit:
        name = pending.popleft()
        note = None if name in found or name in known else maker.note(name)
        if note is not None:
            found[name] = note
            pending += note.get("codes", {}).values()
    return found


def recipes_of(identities: GraphIdentity, keys: Iterable[Key]) -> dict[str, Identity]:
    """Return the tasks of some keys, with those inside of them that Dask fused.

    Parameters
    ----------
    identities : GraphIdentity
        Of one graph.
    keys : iterable
        Keys of it; those without a recipe are left out.

    Returns
    -------
    dict
        Transformation checksum to identity, each with its recipe.
    """
    found: dict[str, Identity] = {}
    pending = [identities.known[key] for key in keys if key in identities.known]
    while pending:
        identity = pending.pop()
        if identity.recipe and identity.checksum not in found:
            found[identity.checksum] = identity
            if identities.inner:
                inputs = named_in(identity.recipe, ("transformation",))
                pending += [identities.inner[name] for name in inputs if name in identities.inner]
    return found


def named_in(recipe: bytes | str, kinds: tuple[str, ...] = ("code", "value")) -> list[str]:
    """List the checksums that a recipe names.

    Parameters
    ----------
    recipe : bytes or str
        The document; anything else than a recipe names nothing.
    kinds : tuple of str
        Of "code", "value", "transformation".
    """
    try:
        document = orjson.loads(recipe)
    except ValueError:
        return []
    found: list[str] = []
    _collect(document, kinds, found, 0)
    return found


def _collect(entry: Any, kinds: tuple[str, ...], found: list[str], depth: int) -> None:
    if depth > _DEEPEST:
        return
    if isinstance(entry, list):
        for item in entry:
            _collect(item, kinds, found, depth + 1)
    elif isinstance(entry, dict):
        for name, item in entry.items():
            if isinstance(item, str):
                if name in kinds and len(item) == 64:
                    found.append(item)
            else:
                _collect(item, kinds, found, depth + 1)


class NoteMaker:
    """Makes notes of what one pass has seen.

    Parameters
    ----------
    graph : dict
        Key to graph node.
    identities : GraphIdentity
        Of that graph.
    identifier : Identifier
        With which it was identified.
    keys : iterable
        Keys whose tasks are looked through for plain data.

    Notes
    -----
    Belongs to one thread at a time, as the identifier does.
    """

    def __init__(
        self,
        graph: Graph,
        identities: GraphIdentity,
        identifier: Identifier,
        keys: Iterable[Key],
    ) -> None:
        self.graph = graph
        self.identities = identities
        self.identifier = identifier
        self.keys = list(keys)
        self.codes = {code.checksum.hex(): code for code, _ in identifier._codes.values()}
        self.values = {v.checksum.hex(): value for v, value in identifier._values.values()}
        self.data: dict[str, Any] | None = None

    def note(self, checksum: str) -> Note | None:
        """Make the note of a checksum, or None where what it stands for is not at hand."""
        try:
            return self._note(checksum)
        except Exception:
            # Types of users are looked at; whatever that raises, only the note is missing.
            logger.debug("no note could be made of %s", checksum, exc_info=True)
            return None

    def _note(self, checksum: str) -> Note | None:
        code = self.codes.get(checksum)
        if code is not None:
            return code_note(code)
        if checksum in self.values:
            return self._value_note(self.values[checksum])
        if self.data is None:
            self.data = dict(self._data())
        return self._value_note(self.data[checksum]) if checksum in self.data else None

    def _value_note(self, value: Any) -> Note:
        note = value_note(value)
        codes = dict(self._codes_in(value))
        return note | {"codes": codes} if codes else note

    def _codes_in(self, value: Any) -> Iterator[tuple[str, str]]:
        found = itertools.islice(callables_in(value), _MOST_CODES_IN_VALUE)
        for path, function in found:
            code = self._code(function)
            if code is None:
                continue
            self.codes[code.checksum.hex()] = code
            yield path, code.checksum.hex()

    def _code(self, function: Any) -> CodeIdentity | None:
        try:
            return self.identifier.code(function)
        except Exception:
            return None

    def _data(self) -> Iterator[tuple[str, Any]]:
        """Yield what stands in the graph as data, by the checksum under which recipes name it."""
        for key, node in self.graph.items():
            identity = self.identities.known.get(key)
            if type(node) is DataNode and identity is not None:
                yield identity.checksum, node.value
        for name, value in list(self.values.items()):
            kind = type(value)
            entry = {"type": f"{kind.__module__}.{kind.__qualname__}", "value": name}
            yield _data_checksum(entry), value
        for key in self.keys:
            for value in _literals(self.graph.get(key), 0):
                yield from self._literal(value)

    def _literal(self, value: Any) -> Iterator[tuple[str, Any]]:
        kind = type(value)
        if kind in (str, int, bool, type(None)):
            yield _data_checksum(value), value
        elif kind is float and value == value:
            yield _data_checksum({"float": value.hex()}), value
        elif not isinstance(value, (bytes, bytearray)) or len(value) <= _LONGEST_LITERAL:
            name = self.identifier.value(value).hex()
            yield name, value
            yield _data_checksum({"type": f"builtins.{kind.__qualname__}", "value": name}), value


def _literals(node: Any, depth: int) -> Iterator[Any]:
    """Yield the plain values that stand in a graph node, whole graphs inside of it included."""
    if depth > _DEEPEST or isinstance(node, TaskRef):
        return
    if type(node) is DataNode:
        yield from _literals(node.value, depth + 1)
    elif isinstance(node, GraphNode):
        for item in (*getattr(node, "args", ()), *(getattr(node, "kwargs", None) or {}).values()):
            yield from _literals(item, depth + 1)
    elif type(node) is dict:
        for item in node.values():
            if isinstance(item, GraphNode):
                yield from _literals(item, depth + 1)
    elif type(node) in LITERALS:
        yield node


def _data_checksum(entry: Any) -> str:
    return hashlib.sha256(dump_recipe({"data": entry})).hexdigest()
