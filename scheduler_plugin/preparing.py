"""Preparing graphs: everything that may take time before a graph is scheduled.

Graphs that arrived together are prepared together: materialized and identified in one go, looked up
by one question to the database.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from seamless_dask_cache.dask_internals import (
    Graph,
    Key,
    ask_holder,
    is_scattered,
    materialize,
    open_message,
    run_offloaded,
)
from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.describer import Describer
from seamless_dask_cache.identity.graph import Refusal
from seamless_dask_cache.identity.recipe import Identity
from seamless_dask_cache.observation import apart

from .answers import Answers, expired, judge_files
from .contents import Content, Held
from .cutoff import Hopeful, Rows, hopefuls_of, hopes_of, served, settle
from .quarantine import learn
from .reads import Reads
from .submission import Submission, judge_annotations
from .worker import CONTENT

if TYPE_CHECKING:
    from .engine import Engine

logger = logging.getLogger(__name__)

Message = dict[str, Any]
Opened = tuple[Graph, dict[str, dict[Key, Any]]]


class Preparation:
    """Materialize, identify and look up the graphs that arrived together.

    Parameters
    ----------
    engine : Engine
        What is known of the scheduler's keys; only read here, but for scattered data, of which the
        content is learned.
    messages : list of dict
        The arguments of ``Scheduler.update_graph``, of one client, in their order.

    Notes
    -----
    Used once, from the scheduler's event loop; what takes long runs in threads on data that nothing
    else touches.
    """

    def __init__(self, engine: Engine, messages: list[Message]):
        self.engine = engine
        self.messages = messages
        self.submissions: list[Submission | None] = []
        self._occasion = engine.occasion()

    async def run(self) -> list[Submission | None]:
        """Return one submission per message; None where one cannot be judged."""
        engine = self.engine
        opened = await run_offloaded(_opened, self.messages)
        self.submissions = [
            self._submission(*pair) for pair in zip(self.messages, opened, strict=True)
        ]
        await self._learn_scattered()
        effects = dict(engine.effects)
        known = engine.keys.snapshot({k for s in self._live() for k in s.external_keys()})
        held = {key for key in known if engine.keys.knows(key)}
        await engine.threads.run(lambda: self._identify(known, held, effects))
        transformations = {t: None for s in self._live() for t in s.transformations()}
        codes = {code for s in self._live() for code in s.codes()}
        inputs = {t for s in self._live() for t in s.inputs()} - transformations.keys()
        lookup = await engine.link.look_up(list(transformations), codes, inputs)
        answers = lookup.answers
        learn(engine, lookup.irreproducible)
        for submission in self._live():
            submission.costs = lookup.costs
            submission.refuse_irreproducible(lookup.irreproducible)
        for submission in self._live():
            for transformation in expired(submission, answers, time.time()):
                self._drop(answers, transformation)
        await self._count(answers)
        await self._hope()
        return self.submissions

    def _live(self) -> list[Submission]:
        return [submission for submission in self.submissions if submission is not None]

    def _submission(self, message: Message, opened: Opened | Exception) -> Submission | None:
        if isinstance(opened, Exception):
            # The scheduler will fail in the same way, and tell the client.
            logger.debug("a graph cannot be read", exc_info=opened)
            return None
        graph, annotations = opened
        everywhere = message.get("annotations") or {}
        submission = Submission(graph, annotations, set(message["keys"]), everywhere)
        submission.occasion = self._occasion
        try:
            submission.trusted, submission.never = judge_annotations(
                graph, annotations, everywhere, message.get("actors")
            )
        except Exception as error:
            self._failed(error)
            return None
        return submission

    def _failed(self, error: BaseException) -> None:
        self.engine.survived("judging a graph", error)

    # Identifying --------------------------------------------------------------------------------

    async def _learn_scattered(self) -> None:
        """Identify scattered data by its content; workers that hold it hash it, all at once.

        What could not be identified in time is refused from then on, rather than asked for again.
        """
        engine = self.engine
        wanted = {key for submission in self._live() for key in submission.external_keys()}
        unknown = [
            k for k in wanted if not engine.keys.knows(k) and is_scattered(engine.scheduler, k)
        ]
        if not unknown:
            return
        patience = engine.policy.patience
        asking = (ask_holder(engine.scheduler, CONTENT, key, patience) for key in unknown)
        for key, found in zip(unknown, await asyncio.gather(*asking), strict=True):
            if found is None:
                engine.keys.learn(key, Refusal("the content of scattered data is not certain", key))
            else:
                engine.keys.learn(key, Identity(found, None, "", ""))

    def _identify(
        self,
        known: Mapping[Key, Identity | Refusal],
        held: set[Key],
        effects: Mapping[str, str],
    ) -> None:
        # One pass over all of them: what functions are is worked out once.
        policy = self.engine.policy
        describer = Describer(Identifier(versions=policy.versions), policy.allow_effects)
        earlier: dict[Key, Identity | Refusal] = {}
        for index, submission in enumerate(self.submissions):
            if submission is None:
                continue
            for key in submission.external_keys():
                # A graph of the same client that is still waiting makes it, unless it is here.
                mine = earlier.get(key) if key not in held else None
                submission.externals[key] = mine or known[key]
            try:
                submission.identify(describer, effects=effects)
            except Exception as error:
                self._failed(error)
                self.submissions[index] = None
                continue
            earlier.update(submission.identities.known)
            earlier.update(submission.identities.refused)

    # Looking up ---------------------------------------------------------------------------------

    async def _count(self, answers: Answers) -> None:
        """Leave the answers that count: from files as they are now, with buffers that are there."""
        engine = self.engine
        live = self._live()
        keys: Iterable[Key] = {k for s in live for k in (*s.graph, *s.externals)}
        held = engine.reads.among(keys)
        # A file system that hangs must not hold the thread that all graphs share.
        looking = asyncio.to_thread(apart, self._countable, answers, held)
        try:
            found, changed, outdated = await asyncio.wait_for(looking, engine.policy.patience)
        except asyncio.TimeoutError:
            logger.warning("The file system does not answer. Computing without the cache.")
            reason = "a file system that does not answer"
            for submission in live:
                submission.outdated = dict.fromkeys(held, reason)
            return
        for transformation in changed:
            self._drop(found, transformation)
        for submission in live:
            mine = submission.transformations()
            submission.answers = {t: found[t] for t in mine if t in found}
            submission.changed = {t: changed[t] for t in mine if t in changed}
            submission.outdated = outdated

    def _countable(
        self, answers: Answers, held: dict[Key, Reads]
    ) -> tuple[Answers, dict[str, str], dict[Key, str]]:
        changed, outdated = judge_files(answers, held)
        return self.engine._servable(answers), changed, outdated

    # Early cutoff -------------------------------------------------------------------------------

    async def _hope(self) -> None:
        """Look for calls on record like those that miss, and serve what is known by its inputs."""
        live = self._live()
        hopefuls = await asyncio.to_thread(apart, lambda: [hopefuls_of(s) for s in live])
        wanted = {hopeful.skeleton for by_key in hopefuls for hopeful in by_key.values()}
        rows = await self.engine.link.cutoffs(list(wanted)) if wanted else {}
        if not rows:
            return
        looking = asyncio.to_thread(apart, self._usable_rows, rows)
        try:
            usable = await asyncio.wait_for(looking, self.engine.policy.patience)
        except asyncio.TimeoutError:
            logger.warning("The file system does not answer. Computing without early cutoff.")
            return
        held = [self.engine.sparing.held(submission) for submission in live]
        await asyncio.to_thread(apart, _settle, live, hopefuls, usable, held)

    def _usable_rows(self, rows: dict[str, Rows]) -> dict[str, Rows]:
        return {skeleton: self._usable(found) for skeleton, found in rows.items()}

    def _usable(self, rows: Rows) -> Rows:
        """Tell of every row whether its result can be brought back."""
        present = self.engine._servable(dict(rows))
        return {c: replace(answer, present=c in present) for c, answer in rows.items()}

    def _drop(self, answers: Answers, transformation: str) -> None:
        answers.pop(transformation, None)
        self.engine.link.forget(transformation)


def _settle(
    submissions: list[Submission],
    hopefuls: list[dict[Key, Hopeful]],
    rows: dict[str, Rows],
    held: list[Held],
) -> None:
    made: dict[Key, Content] = {}
    for submission, mine, here in zip(submissions, hopefuls, held, strict=True):
        hopes = hopes_of(submission, mine, rows)
        if hopes is not None:
            settle(submission, hopes, {**made, **here})
        made.update(served(submission))


def _opened(messages: list[Message]) -> list[Opened | Exception]:
    return [_open(message) for message in messages]


def _open(message: Message) -> Opened | Exception:
    # One graph that cannot be read must not cost the others their hits.
    try:
        return materialize(open_message(message["expr_ser"]), set(message["keys"]))
    except Exception as error:
        return error
    except BaseException as error:  # users' classes may raise SystemExit while they are unpickled
        return RuntimeError(f"opening the graph raised {error!r}")
