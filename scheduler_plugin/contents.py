"""Contents: what the results that the scheduler holds are, apart from how they were made."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from seamless_dask_cache.dask_internals import Key, inputs_of, source_of
from seamless_dask_cache.identity.graph import Refusal
from seamless_dask_cache.identity.recipe import Identity

if TYPE_CHECKING:
    from .engine import Engine


class Content(NamedTuple):
    """What a result is.

    Attributes
    ----------
    result : str
        Its checksum.
    files : mapping or None
        Path to state of the files that it was made of and that its transformation does not name;
        None where one was read in two states.
    """

    result: str
    files: Mapping[str, str] | None


Held = Mapping[Key, Content | None]


def together(parts: Iterable[Mapping[str, str] | None]) -> dict[str, str] | None:
    """Return the files of several results, None where one is in two states."""
    found: dict[str, str] = {}
    for files in parts:
        if files is None or any(found.setdefault(f, state) != state for f, state in files.items()):
            return None
    return found


class Contents:
    """Key to result checksum, for the keys that the scheduler holds.

    Parameters
    ----------
    engine : Engine
        Judge of the scheduler's graphs.

    Notes
    -----
    By key and not by transformation: a transformation does not name the files that its task opened
    under names of the moment, so two keys may have one and yet different results.

    Used from the scheduler's event loop only.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        self._results: dict[Key, str | None] = {}
        self._whole: set[Key] = set()

    def note(self, key: Key, result: str, *, whole: bool = False) -> None:
        """Remember a result. A second, different one of a key makes both unknown.

        What was made of it may have been made of either.

        Parameters
        ----------
        key : key
        result : str
            Its checksum.
        whole : bool
            Whether its buffer is known to be all of it, see `wholeness`.
        """
        if self._results.setdefault(key, result) != result:
            self._results[key] = None
        if whole:
            self._whole.add(key)

    def of(self, key: Key) -> str | None:
        """Return the result of a key; None where it is not known."""
        return self._results.get(key)

    def differs(self, key: Key, result: str) -> bool:
        """Tell whether a key is known not to have this result, or not always."""
        return self._results.get(key, result) != result

    def inherit(self, predecessor: Contents) -> None:
        """Take over what another engine knows."""
        self._results.update(predecessor._results)
        self._whole |= predecessor._whole

    def forget(self, key: Key) -> None:
        """Drop a key."""
        self._results.pop(key, None)
        self._whole.discard(key)

    def clear(self) -> None:
        """Drop all keys."""
        self._results.clear()
        self._whole.clear()

    def of_inputs(self, key: Key) -> dict[str, str] | None:
        """Return what a task of the scheduler is made of.

        Parameters
        ----------
        key : key
            Of the task.

        Returns
        -------
        dict or None
            Transformation checksum to result checksum of the inputs that other tasks make; None
            where one is not known or not whole, or two of one transformation differ.
        """
        found: dict[str, str] = {}
        for source in inputs_of(self._engine.scheduler, key):
            identity = self._engine.keys.get(source)
            result = self._results.get(source) if source in self._whole else None
            if isinstance(identity, Refusal):
                return None
            if identity.recipe is not None and (
                result is None or found.setdefault(identity.checksum, result) != result
            ):
                return None
        return found

    def held(self, keys: Iterable[Key], meant: Mapping[Key, Any], outdated: Container[Key]) -> Held:
        """Return those of some keys that the scheduler holds, for another thread to look at.

        Parameters
        ----------
        keys : iterable of keys
        meant : mapping
            Key to what a graph means by it.
        outdated : container of keys
            Made of files that have changed.

        Returns
        -------
        dict
            Key to content; None where it is not known, or is not what the graph means.
        """
        engine = self._engine
        found: dict[Key, Content | None] = {}
        for key in keys:
            if key in engine.scheduler.tasks:
                usable = key not in outdated and is_equal(engine.keys.get(key), meant.get(key))
                found[key] = self._of(source_of(engine.scheduler, key)) if usable else None
        return found

    def _of(self, key: Key) -> Content | None:
        result = self._results.get(key)
        return None if result is None else Content(result, self._engine.reads.of(key))


def is_equal(one: Any, other: Any) -> bool:
    """Tell whether two are identities, and of one transformation."""
    both = isinstance(one, Identity) and isinstance(other, Identity)
    return both and one.checksum == other.checksum
