"""What the scheduler's results were read from: files that tasks opened under names of the moment.

Such files do not stand in the identity of a task, so they are kept beside it: a stored result
counts only while all files that it and everything upstream of it were seen to read are unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from seamless_dask_cache.dask_internals import Key
from seamless_dask_cache.database_messages import MAX_FILES_BYTES
from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.observation import state_now

MAX_FILES = 20_000
PER_FILE = 8
"""Quotes, colon, comma and space around each path and state, as JSON."""


class Reads:
    """What one result was read from: its own files, and those of the results it was made of."""

    __slots__ = ("own", "parents")

    def __init__(self, own: Mapping[str, str], parents: tuple[Reads, ...] = ()):
        self.own = own
        self.parents = parents

    def within(self, own: Mapping[str, str], parents: Iterable[Reads]) -> bool:
        """Tell whether other reads have all of these."""
        others = {id(reads) for reads in parents}
        if id(self) in others:
            return True
        return self.own.items() <= own.items() and all(id(p) in others for p in self.parents)

    def all(self) -> dict[str, str] | None:
        """Return path to state of all of them; None where one was read in two states."""
        found: dict[str, str] = {}
        seen: set[int] = set()
        stack = [self]
        while stack:
            reads = stack.pop()
            if id(reads) not in seen:
                seen.add(id(reads))
                if any(found.setdefault(name, state) != state for name, state in reads.own.items()):
                    return None
                stack.extend(reads.parents)
        return found


def fits(files: Mapping[str, str]) -> bool:
    """Tell whether the database takes so many files; a shortened list would be a wrong one."""
    if len(files) > MAX_FILES:
        return False
    size = sum(len(path.encode("utf-8", "replace")) + len(files[path]) for path in files)
    return size + PER_FILE * len(files) <= MAX_FILES_BYTES


class ReadMemory:
    """Key to what its result was read from, for the keys that the scheduler holds.

    Notes
    -----
    Used from the scheduler's event loop only. Most programs read nothing unseen, and then this is
    empty and costs nothing.
    """

    def __init__(self) -> None:
        self._reads: dict[Key, Reads] = {}

    def note(self, key: Key, own: Mapping[str, str], dependencies: Iterable[Key]) -> None:
        """Remember what a result was read from.

        A task that runs once more may read other states; both count then, as what was made of its
        result may have been made of either.

        Parameters
        ----------
        key : key
            Of the result.
        own : mapping
            Path to state of what its task opened.
        dependencies : iterable of keys
            What it was made of.
        """
        if not own and not self._reads:
            return
        found = [self._reads[d] for d in dependencies if d in self._reads]
        before = self._reads.get(key)
        if before is not None and not before.within(own, found):
            found.append(before)
        parents = tuple({id(reads): reads for reads in found}.values())
        if not own and len(parents) == 1:
            self._reads[key] = parents[0]
        elif own or parents:
            self._reads[key] = Reads(own, parents)
        else:
            self._reads.pop(key, None)

    def of(self, key: Key) -> dict[str, str] | None:
        """Return path to state of everything that a result was read from, upstream included.

        ``None`` where one file was read in two states.
        """
        reads = self._reads.get(key)
        return {} if reads is None else reads.all()

    def among(self, keys: Iterable[Key]) -> dict[Key, Reads]:
        """Return what is known of some keys; for another thread to look at."""
        return {key: self._reads[key] for key in keys if key in self._reads} if self._reads else {}

    def forget(self, key: Key) -> None:
        """Drop a key."""
        self._reads.pop(key, None)

    def clear(self) -> None:
        """Drop all keys."""
        self._reads.clear()


class States:
    """File states, each looked at once; for one pass in one thread."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}

    def changed(self, reads: Mapping[str, str]) -> str | None:
        """Return the first file that is not in the state in which it was read, or None."""
        for name, state in reads.items():
            if self._now(name) != state:
                return name
        return None

    def _now(self, name: str) -> str | None:
        if name not in self._known:
            try:
                self._known[name] = state_now(name)
            except RefusedError:
                self._known[name] = None
        return self._known[name]
