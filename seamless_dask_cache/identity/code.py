"""The identity of functions and values: the entry to this package.

An :class:`Identifier` serves one pass (one graph). It remembers by object identity what it has
seen, so a function is analysed once per pass, and it looks at globals, closures and modules anew in
the next, so a changed global, a reload or a monkeypatch is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import FunctionType, ModuleType
from typing import Any

from ..errors import RefusedError
from .classes import analyse_class
from .distributions import check_policy
from .effects import Effect
from .encoder import Encoder, Handler, names_a_file
from .functions import analyse_function, analyse_module
from .installed import home_of
from .literals import LITERALS
from .nodes import Node, Piece, label_all, nodes_in, own_content, reach, render
from .objects import registered
from .policy import EXPIRY, soonest
from .twins import twin_key
from .values import HANDLERS


@dataclass(frozen=True, slots=True)
class CodeIdentity:
    """What identifies a callable.

    Attributes
    ----------
    checksum : bytes
        32 bytes; equal for callables that do the same in the same surroundings.
    name : str
        ``__name__``, or ``module.qualname`` for installed code.
    effects : tuple of Effect
        Impure names that it reaches in any case.
    conditional : tuple of Effect
        Effects that happen only if the parameter that they name is ``None``.
    files : tuple of str
        Strings that it reaches and that look like paths.
    expires : float or None
        Seconds after which a result of the first cached function that it reaches counts no more.
    """

    checksum: bytes
    name: str
    effects: tuple[Effect, ...]
    conditional: tuple[Effect, ...]
    files: tuple[str, ...]
    expires: float | None
    _root: Node = field(repr=False, compare=False)

    @property
    def modules(self) -> frozenset[str]:
        """Names of the user's modules that its code comes from."""
        found = {
            getattr(node.subject, "__module__", None)
            for _, node in reach(self._root, everything=True)
        }
        return frozenset(name for name in found if isinstance(name, str))

    @property
    def parts(self) -> Mapping[str, str]:
        """Checksums of everything that the callable consists of, each without what is below it.

        Keys are paths such as ``"f -> helper -> global LIMIT"``; comparing two of these mappings
        tells what has changed.
        """
        return {
            f"{path} -> {label}" if label else path: sha256(own_content(pieces)).hexdigest()
            for path, node in reach(self._root, everything=True)
            for label, pieces in node.parts
        }


@dataclass(frozen=True, slots=True)
class ValueIdentity:
    """What identifies a value, and what using it may do.

    Attributes
    ----------
    checksum : bytes
        SHA-256 of the canonical encoding.
    effects : tuple of Effect
        Impure names that functions in the value reach.
    files : tuple of str
        Strings in the value that look like paths.
    has_code : bool
        The value has functions, classes or modules of the user in it.
    expires : float or None
        As that of code.
    """

    checksum: bytes
    effects: tuple[Effect, ...]
    files: tuple[str, ...]
    has_code: bool = False
    expires: float | None = None


