"""The memory of keys: what the plugin knows of every key that the scheduler holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from seamless_dask_cache.dask_internals import Graph, Key
from seamless_dask_cache.identity.graph import GraphIdentity, Refusal
from seamless_dask_cache.identity.recipe import Identity

UNKNOWN = "it was submitted before the cache was enabled, or is data whose content is not known"


class KeyMemory:
    """Key to identity or refusal, for the keys that the scheduler holds.

    Notes
    -----
    Used from the scheduler's event loop only; the hashing thread gets a snapshot.
    """

    def __init__(self) -> None:
        self._entries: dict[Key, Identity | Refusal] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Identity | Refusal:
        """Return what is known of a key; a refusal where nothing is."""
        return self._entries.get(key) or Refusal(UNKNOWN, key)

    def knows(self, key: Key) -> bool:
        """Tell whether anything is known of a key."""
        return key in self._entries

    def snapshot(self, keys: Iterable[Key]) -> dict[Key, Identity | Refusal]:
        """Return what is known of some keys now."""
        return {key: self.get(key) for key in keys}

    def learn(self, key: Key, entry: Identity | Refusal) -> None:
        """Remember what a key is, unless something is known of it already."""
        self._entries.setdefault(key, entry)

    def taint(self, key: Key, reason: str, origin: Key) -> None:
        """Withdraw the identity of a key: its task turned out to have an effect."""
        self._entries[key] = Refusal(reason, origin)

    def forget(self, key: Key) -> None:
        """Drop a key that the scheduler forgot."""
        self._entries.pop(key, None)

    def drop_recipe(self, key: Key) -> None:
        """Free the recipe of a key once it is stored."""
        entry = self._entries.get(key)
        if isinstance(entry, Identity) and entry.recipe:
            self._entries[key] = entry._replace(recipe=b"")

    def contradictions(
        self,
        identities: GraphIdentity,
        held: Iterable[Key],
        externals: Mapping[Key, Identity | Refusal],
    ) -> dict[Key, Refusal]:
        """Return the keys whose identity in a new graph is not what the scheduler holds.

        Dask goes on with the task that it holds under a key, whatever a new graph says of it; so
        neither that key nor what follows it may be identified by the new graph.
        """
        found = {}
        for key in held:
            mine, new = self.get(key), identities.known.get(key)
            if new is None:
                continue
            if isinstance(mine, Refusal):
                found[key] = mine
            elif mine.checksum != new.checksum:
                found[key] = Refusal("its key is held by the scheduler for another task", key)
        for key, seen in externals.items():
            now = self.get(key)
            if isinstance(seen, Identity) and (
                isinstance(now, Refusal) or now.checksum != seen.checksum
            ):
                found[key] = now if isinstance(now, Refusal) else Refusal("its key changed", key)
        return found


def refuse_downstream(
    graph: Graph,
    identities: GraphIdentity,
    contradictions: dict[Key, Refusal],
    order: Iterable[Key],
) -> None:
    """Move contradicted keys and everything that depends on them to the refused ones.

    Parameters
    ----------
    graph : dict
        Key to graph node.
    identities : GraphIdentity
        Changed in place.
    contradictions : dict
        Key to refusal; keys outside the graph count too.
    order : iterable
        The keys of the graph, dependencies first.
    """
    bad = dict(contradictions)
    for key in order:
        if key not in bad:
            for dependency in graph[key].dependencies:
                if dependency in bad:
                    bad[key] = bad[dependency]
                    break
        if key in bad and identities.known.pop(key, None) is not None:
            identities.refused[key] = bad[key]
