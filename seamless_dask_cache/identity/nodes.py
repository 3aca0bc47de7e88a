"""A graph of functions, classes and modules that refer to each other, and its checksums.

Functions may be mutually recursive, so a checksum can't simply be computed from the checksums of
what a function refers to. Each strongly connected component is labelled by partition refinement:
all members begin with the same label; each round gives every member the digest of its content with
the previous labels filled in; when a round separates no more members than the one before, the
labels are final. This depends on the component only, never on where the traversal entered it, so
results can be kept for any later entry. (It is the coarsest bisimulation, as in Paige and Tarjan,
*Three partition refinement algorithms*, SIAM J. Comput. 16, 1987, computed by hashing.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from .effects import Effect
from .literals import size

_INLINE = 256


class Node:
    """A function, class or module of the user: what it consists of, and what it refers to.

    Attributes
    ----------
    subject : object
        The object itself; kept alive, because identities are looked up by ``id``.
    name : str
        For people.
    parts : list of (str, list)
        What it consists of: a label for people and the pieces of its encoding.
    effects : list of Effect
        Impure names that its own parts reach.
    conditional : list of Effect
        Those that happen only if a caller passes ``None`` for a parameter.
    files : list of str
        Strings among its own parts that may name files.
    refusal : (str, str) or None
        Why it has no identity: reason and path.
    label : bytes or None
        Its checksum, 32 bytes, once the graph below it is known.
    clean : bool
        Nothing below has an effect, a refusal or a file; set with ``label``.
    """

    __slots__ = (
        "clean",
        "conditional",
        "effects",
        "files",
        "label",
        "name",
        "parts",
        "refusal",
        "subject",
    )

    def __init__(self, subject: object, name: str) -> None:
        self.subject = subject
        self.name = name
        self.parts: list[tuple[str, list[Piece]]] = []
        self.effects: list[Effect] = []
        self.conditional: list[Effect] = []
        self.files: list[str] = []
        self.refusal: tuple[str, str] | None = None
        self.label: bytes | None = None
        self.clean = False

    def part(self, label: str) -> list[Piece]:
        """Begin a part and give the list that its pieces are appended to."""
        pieces: list[Piece] = []
        self.parts.append((label, pieces))
        return pieces

    def children(self) -> Iterator[Node]:
        """Yield what it refers to, in order, with repetitions."""
        for _, pieces in self.parts:
            yield from nodes_in(pieces)

    def content(self, labels: Mapping[Node, bytes]) -> bytes:
        """Encode all parts, references replaced by labels."""
        rendered = [render(pieces, labels) for _, pieces in self.parts]
        return b"".join(size(len(item)) + item for item in rendered)


class Deferred:
    """An encoding that waits for the labels of the nodes in it.

    Parameters
    ----------
    items : list of list
        Encodings; one, or the unordered members of a set.
    tag : bytes
        What precedes them; non-empty exactly for sets.
    """

    __slots__ = ("items", "tag")

    def __init__(self, items: list[list[Piece]], tag: bytes = b"") -> None:
        self.items = items
        self.tag = tag


Piece = bytes | Node | Deferred


def seal(pieces: list[Piece]) -> Piece:
    """Close the encoding of one container: short ones stand inline, long ones as their digest.

    That depends on the length alone, so an object that occurs twice and two equal objects have the
    same encoding.

    Parameters
    ----------
    pieces : list
        The encoding.

    Returns
    -------
    bytes or Deferred
        Deferred where nodes occur, whose labels may be unknown.
    """
    try:
        return _shorten(b"".join(pieces))  # type: ignore[arg-type]
    except TypeError:
        return Deferred([pieces])


def seal_set(tag: bytes, members: list[list[Piece]]) -> Piece:
    """Close the encoding of a set: members in the order of their encodings.

    Parameters
    ----------
    tag : bytes
        Kind and number of members.
    members : list of list
        One encoding each.

    Returns
    -------
    bytes or Deferred
        Deferred where nodes occur.
    """
    deferred = Deferred(members, tag)
    if any(True for member in members for _ in nodes_in(member)):
        return deferred
    return _render_set(deferred, {})


def _shorten(content: bytes) -> bytes:
    return content if len(content) <= _INLINE else b"#" + sha256(content).digest()


def render(pieces: Iterable[Piece], labels: Mapping[Node, bytes]) -> bytes:
    """Turn an encoding into bytes.

    Parameters
    ----------
    pieces : iterable
        The encoding.
    labels : mapping
        Labels of nodes that have none of their own yet.

    Returns
    -------
    bytes
        A node is 33 bytes.
    """
    rendered = []
    for piece in pieces:
        if isinstance(piece, bytes):
            rendered.append(piece)
        elif isinstance(piece, Node):
            rendered.append(b"R" + (piece.label or labels.get(piece, bytes(32))))
        elif piece.tag:
            rendered.append(_render_set(piece, labels))
        else:
            rendered.append(_shorten(render(piece.items[0], labels)))
    return b"".join(rendered)


def _render_set(deferred: Deferred, labels: Mapping[Node, bytes]) -> bytes:
    members = sorted(render(member, labels) for member in deferred.items)
    return _shorten(deferred.tag + b"".join(size(len(item)) + item for item in members))


def own_content(pieces: Iterable[Piece]) -> bytes:
    """Render an encoding with everything that it refers to left out.

    Parameters
    ----------
    pieces : iterable
        The encoding.

    Returns
    -------
    bytes
        For people who ask what changed; equal also where a node below differs.
    """
    return b"".join(
        piece
        if isinstance(piece, bytes)
        else b"R"
        if isinstance(piece, Node)
        else b"D" + b"".join(own_content(item) for item in piece.items)
        for piece in pieces
    )


def nodes_in(pieces: Iterable[Piece]) -> Iterator[Node]:
    """Yield the nodes of an encoding, in order, with repetitions."""
    for piece in pieces:
        if isinstance(piece, Node):
            yield piece
        elif isinstance(piece, Deferred):
            for item in piece.items:
                yield from nodes_in(item)


def label_all(roots: Iterable[Node]) -> None:
    """Give every node below some roots its label.

    Parameters
    ----------
    roots : iterable of Node
        Analysed, as everything below them.
    """
    for component in _components(roots):
        _label(component)
        members = set(component)
        clean = all(
            not (node.effects or node.refusal or node.files)
            and all(child.clean for child in node.children() if child not in members)
            for node in component
        )
        for node in component:
            node.clean = clean


def _label(component: list[Node]) -> None:
    only = component[0]
    if len(component) == 1 and only not in only.children():
        only.label = sha256(b"node" + only.content({})).digest()
        return
    before = dict.fromkeys(component, bytes(32))
    rounds = 0
    while True:
        rounds += 1
        after = {node: sha256(node.content(before)).digest() for node in component}
        if len(set(after.values())) == len(set(before.values())):
            break
        before = after
    # The pairs say how labels follow from labels: two components with equal pairs are bisimilar.
    pairs = sorted({before[node] + after[node] for node in component})
    shape = sha256(size(rounds) + b"".join(pairs)).digest()
    for node in component:
        node.label = sha256(b"knot" + shape + after[node]).digest()


def _components(roots: Iterable[Node]) -> Iterator[list[Node]]:
    """Yield strongly connected components, what is referred to first (Tarjan 1972, iterative)."""
    order: dict[Node, int] = {}
    low: dict[Node, int] = {}
    waiting: dict[Node, None] = {}
    for root in roots:
        if root.label is not None or root in order:
            continue
        trail = [(root, _enter(root, order, low, waiting))]
        while trail:
            node, children = trail[-1]
            child = next(children, None)
            if child is None:
                trail.pop()
                if trail:
                    parent = trail[-1][0]
                    low[parent] = min(low[parent], low[node])
                if low[node] == order[node]:
                    yield _close(node, waiting)
            elif child in waiting:
                low[node] = min(low[node], order[child])
            elif child not in order and child.label is None:
                trail.append((child, _enter(child, order, low, waiting)))


def _enter(node: Node, order: Any, low: Any, waiting: Any) -> Iterator[Node]:
    order[node] = low[node] = len(order)
    waiting[node] = None
    return iter(dict.fromkeys(node.children()))


def _close(node: Node, waiting: dict[Node, None]) -> list[Node]:
    component = []
    while True:
        member, _ = waiting.popitem()
        component.append(member)
        if member is node:
            return component


def reach(root: Node, everything: bool = False) -> Iterator[tuple[str, Node]]:
    """Walk through everything below a node that has something to report, each node once.

    Parameters
    ----------
    root : Node
        Where the path begins.
    everything : bool
        Also visit what has nothing to report.

    Yields
    ------
    (str, Node)
        Path of names, shortest first, and the node.
    """
    seen = {root}
    level = [(root.name, root)]
    while level:
        yield from level
        following = []
        for path, node in level:
            for child in node.children():
                if child not in seen and (everything or not child.clean):
                    seen.add(child)
                    following.append((f"{path} -> {child.name}", child))
        level = following
