"""One submitted graph on its way from the client to the scheduler, apart from any scheduler."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from seamless_dask_cache.dask_internals import Graph, Key, in_order
from seamless_dask_cache.database import Cost, LookupAnswer
from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.describer import Describer
from seamless_dask_cache.identity.graph import GraphIdentity, Refusal, identify_graph, is_task
from seamless_dask_cache.identity.recipe import Identity

from .keys import refuse_downstream
from .quarantine import FOUND_IRREPRODUCIBLE, IRREPRODUCIBLE

if TYPE_CHECKING:
    from .cutoff import Hopes

ANNOTATION = "cache"


@dataclass
class Submission:
    """A graph with everything that can be known of it before it is scheduled.

    Attributes
    ----------
    graph : dict
        Key to graph node.
    annotations : dict
        Annotation name to {key: value}.
    keys : set
        The requested keys.
    everywhere : dict
        Annotations of the whole submission.
    externals : dict
        Key to what is known of it, for the keys that the graph takes from the scheduler.
    identities : GraphIdentity
        What every node is.
    trusted : set
        Keys that the user declared pure.
    never : dict
        Keys that must not be cached, with the reason.
    order : list
        All keys, dependencies first.
    answers : dict
        Transformation checksum to answer, for those that are hits.
    costs : dict
        Code checksum to what running it cost so far.
    changed : dict
        Transformation checksum to a file that its stored result was made of, and that changed.
    outdated : dict
        Key that the scheduler holds to a file that it was read from, and that changed.
    restored : dict
        Key to answer, for those that are served; known once the graph is rewritten.
    identifier : Identifier or None
        With which it was identified.
    by_content : set
        Transformation checksums of the hits that were found by the content of their inputs.
    hopes : Hopes or None
        What may be spared of it while it runs.
    awaited : set
        Transformation checksums of what another cluster computes at this moment.
    occasion : str
        Names the pass in which it was identified, for workers: they need to look at a piece of code
        only once for all graphs of one pass.
    """

    graph: Graph
    annotations: dict[str, dict[Key, Any]]
    keys: set[Key]
    everywhere: Mapping[str, Any] = field(default_factory=dict)
    externals: dict[Key, Identity | Refusal] = field(default_factory=dict)
    identities: GraphIdentity = field(default_factory=GraphIdentity)
    trusted: set[Key] = field(default_factory=set)
    never: dict[Key, str] = field(default_factory=dict)
    order: list[Key] = field(default_factory=list)
    answers: dict[str, LookupAnswer] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    outdated: dict[Key, str] = field(default_factory=dict)
    restored: dict[Key, LookupAnswer] = field(default_factory=dict)
    identifier: Identifier | None = None
    by_content: set[str] = field(default_factory=set)
    hopes: Hopes | None = None
    awaited: set[str] = field(default_factory=set)
    occasion: str = ""

    def external_keys(self) -> set[Key]:
        """Return the keys that the graph refers to and does not contain."""
        graph = self.graph
        return {d for node in graph.values() for d in node.dependencies if d not in graph}

    def identify(
        self,
        describer: Describer,
        *,
        effects: Mapping[str, str],
    ) -> None:
        """Give every task its identity; may take a while, so it belongs into a thread.

        Parameters
        ----------
        describer : Describer
            What the graphs of one pass share.
        effects : mapping
            Checksums of transformations and of code that showed an effect when they ran, with the
            reason.
        """
        self.order = list(in_order(self.graph))
        self.identifier = describer.lexicon.identifier
        self.identities = identify_graph(
            self.graph,
            self.externals.__getitem__,
            describer=describer,
            never=self.never,
            trusted=self.trusted,
        )
        if effects:
            self._refuse_effects(effects)

    def _refuse_effects(self, effects: Mapping[str, str]) -> None:
        found = {}
        for key, identity in self.identities.known.items():
            reason = effects.get(identity.checksum) or effects.get(identity.code)
            if reason is None or not is_task(self.graph[key]):
                continue
            # The user's word that a function is pure does not outweigh an audit.
            if not identity.trusted or reason.startswith(IRREPRODUCIBLE):
                found[key] = Refusal(reason, key)
        if found:
            refuse_downstream(self.graph, self.identities, found, self.order)

    def refuse_irreproducible(self, names: Collection[str]) -> None:
        """Refuse some transformations, also among the inputs, and everything downstream."""
        entries = {**self.externals, **self.identities.known}
        found = {
            key: Refusal(FOUND_IRREPRODUCIBLE, key)
            for key, entry in entries.items()
            if isinstance(entry, Identity) and entry.checksum in names
        }
        if found:
            refuse_downstream(self.graph, self.identities, found, self.order)

    def inputs(self) -> set[str]:
        """Return the transformation checksums of what the graph takes from the scheduler."""
        return {e.checksum for e in self.externals.values() if isinstance(e, Identity)}

    def transformations(self) -> list[str]:
        """Return the transformation checksums to look up, each once."""
        known, graph = self.identities.known, self.graph
        return list({i.checksum: None for key, i in known.items() if is_task(graph[key])})

    def codes(self) -> set[str]:
        """Return the checksums of the code that its tasks run."""
        known, graph = self.identities.known, self.graph
        return {i.code for key, i in known.items() if is_task(graph[key])}

    def count_tasks(self) -> int:
        """Return the number of tasks; data and aliases do not count."""
        return sum(map(is_task, self.graph.values()))


def judge_annotations(
    graph: Graph,
    by_type: Mapping[str, Mapping[Key, Any]],
    everywhere: Mapping[str, Any] | None,
    actors: bool | Iterable[Key] | None,
) -> tuple[set[Key], dict[Key, str]]:
    """Read what the user says of single tasks.

    Parameters
    ----------
    graph : dict
        Key to graph node.
    by_type : mapping
        Annotation name to {key: value}.
    everywhere : mapping or None
        Annotations of the whole submission.
    actors : bool, iterable of keys or None
        Tasks that become actors.

    Returns
    -------
    trusted : set
        Keys under ``dask.annotate(cache=True)``.
    never : dict
        Keys that must not be cached, with the reason.
    """
    trusted: set[Key] = set()
    never: dict[Key, str] = {}
    default = (everywhere or {}).get(ANNOTATION)
    single = by_type.get(ANNOTATION, {})
    if default is not None or single:
        for key in graph:
            wish = single.get(key, default)
            if callable(wish):
                wish = wish(key)
            if wish is True:
                trusted.add(key)
            elif wish is False:
                never[key] = "annotated with cache=False"
    if actors:
        for key in graph if actors is True else actors:
            never[key] = "it makes an actor"
    return trusted, never
