"""Recording: what the database is told of results, and of what running and loading them took."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from seamless_dask_cache.dask_internals import Key
from seamless_dask_cache.database import LookupAnswer
from seamless_dask_cache.identity.graph import Refusal
from seamless_dask_cache.identity.recipe import Identity

from .reads import fits

if TYPE_CHECKING:
    from .engine import Engine

MAX_NOTES = 100_000


class Recording:
    """Queues records for the database.

    Parameters
    ----------
    engine : Engine
        Knows what keys are, and what their results were read from.

    Notes
    -----
    Used from the scheduler's event loop only.
    """

    def __init__(self, engine: Engine):
        self._engine = engine

    def result(self, key: Key, facts: dict[str, Any]) -> None:
        """Write down what is known of a result: its checksum, and its record if it is stored."""
        identity = self._engine.keys.get(key)
        if isinstance(identity, Refusal):
            return
        self._engine.sparing.note(key, identity, facts)
        if "took" in facts:
            size = facts.get("size", facts.get("nbytes", 0))
            self._engine.link.note_cost(identity.code, (1, facts["took"], size, 0, 0.0))
        if "result" in facts:
            self._stored(key, identity, facts)

    def _stored(self, key: Key, identity: Identity, facts: dict[str, Any]) -> None:
        self._engine.broken.discard(facts["result"])
        self._engine.remarks.pop(identity.checksum, None)
        content = facts.get("content")
        if "environment" in facts:
            self._note_environment(facts["record"]["environment"], facts["environment"])
        files = self._engine.reads.of(key)
        if files is None or not fits(files):
            why = "one in two states" if files is None else "too many to keep count of"
            keep_note(
                self._engine.remarks, identity.checksum, f"of the files that it was made of, {why}"
            )
            return
        item = {
            "transformation": identity.checksum,
            "result": facts["result"],
            "record": {
                **facts["record"],
                "tf_checksum": identity.checksum,
                "result_checksum": facts["result"],
                **({"files_read": files} if files else {}),
            },
            "files": files,
            "recipe": identity.recipe.decode() if identity.recipe else None,
            "content": content,
            "entry": {
                "function": identity.function,
                "key_prefix": prefix_of(key),
                "seconds": facts["seconds"],
                "nbytes": facts["nbytes"],
                "created": time.time(),
                "format": facts["format"],
            },
        }
        self._engine.link.store(item)
        self._engine.flight.leases.stored(identity.checksum)
        self._engine.keys.drop_recipe(key)

    def load(self, key: Key, seconds: float) -> None:
        """Note what loading a result took, for the admission of others like it."""
        identity = self._engine.keys.get(key)
        if isinstance(identity, Identity):
            self._engine.link.note_cost(identity.code, (0, 0.0, 0.0, 1, seconds))

    def known(
        self, key: Key, identity: Identity, answer: LookupAnswer, files: dict[str, str]
    ) -> None:
        """Queue the record of a result that was found by the content of its inputs."""
        self._engine.link.store(
            {
                "transformation": identity.checksum,
                "result": answer.result,
                "files": files,
                "recipe": identity.recipe.decode() if identity.recipe else None,
                "entry": {
                    "function": identity.function,
                    "key_prefix": prefix_of(key),
                    "seconds": answer.seconds,
                    "nbytes": answer.nbytes,
                    "created": time.time(),
                    "format": None,
                },
            }
        )

    def _note_environment(self, checksum: str, distributions: dict[str, str]) -> None:
        note = {"kind": "environment", "distributions": distributions}
        if checksum not in self._engine.described:
            self._engine.described.add(checksum)
            self._engine.link.describe(lambda: ([], {checksum: note}))

    def acknowledge(self, items: list[dict[str, Any]]) -> None:
        """Count records that the database acknowledged."""
        self._engine.flight.leases.acknowledged(item["transformation"] for item in items)
        stored = [item for item in items if "diverged" not in item]
        self._engine.stats.stored += len(stored)
        self._engine.stats.bytes_stored += sum(item["entry"]["nbytes"] or 0 for item in stored)


def keep_note(notes: dict[str, str], checksum: str, text: str) -> None:
    """Add a note; of more than 100,000 the oldest goes."""
    while len(notes) >= MAX_NOTES:
        del notes[next(iter(notes))]
    notes[checksum] = text


def prefix_of(key: Key) -> str:
    """Return the name under which Dask shows a task."""
    from dask.utils import key_split

    return str(key_split(key))
