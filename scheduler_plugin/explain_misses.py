"""Why tasks of a graph are misses: what the database has on record, against what they are now."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from seamless_dask_cache.dask_internals import Key
from seamless_dask_cache.explaining.entries import parse_recipe
from seamless_dask_cache.explaining.likeness import Likeness
from seamless_dask_cache.explaining.misses import (
    Miss,
    describe_row,
    explain_miss,
    origins,
    with_files_of_siblings,
)
from seamless_dask_cache.explaining.nearest import Recorded, recorded
from seamless_dask_cache.explaining.notes import NoteMaker, recipes_of
from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.graph import identify_graph
from seamless_dask_cache.identity.recipe import Identity
from seamless_dask_cache.observation import apart

from .engine import Engine
from .link import DatabaseLink
from .submission import Submission

logger = logging.getLogger(__name__)

MAX_MISSES = 1_000
MAX_FUNCTIONS = 50
MIN_CANDIDATES, MAX_CANDIDATES = 50, 500
MAX_ROUNDS = 12
MAX_ASKED = 500

Rows = dict[Key, dict[str, Any]]


async def explain_misses(engine: Engine, submission: Submission, rows: Rows) -> None:
    """Say in the rows of misses what differs from the nearest earlier recipes.

    Parameters
    ----------
    engine : Engine
        The engine of the scheduler.
    submission : Submission
        Identified.
    rows : dict
        Key to row; those of misses are changed in place. They stay as they are when the database
        does not answer.
    """
    missed = [key for key, row in rows.items() if row["status"] == "miss"]
    if not missed:
        return
    try:
        inquiry = _Inquiry(engine, submission, missed)
        await inquiry.ask()
        if inquiry.answered:
            inquiry.tell(rows)
    except Exception:
        logger.warning("misses could not be explained in full", exc_info=True)


def _ends(missed: dict[str, Identity], most: int) -> dict[str, Identity]:
    """Keep the first, where differences begin, and the last, which were asked for."""
    if len(missed) <= most:
        return missed
    names = list(missed)
    return {name: missed[name] for name in (*names[: most // 2], *names[-(most // 2) :])}


class _Inquiry:
    """The misses of one graph, and what was asked of the database for their sake.

    Attributes
    ----------
    answered : bool
        Whether the database answered; without it nothing can be said.
    """

    def __init__(self, engine: Engine, submission: Submission, missed: list[Key]) -> None:
        self.engine = engine
        self.link: DatabaseLink = engine.link
        self.submission = submission
        known = submission.identities.known
        self.missed: dict[str, Identity] = {known[key].checksum: known[key] for key in missed}
        self.told = _ends(self.missed, MAX_MISSES)
        self.keys: dict[str, Key] = {known[key].checksum: key for key in known}
        self.now = recipes_of(submission.identities, submission.graph)
        self.candidates: dict[str, list[Recorded]] = {}
        self.recipes: dict[str, dict[str, Any] | None] = {}
        self.read: dict[str, dict[str, Any] | None] = {}
        self.notes: dict[str, dict[str, Any] | None] = {}
        self.wanted_recipes: dict[str, None] = {}
        self.wanted_notes: dict[str, None] = {}
        self.found: dict[str, Miss] = {}
        self.answered = True
        self._maker: NoteMaker | None = None

    async def ask(self) -> None:
        """Compare, ask for what is missing, and compare again, until nothing is missing."""
        await self._ask_candidates()
        deadline = time.monotonic() + self.engine.policy.patience
        for _ in range(MAX_ROUNDS):
            self.found = await asyncio.to_thread(apart, self._compared)
            if not (self.wanted_recipes or self.wanted_notes) or time.monotonic() > deadline:
                return
            await self._ask_wanted()

    async def _ask_candidates(self) -> None:
        wanted = Counter(identity.function for identity in self.told.values())
        names = [name for name, _ in wanted.most_common(MAX_FUNCTIONS)]
        limits = [min(max(2 * wanted[name], MIN_CANDIDATES), MAX_CANDIDATES) for name in names]
        asking = (self.link.recipes(n, limit=k) for n, k in zip(names, limits, strict=True))
        same, *rows = await asyncio.gather(self.link.recipes(checksums=list(self.told)), *asking)
        self.answered = same is not None and None not in rows
        for name, found in zip(names, rows, strict=True):
            self.candidates[name] = recorded(found or ())
        for candidate in recorded(same or ()):
            self.candidates[candidate.checksum] = [candidate]

    async def _ask_wanted(self) -> None:
        recipes, notes = list(self.wanted_recipes)[:MAX_ASKED], list(self.wanted_notes)[:MAX_ASKED]
        self.wanted_recipes.clear()
        self.wanted_notes.clear()
        self.recipes.update(dict.fromkeys(recipes))
        self.notes.update(dict.fromkeys(notes))
        self.notes.update(await asyncio.to_thread(apart, self._own_notes, notes))
        if recipes:
            rows = await self.link.recipes(checksums=recipes) or []
            self.recipes.update((row["checksum"], parse_recipe(row["recipe"])) for row in rows)
        self.notes.update(await self.link.notes([n for n in notes if self.notes[n] is None]))

    def _own_notes(self, wanted: Iterable[str]) -> dict[str, dict[str, Any] | None]:
        if self._maker is None:
            graph, externals = self.submission.graph, self.submission.externals
            identifier = Identifier(versions=self.engine.policy.versions)
            identities = identify_graph(graph, externals.__getitem__, identifier=identifier)
            self._maker = NoteMaker(graph, identities, identifier, graph)
        return {checksum: self._maker.note(checksum) for checksum in wanted}

    def _compared(self) -> dict[str, Miss]:
        likeness = Likeness(self._recipe, self._note)
        return {name: self._explained(name, found, likeness) for name, found in self.told.items()}

    def _explained(self, checksum: str, identity: Identity, likeness: Likeness) -> Miss:
        changed = self.submission.changed.get(checksum)
        if changed is not None:
            return Miss(f"the file {changed!r}, which it was seen to read, changed", [])
        candidates = self.candidates.get(checksum) or self.candidates.get(identity.function, [])
        return explain_miss(
            checksum,
            parse_recipe(identity.recipe) or {},
            candidates,
            self._recipe,
            self._note,
            misses=self.missed,
            name_of=self._name,
            likeness=likeness,
        )

    def _recipe(self, checksum: str) -> dict[str, Any] | None:
        if checksum in self.now:
            if checksum not in self.read:
                self.read[checksum] = parse_recipe(self.now[checksum].recipe)
            return self.read[checksum]
        if checksum not in self.recipes:
            self.wanted_recipes[checksum] = None
        return self.recipes.get(checksum)

    def _note(self, checksum: str) -> dict[str, Any] | None:
        if checksum not in self.notes:
            self.wanted_notes[checksum] = None
        return self.notes.get(checksum)

    def _name(self, checksum: str) -> str | None:
        key = self.keys.get(checksum)
        return None if key is None else str(key)

    def tell(self, rows: Rows) -> None:
        """Change the rows of the misses."""
        self.found = with_files_of_siblings(self.found)
        upstream = {name: miss.upstream for name, miss in self.found.items()}
        began = origins(upstream, list(upstream))
        for row in rows.values():
            miss = self.found.get(row["transformation"] or "")
            if row["status"] == "miss" and miss is not None:
                row |= describe_row(miss)
                if row["transformation"] in began:
                    row["origin"] = self.keys[began[row["transformation"]]]
