"""The traversal of a value: dispatch by type, cycles, sharing, and what is noted on the way.

Encoding dispatches on the exact type. Handlers of third-party types live in modules of their own,
imported when the first such value is met, so that this package imports none of those libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol

from ..errors import RefusedError
from .effects import Effect
from .literals import LITERALS, size
from .nodes import Node, Piece, seal, seal_set

Handler = Callable[["Encoder", Any, "list[Piece]"], None]
Finder = Callable[[type], "Handler | None"]

_PROVIDERS = {
    "numpy": "arrays",
    "scipy": "arrays",
    "pandas": "frames",
    "pyarrow": "arrow",
}
_LONGEST_PATH = 4096
_LONGEST_TRAIL = 500
_MOST_LOOPS = 100_000


class Site(Protocol):
    """Where effects and file names are noted: a node, or the report on one value."""

    effects: list[Effect]
    files: list[str]


class Registry(Protocol):
    """What an encoder needs from the identifier of the pass."""

    versions: str
    handlers: dict[type, Handler]
    memo: dict[tuple[bool, int], tuple[Piece, list[Effect], list[str], object]]
    graph_node_hook: Callable[[Any], Any] | None

    def node(self, subject: Any, name: str) -> Node:
        """Give the node of a function, class or module of the user."""
        ...


def names_a_file(text: str) -> bool:
    """Tell whether a string could be a path.

    Parameters
    ----------
    text : str
        Any string.

    Returns
    -------
    bool
        Only a hint; nobody looked at the file system.
    """
    if not text or len(text) > _LONGEST_PATH or "\n" in text or "\0" in text:
        return False
    return any(map(str.isalnum, text))


class Encoder:
    """Encodes values for one site.

    Parameters
    ----------
    registry : Registry
        The pass that this belongs to; it holds the memo tables.
    site : Site
        Where effects and files are noted.
    shared : bool
        The value stays alive between calls (a global, a closure, a default), so that state which
        calls consume, such as a random generator's, is an effect.

    Notes
    -----
    Not thread-safe, as the pass that it belongs to.
    """

    __slots__ = ("_active", "_loops", "constructed", "registry", "shared", "site")

    def __init__(self, registry: Registry, site: Site, shared: bool) -> None:
        self.registry = registry
        self.site = site
        self.shared = shared
        # The classes of values being encoded: naming them is no use of what they can do.
        self.constructed: list[type] = []
        self._active: dict[int, int] = {}
        self._loops = 0

    def encode(self, value: Any, out: list[Piece]) -> None:
        """Append the encoding of a value.

        Parameters
        ----------
        value : object
            Anything.
        out : list
            The pieces so far.

        Raises
        ------
        RefusedError
            If the value has no certain identity.
        """
        kind = type(value)
        literal = LITERALS.get(kind)
        if literal is not None:
            out.append(literal(value))
            if kind is str and names_a_file(value):
                self.site.files.append(value)
            return
        handler = self.registry.handlers.get(kind)
        if handler is None:
            handler = self._find(kind)
            self.registry.handlers[kind] = handler
        handler(self, value, out)

    def _find(self, kind: type) -> Handler:
        from . import objects

        # Cython gives some of its types a descriptor for a module.
        top = str(kind.__module__ or "").partition(".")[0]
        provider = _PROVIDERS.get(top)
        own = objects.own_handler(kind)
        if own is not None:
            return own
        if provider is not None:
            find: Finder = import_module(f".{provider}", __package__).find_handler
            found = find(kind)
            if found is not None:
                return found
        return objects.find_handler(kind)

    def encoded(self, value: Any) -> list[Piece]:
        """Encode a value on its own."""
        out: list[Piece] = []
        self.encode(value, out)
        return out

    def container(self, value: Any, out: list[Piece], fill: Handler) -> None:
        """Append the encoding of a value that holds others.

        A container within itself becomes the number of levels back; one that was met before is
        taken from the memo.

        Parameters
        ----------
        value : object
            The container; must stay alive and unchanged until the pass ends.
        out : list
            The pieces so far.
        fill : callable
            Appends the content of ``value`` to the list that it is given.
        """
        key = id(value)
        known = self.registry.memo.get((self.shared, key))
        if known is not None:
            self._recall(known, out)
            return
        depth = self._active.get(key)
        if depth is not None:
            out.append(b"@" + size(len(self._active) - depth))
            self._count_loop()
            return
        self._descend(value, out, fill)

    def _recall(self, known: Any, out: list[Piece]) -> None:
        piece, effects, files, _ = known
        out.append(piece)
        self.site.effects.extend(effects)
        self.site.files.extend(files)

    def _descend(self, value: Any, out: list[Piece], fill: Handler) -> None:
        key, depth = id(value), len(self._active)
        effects, files = len(self.site.effects), len(self.site.files)
        loops = self._loops
        self._active[key] = depth
        inner: list[Piece] = []
        try:
            fill(self, value, inner)
        except RecursionError:
            raise RefusedError("nested too deeply") from None
        finally:
            del self._active[key]
        piece = seal(inner)
        out.append(piece)
        # How a cycle is written depends on where it was entered, so parts of one are not kept.
        if self._loops == loops:
            self.registry.memo[self.shared, key] = (
                piece,
                self.site.effects[effects:],
                self.site.files[files:],
                value,
            )

    def _count_loop(self) -> None:
        # Without a memo, densely tied objects have exponentially many paths.
        self._loops += 1
        if self._loops > _MOST_LOOPS:
            raise RefusedError("objects that refer to each other in too many ways")

    def items(self, values: Iterable[Any], out: list[Piece]) -> None:
        """Append the encodings of values in their order."""
        index = 0
        try:
            for item in values:
                self.encode(item, out)
                index += 1
        except RefusedError as error:
            raise within(f"[{index}]", error) from None

    def mapping(self, pairs: Iterable[tuple[Any, Any]], out: list[Piece]) -> None:
        """Append the encodings of keys and values in their order."""
        key: Any = None
        try:
            for key, item in pairs:
                self.encode(key, out)
                self.encode(item, out)
        except RefusedError as error:
            raise within(f"[{_short(key)}]", error) from None

    def attributes(self, pairs: Iterable[tuple[Any, Any]], out: list[Piece]) -> None:
        """Append named values, sorted by name: their order carries no meaning."""
        ordered = sorted(pairs, key=lambda pair: str(pair[0]))
        out.append(b"a" + size(len(ordered)))
        for name, item in ordered:
            with located(f".{name}"):
                self.encode(name, out)
                self.encode(item, out)

    def members(self, values: Iterable[Any], tag: bytes, out: list[Piece]) -> None:
        """Append values without order."""
        encodings = [self.encoded(item) for item in values]
        out.append(seal_set(tag + size(len(encodings)), encodings))

    def effect(self, kind: str, name: str) -> None:
        """Note an effect."""
        self.site.effects.append(Effect(kind, name))


@contextmanager
def located(step: str) -> Iterator[None]:
    """Put a step before the path of a refusal that passes through.

    Parameters
    ----------
    step : str
        Such as ``.attribute`` or ``global NAME``.
    """
    try:
        yield
    except RefusedError as error:
        raise within(step, error) from None


def within(step: str, error: RefusedError) -> RefusedError:
    """Give a refusal whose path begins one step earlier.

    Parameters
    ----------
    step : str
        Such as ``[3]`` or ``.attribute``; these attach directly, anything else by an arrow.
    error : RefusedError
        The refusal.

    Returns
    -------
    RefusedError
        A new one.
    """
    joint = "" if not error.path or error.path[0] in ".[" else " -> "
    path = f"{step}{joint}{error.path}"
    if len(path) > _LONGEST_TRAIL:
        path = f"{path[: _LONGEST_TRAIL - 3]}..."
    return RefusedError(error.reason, path)


def _short(key: Any) -> str:
    text = repr(key) if type(key) in LITERALS else type(key).__name__
    return text if len(text) <= 40 else f"{text[:37]}..."