class Identifier:
    """Computes identities during one pass, such as the hashing of one graph.

    Parameters
    ----------
    versions : {"exact", "minor", "ignore"}
        How far versions of installed distributions count.
    allow_effects : frozenset of str
        Kinds of effects that are not reported.

    Attributes
    ----------
    graph_node_hook : callable or None
        Takes a node of a Dask graph that occurs within a value, returns plain values that identify
        it. Without a hook such values are refused.

    Notes
    -----
    Belongs to one thread. Keeps what it has seen alive and takes it for unchanged: make a new one
    for each pass.
    """

    def __init__(
        self, *, versions: str = "exact", allow_effects: frozenset[str] = frozenset()
    ) -> None:
        self.versions = check_policy(versions)
        self.allow_effects = frozenset(allow_effects)
        self.graph_node_hook: Callable[[Any], Any] | None = None
        self.handlers: dict[type, Handler] = dict(HANDLERS)
        for kind in registered():
            self.handlers.pop(kind, None)
        self.memo: dict[tuple[bool, int], tuple[Piece, list[Effect], list[str], object]] = {}
        self._nodes: dict[int, Node] = {}
        self._pending: list[Node] = []
        self._codes: dict[int, tuple[CodeIdentity, object]] = {}
        self._twins: dict[Hashable, tuple[CodeIdentity, object]] = {}
        self._values: dict[int, tuple[ValueIdentity, object]] = {}

    def code(self, function: Any) -> CodeIdentity:
        """Identify a callable.

        Parameters
        ----------
        function : callable
            A function, method, class, partial, builtin, instance with ``__call__``, ...

        Returns
        -------
        CodeIdentity
            Its checksum, and the effects that it reaches.

        Raises
        ------
        RefusedError
            If it reaches something without certain identity; ``path`` says where.
        """
        known = self._codes.get(id(function))
        if known is None:
            known = self._codes[id(function)] = self._identity_of_twin(function), function
        return known[0]

    def _identity_of_twin(self, function: Any) -> CodeIdentity:
        key = twin_key(function)
        if key is None:
            return self._identify(function)
        known = self._twins.get(key)
        if known is None:
            known = self._twins[key] = self._identify(function), function
        return known[0]

    def _identify(self, function: Any) -> CodeIdentity:
        root = Node(function, _display_name(function))
        root.parts.append(("", Encoder(self, root, shared=True).encoded(function)))
        self._settle([root])
        only = root.parts[0][1][0]
        if isinstance(only, Node):
            root = only
        effects, files, expires = self._report(root)
        return CodeIdentity(
            checksum=root.label or b"",
            name=root.name,
            effects=tuple(effect for effect in effects if effect.parameter is None),
            conditional=tuple(effect for effect in effects if effect.parameter is not None),
            files=files,
            expires=expires,
            _root=root,
        )

    def value(self, value: Any) -> bytes:
        """Compute the checksum of a value.

        Parameters
        ----------
        value : object
            Anything.

        Returns
        -------
        bytes
            32 bytes; SHA-256 of the canonical encoding.

        Raises
        ------
        RefusedError
            If the value has no certain identity; ``path`` says where.
        """
        literal = LITERALS.get(type(value))
        if literal is not None:
            return sha256(literal(value)).digest()
        return self.describe(value).checksum

    def describe(self, value: Any) -> ValueIdentity:
        """Identify a value, with the effects and files that it brings along.

        Parameters
        ----------
        value : object
            Anything.

        Returns
        -------
        ValueIdentity
            Its checksum as :meth:`value` gives it.

        Raises
        ------
        RefusedError
            If the value has no certain identity.
        """
        if type(value) in LITERALS:
            files = (value,) if type(value) is str and names_a_file(value) else ()
            return ValueIdentity(self.value(value), (), files)
        known = self._values.get(id(value))
        if known is None:
            known = self._values[id(value)] = self._describe(value), value
        return known[0]

    def _describe(self, value: Any) -> ValueIdentity:
        root = Node(value, type(value).__name__)
        pieces = Encoder(self, root, shared=False).encoded(value)
        if len(pieces) == 1 and isinstance(pieces[0], bytes):
            effects, files = self._allowed(root.effects, root.name), tuple(root.files)
            expires = soonest(root.effects)
            return ValueIdentity(sha256(pieces[0]).digest(), effects, files, expires=expires)
        root.parts.append(("", pieces))
        self._settle([root])
        found, names, expires = self._report(root)
        has_code = any(True for _ in nodes_in(pieces))
        return ValueIdentity(sha256(render(pieces, {})).digest(), found, names, has_code, expires)

    def node(self, subject: Any, name: str) -> Node:
        """Give the node of a function, class or module of the user.

        Parameters
        ----------
        subject : object
            The function, class or module.
        name : str
            For people.

        Returns
        -------
        Node
            The same for the same object; analysed before this pass gives an answer.
        """
        known = self._nodes.get(id(subject))
        if known is None:
            known = self._nodes[id(subject)] = Node(subject, name)
            self._pending.append(known)
        return known

    def _settle(self, roots: list[Node]) -> None:
        while self._pending:
            node = self._pending.pop()
            try:
                self._analyse(node)
            except RefusedError as error:
                node.refusal = (error.reason, error.path)
        label_all(roots)

    def _analyse(self, node: Node) -> None:
        subject = node.subject
        encoder = Encoder(self, node, shared=True)
        if isinstance(subject, FunctionType):
            analyse_function(encoder, node, subject)
        elif isinstance(subject, type):
            analyse_class(encoder, node, subject)
        elif isinstance(subject, ModuleType):
            analyse_module(encoder, node, subject)
        else:
            raise RefusedError(f"{type(subject).__name__} can't be analysed")

    def _report(self, root: Node) -> tuple[tuple[Effect, ...], tuple[str, ...], float | None]:
        effects: dict[Effect, None] = {}
        ages: list[Effect] = []
        files: dict[str, None] = {}
        for path, node in reach(root):
            if node.refusal is not None:
                reason, within = node.refusal
                raise RefusedError(reason, f"{path} -> {within}" if within else path)
            own = [*node.effects, *node.conditional] if node is root else node.effects
            found = self._allowed(own, path, conditional=node is root)
            effects.update(dict.fromkeys(found))
            ages += node.effects
            files.update(dict.fromkeys(node.files))
        return tuple(effects), tuple(files), soonest(ages)

    def _allowed(
        self, effects: list[Effect], path: str, conditional: bool = False
    ) -> tuple[Effect, ...]:
        return tuple(
            Effect(
                effect.kind,
                effect.name,
                f"{path} -> {effect.name}",
                effect.parameter if conditional else None,
            )
            for effect in dict.fromkeys(effects)
            if effect.kind not in self.allow_effects and effect.kind != EXPIRY
        )


def code_checksum(function: Any) -> str:
    """Compute the checksum of a function's code and everything that it refers to.

    Parameters
    ----------
    function : callable
        Any callable.

    Returns
    -------
    str
        64 hex digits, equal in every process.

    Raises
    ------
    RefusedError
        If it reaches something without certain identity.
    """
    return Identifier().code(function).checksum.hex()


def value_checksum(value: Any) -> str:
    """Compute the checksum of a value's canonical encoding.

    Parameters
    ----------
    value : object
        Any value.

    Returns
    -------
    str
        64 hex digits, equal in every process.

    Raises
    ------
    RefusedError
        If the value has no certain identity.
    """
    return Identifier().value(value).hex()


def _display_name(function: Any) -> str:
    home = home_of(function)
    if home is not None:
        return home[1]
    target = getattr(function, "func", function)
    name = getattr(target, "__name__", None) or type(function).__name__
    return str(name)
