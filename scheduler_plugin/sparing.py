"""Sparing: early cutoff while a graph runs, and the rows on record that make it possible later."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from seamless_dask_cache.dask_internals import (
    Key,
    inputs_of,
    is_running_on,
    is_unheard_of,
    is_wanted,
    spare,
    users_of,
)
from seamless_dask_cache.database import LookupAnswer
from seamless_dask_cache.identity.graph import Refusal
from seamless_dask_cache.identity.recipe import Identity
from seamless_dask_cache.identity.shallow import shallow_checksum, skeleton_checksum

from .cutoff import Hopes, Role, roles_of, settle
from .reads import fits
from .submission import Submission

if TYPE_CHECKING:
    from .engine import Engine


class Sparing:
    """What is known of the content of results, and what follows from it.

    Parameters
    ----------
    engine : Engine
        Judge of the scheduler's graphs.

    Attributes
    ----------
    contents : dict
        Transformation checksum to result checksum, for keys that the scheduler holds.

    Notes
    -----
    Used from the scheduler's event loop only; reading ``contents`` from other threads is safe.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        self.contents: dict[str, str] = {}
        self._hopes: dict[Key, list[Hopes]] = {}

    def learn(self, submission: Submission, keys: Iterable[Key]) -> None:
        """Remember what restored keys contain, and what computed ones may lead to."""
        known, restored = submission.identities.known, submission.restored
        for key in keys:
            if key in restored:
                self.contents[known[key].checksum] = restored[key].result
        hopes = submission.hopes
        if hopes is None:
            return
        # Also of what other graphs make, such as futures that are not done yet.
        tasks = self._engine.scheduler.tasks
        for key, entry in (*known.items(), *submission.externals.items()):
            if isinstance(entry, Identity) and entry.checksum in hopes.users and key in tasks:
                self._hopes.setdefault(key, []).append(hopes)

    def settle(self, submission: Submission) -> None:
        """Look once more, as inputs may have come to be known while the graph was prepared."""
        if submission.hopes is not None:
            contents: ChainMap[str, str] = ChainMap({}, self.contents)
            settle(submission, submission.hopes, contents, self._engine.reads.of)

    def forget(self, key: Key, identity: Identity | Refusal) -> None:
        """Drop a key that the scheduler forgot."""
        self._hopes.pop(key, None)
        if isinstance(identity, Identity):
            self.contents.pop(identity.checksum, None)

    def clear(self) -> None:
        """Drop everything."""
        self.contents.clear()
        self._hopes.clear()

    # While a graph runs ---------------------------------------------------------------------------

    def spare(
        self, key: Key, worker: str, run_id: int, facts: dict[str, Any], stimulus: str
    ) -> bool:
        """Change what waits for a task that has just ended, before the scheduler hears of its end.

        Parameters
        ----------
        key : key
            Of the task.
        worker : str
            Address of the worker that ran it.
        run_id : int
            Which run of the task ended.
        facts : dict
            What the worker tells of it.
        stimulus : str
            Identifier of the event.

        Returns
        -------
        bool
            Whether anything was changed.
        """
        engine, hopes = self._engine, self._hopes.pop(key, None)
        identity, result = engine.keys.get(key), result_of(facts)
        if hopes is None or isinstance(identity, Refusal) or result is None:
            return False
        if not is_running_on(engine.scheduler, key, worker, run_id) or self._tainted(key):
            return False
        self.contents[identity.checksum] = result
        changes = [self._change(key, each, identity, facts, stimulus) for each in hopes]
        return any(changes)

    def _tainted(self, key: Key) -> bool:
        engine = self._engine
        return any(
            isinstance(engine.keys.get(k), Refusal) for k in inputs_of(engine.scheduler, key)
        )

    def _is_mine(self, key: Key, hopes: Hopes) -> bool:
        """Tell whether the scheduler holds under a key what the graph with these hopes meant."""
        identity = self._engine.keys.get(key)
        return isinstance(identity, Identity) and identity.checksum == hopes.known[key].checksum

    def _change(
        self, key: Key, hopes: Hopes, identity: Identity, facts: dict[str, Any], stimulus: str
    ) -> bool:
        engine, scheduler = self._engine, self._engine.scheduler
        wave = hopes.wave([identity.checksum], self.contents)
        found = {k: answer for k, answer in wave.items() if self._is_mine(k, hopes)}
        servable = {k for k, a in found.items() if a.present and a.result not in engine.broken}
        roles = roles_of(
            found,
            users=lambda k: users_of(scheduler, k),
            wanted=lambda k: is_wanted(scheduler, k),
            movable=lambda k: is_unheard_of(scheduler, k),
            servable=servable,
        )
        spared = [k for k in found if roles[k] is not Role.LEFT]
        restored = {k: found[k] for k in spared if roles[k] is Role.RESTORED}
        if not restored:
            return False
        self._note_reads(key, found, facts)
        self._count(spared, restored)
        for k, answer in restored.items():
            self._record(k, answer)
        nodes = {k: engine.restoring(k, hopes.known[k], a) for k, a in restored.items()}
        spare(scheduler, key, nodes, stimulus)
        return True

    def _note_reads(self, key: Key, found: dict[Key, LookupAnswer], facts: dict[str, Any]) -> None:
        reads, scheduler = self._engine.reads, self._engine.scheduler
        reads.note(key, facts.get("reads", {}), inputs_of(scheduler, key))
        for k in found:
            reads.note(k, {}, inputs_of(scheduler, k))

    def _count(self, spared: list[Key], restored: dict[Key, LookupAnswer]) -> None:
        stats = self._engine.stats
        stats.cut += len(spared)
        stats.hits += len(spared)
        stats.misses -= len(spared)
        stats.pruned += len(spared) - len(restored)
        stats.seconds_saved += sum(answer.seconds or 0.0 for answer in restored.values())

    def _record(self, key: Key, answer: LookupAnswer) -> None:
        """Write down that the task has this result, so that it is a hit at once the next time."""
        identity, files = self._engine.keys.get(key), self._engine.reads.of(key)
        if isinstance(identity, Identity) and files is not None and fits(files):
            self._engine.recording.known(key, identity, answer, files)

    # Afterwards -------------------------------------------------------------------------------

    def note(self, key: Key, identity: Identity, facts: dict[str, Any]) -> None:
        """Remember the content of a result, and write down which call made it of which content."""
        result = result_of(facts)
        if result is None:
            return
        self.contents[identity.checksum] = result
        if identity.recipe and identity.expires is None and "reads" not in facts:
            row = self._row(key, identity, result, facts)
            if row is not None:
                self._engine.link.note_cutoff(row)

    def _row(
        self, key: Key, identity: Identity, result: str, facts: dict[str, Any]
    ) -> tuple[str, str, str, int, float, str] | None:
        lineage, recipe = self._engine.lineages.get(key), identity.recipe or b""
        inner = {} if lineage is None else lineage.inner
        skeleton = skeleton_checksum(recipe, inner)
        if skeleton is None:
            return None
        shallow = shallow_checksum(recipe, self.contents.get, inner)
        if shallow is None:
            return None
        size, seconds = facts["nbytes"], facts["seconds"]
        return skeleton, shallow, result, size, seconds, identity.checksum


def result_of(facts: dict[str, Any]) -> str | None:
    """Return the checksum of a result, stored or not, that a worker tells of; else None."""
    if "effect" in facts or "remote" in facts or "observed" not in facts:
        return None
    result: str | None = facts.get("result") or facts.get("named")
    return result
