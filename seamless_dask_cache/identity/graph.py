"""A checksum for every task of a graph, known before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from seamless_dask_cache.dask_internals import (
    Alias,
    DataNode,
    Graph,
    Key,
    NestedContainer,
    Task,
    in_order,
)
from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.describer import Describer
from seamless_dask_cache.identity.recipe import Identity
from seamless_dask_cache.identity.reduction import interrupts, told


@dataclass(frozen=True)
class Refusal:
    """Why a task has no identity.

    Attributes
    ----------
    reason : str
        In words that a user can act on.
    origin : key
        The key of the task where the reason lies; the task itself, or one upstream of it.
    """

    reason: str
    origin: Key

    def __str__(self) -> str:
        return self.reason


@dataclass
class GraphIdentity:
    """The identities of one graph.

    Attributes
    ----------
    known : dict
        Key to Identity, for every node that has one, data and aliases included.
    refused : dict
        Key to Refusal, for every other node.
    inner : dict
        Transformation checksum to Identity, of the tasks inside fused ones.
    """

    known: dict[Key, Identity] = field(default_factory=dict)
    refused: dict[Key, Refusal] = field(default_factory=dict)
    inner: dict[str, Identity] = field(default_factory=dict)


def identify_graph(
    graph: Graph,
    external: Callable[[Key], Identity | Refusal],
    *,
    identifier: Identifier | None = None,
    describer: Describer | None = None,
    allow_effects: frozenset[str] = frozenset(),
    never: Mapping[Key, str] | None = None,
    trusted: Container[Key] = frozenset(),
) -> GraphIdentity:
    """Give every task of a graph its identity, or the reason why it has none.

    Parameters
    ----------
    graph : dict
        Key to graph node.
    external : callable
        Gives the identity of a key that the graph refers to and does not contain.
    identifier : Identifier, optional
        Memo tables to use; new ones by default.
    describer : Describer, optional
        What graphs that are identified in one pass share, instead of the above and the below.
    allow_effects : frozenset of str
        Kinds of effects that do not refuse a task.
    never : mapping, optional
        Keys that must not be identified, with the reason.
    trusted : container
        Keys of tasks that the user declared pure.

    Returns
    -------
    GraphIdentity

    Raises
    ------
    ValueError
        When the graph has a cycle.
    """
    if describer is None:
        describer = Describer(identifier or Identifier(), allow_effects)
    result = GraphIdentity()
    known, refused = result.known, result.refused
    never = {**_exchanging(graph), **(never or {})}

    def upstream(key: Key) -> Identity:
        found = known.get(key)
        if found is not None:
            return found
        reason = refused.get(key)
        if reason is None:
            answer = external(key)
            if isinstance(answer, Identity):
                return answer
            reason = answer
        raise UpstreamRefusedError(reason)

    for key in in_order(graph):
        if key in never:
            refused[key] = Refusal(never[key], key)
            continue
        try:
            known[key] = describer.identify(graph[key], upstream, trusted=key in trusted)
        except UpstreamRefusedError as error:
            refused[key] = error.refusal
        except RefusedError as error:
            refused[key] = Refusal(str(error), key)
        except BaseException as error:
            # Hashing runs code of users' classes; whatever it raises, the task is only not cached.
            if interrupts(error):
                raise
            refused[key] = Refusal(f"identifying it failed: {told(error)}", key)
    result.inner = describer.inner
    return result


def _exchanging(graph: Graph) -> dict[Key, str]:
    """Return the inputs of nodes of special kinds, which do their work behind the graph's back.

    A peer-to-peer shuffle sends its data to other workers as its transfer tasks run; a transfer
    that is restored sends nothing.
    """
    ordinary = {kind for kind in set(map(type, graph.values())) if not _is_special(kind)}
    return {
        key: f"it exchanges data behind the graph's back, for {type(node).__name__}"
        for node in graph.values()
        if type(node) not in ordinary
        for key in node.dependencies
    }


def _is_special(kind: type) -> bool:
    return issubclass(kind, Task) and kind is not Task and not issubclass(kind, NestedContainer)


class UpstreamRefusedError(RefusedError):
    """An input of a task was refused."""

    def __init__(self, refusal: Refusal):
        super().__init__(refusal.reason)
        self.refusal = refusal


def is_task(node: Any) -> bool:
    """Tell tasks, which compute something, from data and aliases."""
    return type(node) is not DataNode and type(node) is not Alias
