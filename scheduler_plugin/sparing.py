"""Sparing: early cutoff while a graph runs, and the rows on record that make it possible later."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from seamless_dask_cache.dask_internals import (
    Key,
    inputs_of,
    is_lost,
    is_new,
    is_running_on,
    is_unheard_of,
    is_wanted,
    node_of,
    source_of,
    spare,
    spare_new,
    users_of,
)
from seamless_dask_cache.database import LookupAnswer
from seamless_dask_cache.identity.graph import Refusal
from seamless_dask_cache.identity.recipe import Identity
from seamless_dask_cache.identity.shallow import shallow_checksum, skeleton_checksum

from .contents import Content, Contents, Held, is_equal
from .cutoff import Hopes, Role, roles_of, settle
from .reads import fits
from .restore import RestoreTask
from .submission import Submission
from .wholeness import is_whole
from .worker import NAME

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
    contents : Contents
        Of what the scheduler holds.

    Notes
    -----
    Used from the scheduler's event loop only.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        self.contents = Contents(engine)
        self._hopes: dict[Key, list[Hopes]] = {}

    def learn(self, submission: Submission, keys: Iterable[Key]) -> None:
        """Remember what restored keys contain, and what computed ones may lead to."""
        for key in keys:
            if key in submission.restored:
                self._learn_restored(key, submission.restored[key])
        hopes = submission.hopes
        if hopes is None:
            return
        # Also of what other graphs make, such as futures that are not done yet.
        tasks, meant = self._engine.scheduler.tasks, _meant(submission)
        for key in hopes.users:
            if key in tasks and is_equal(self._engine.keys.get(key), meant.get(key)):
                self._hopes.setdefault(key, []).append(hopes)
        self._spare_new(submission, hopes)

    def _learn_restored(self, key: Key, answer: LookupAnswer) -> None:
        # Of large ones, the worker that loads them tells whether they are whole.
        whole = answer.content is not None and is_whole(answer.content)
        self.contents.note(key, answer.result, whole=whole)

    def _spare_new(self, submission: Submission, hopes: Hopes) -> None:
        """Change what is not to run, as inputs came to be known after the graph was rewritten."""
        held = self.contents.held(hopes.users, _meant(submission), submission.outdated)
        news = {k: c for k, c in held.items() if c is not None and k not in hopes.contents}
        if news:
            stimulus = f"{NAME}-spare-{time.time()}"
            nodes = self._nodes(hopes, news, is_new)
            if nodes:
                spare_new(self._engine.scheduler, nodes, stimulus)

    def held(self, submission: Submission) -> Held:
        """Return what the scheduler holds of a graph's keys, and of those that it takes."""
        keys = (*submission.graph, *submission.externals)
        return self.contents.held(keys, _meant(submission), submission.outdated)

    def settle(self, submission: Submission) -> None:
        """Look once more, as inputs may have come to be known while the graph was prepared."""
        if submission.hopes is not None:
            settle(submission, submission.hopes, self.held(submission))

    def forget(self, key: Key) -> None:
        """Drop a key that the scheduler forgot."""
        self._hopes.pop(key, None)
        self.contents.forget(key)

    def clear(self) -> None:
        """Drop everything."""
        self.contents.clear()
        self._hopes.clear()

    # While a graph runs ---------------------------------------------------------------------------

    def spare(
        self, key: Key, worker: str, run_id: int, facts: dict[str, Any], stimulus: str
    ) -> None:
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
        """
        engine = self._engine
        if isinstance(engine.keys.get(key), Refusal):
            return
        if not is_running_on(engine.scheduler, key, worker, run_id) or self._tainted(key):
            return
        hopes, result = self._hopes.pop(key, None), self._ended_with(key, facts)
        if hopes is None or result is None:
            return
        content = Content(result, engine.reads.of(key))
        for each in hopes:
            nodes = self._nodes(each, {key: content}, is_unheard_of, ending=key)
            if nodes:
                spare(engine.scheduler, key, nodes, stimulus)

    def _ended_with(self, key: Key, facts: dict[str, Any]) -> str | None:
        engine = self._engine
        if "restored" not in facts:
            result = result_of(facts)
            if result is not None:
                reads = facts.get("reads", {})
                engine.reads.note(key, reads, inputs_of(engine.scheduler, key))
            return result
        result = self.contents.of(key)
        if result is not None:
            self.contents.note(key, result, whole=facts.get("whole", False))
        return result

    def _tainted(self, key: Key) -> bool:
        engine = self._engine
        return any(
            isinstance(engine.keys.get(k), Refusal) for k in inputs_of(engine.scheduler, key)
        )

    def _is_mine(self, key: Key, hopes: Hopes) -> bool:
        """Tell whether the scheduler holds under a key what the graph with these hopes meant."""
        identity = self._engine.keys.get(key)
        return isinstance(identity, Identity) and identity.checksum == hopes.known[key].checksum

    def _is_certain(self, key: Key, hopes: Hopes, ending: Key | None) -> bool:
        """Tell whether the inputs of a task are now what they were found to be.

        One that was lost is made again, and may then be made of other files.
        """
        engine, scheduler = self._engine, self._engine.scheduler
        for source, transformation in hopes.inputs[key].items():
            if source not in scheduler.tasks:
                continue
            identity, made = engine.keys.get(source), source_of(scheduler, source)
            if isinstance(identity, Refusal) or identity.checksum != transformation:
                return False
            if self.contents.differs(made, hopes.contents[source].result):
                return False
            if made != ending and self._is_made_again(made):
                return False
        return True

    def _is_made_again(self, key: Key) -> bool:
        scheduler = self._engine.scheduler
        restored = isinstance(node_of(scheduler, key), RestoreTask)
        return self.contents.of(key) is not None and not restored and is_lost(scheduler, key)

    def _nodes(
        self,
        hopes: Hopes,
        start: Mapping[Key, Content],
        movable: Callable[[Any, Key], bool],
        ending: Key | None = None,
    ) -> dict[Key, RestoreTask]:
        """Return what tasks become that need not be computed, now that these inputs are known.

        Parameters
        ----------
        hopes : Hopes
        start : mapping
            Key to content.
        movable : callable
            Tells of the scheduler and a key whether its task may still be changed.
        ending : key, optional
            A task that has ended and of which the scheduler has not heard yet.
        """
        engine, scheduler = self._engine, self._engine.scheduler
        wave = hopes.wave(start, lambda k: self._is_certain(k, hopes, ending))
        found = {k: answer for k, answer in wave.items() if self._is_mine(k, hopes)}
        servable = {k for k, a in found.items() if a.present and a.result not in engine.broken}
        roles = roles_of(
            found,
            users=lambda k: users_of(scheduler, k),
            wanted=lambda k: is_wanted(scheduler, k),
            movable=lambda k: movable(scheduler, k),
            servable=servable,
        )
        spared = [k for k in found if roles[k] is not Role.LEFT]
        restored = {k: found[k] for k in spared if roles[k] is Role.RESTORED}
        if restored:
            self._note_restored(found, spared, restored)
        return {k: engine.restoring(k, hopes.known[k], a) for k, a in restored.items()}

    def _note_restored(
        self, found: Iterable[Key], spared: list[Key], restored: dict[Key, LookupAnswer]
    ) -> None:
        for key in found:
            self._engine.reads.note(key, {}, inputs_of(self._engine.scheduler, key))
        self._count(spared, restored)
        for key, answer in restored.items():
            self._learn_restored(key, answer)
            self._record(key, answer)

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
        self.contents.note(key, result, whole=facts.get("whole", False))
        if identity.recipe and identity.expires is None and "reads" not in facts:
            row = self._row(key, identity, result, facts)
            if row is not None:
                self._engine.link.note_cutoff(row)

    def _row(
        self, key: Key, identity: Identity, result: str, facts: dict[str, Any]
    ) -> tuple[str, str, str, int, float, str] | None:
        lineage, recipe = self._engine.lineages.get(key), identity.recipe or b""
        inner = {} if lineage is None else lineage.inner
        contents = self.contents.of_inputs(key)
        if contents is None:
            return None
        versions = self._engine.policy.versions
        skeleton = skeleton_checksum(recipe, contents, inner, versions)
        shallow = None if skeleton is None else shallow_checksum(recipe, contents, inner)
        if skeleton is None or shallow is None:
            return None
        size, seconds = facts["nbytes"], facts["seconds"]
        return skeleton, shallow, result, size, seconds, identity.checksum


def _meant(submission: Submission) -> Mapping[Key, Identity | Refusal]:
    return {**submission.externals, **submission.identities.known}


def result_of(facts: dict[str, Any]) -> str | None:
    """Return the checksum of a result, stored or not, that a worker tells of; else None."""
    if "effect" in facts or "remote" in facts or "observed" not in facts:
        return None
    result: str | None = facts.get("result") or facts.get("named")
    return result
