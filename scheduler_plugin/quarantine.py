"""Quarantine: a transformation that gave two results is neither served nor stored any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Set
from typing import TYPE_CHECKING, Any

from seamless_dask_cache.dask_internals import Key, users_of
from seamless_dask_cache.database import AsyncDatabaseClient
from seamless_dask_cache.errors import SeamlessDaskCacheError
from seamless_dask_cache.identity.recipe import Identity

if TYPE_CHECKING:
    from .engine import Engine
    from .plugin import CachePlugin

logger = logging.getLogger(__name__)

IRREPRODUCIBLE = "irreproducible"
FOUND_IRREPRODUCIBLE = f"{IRREPRODUCIBLE}: an audit found that it gives different results"
MOST_RECALLED = 10_000


async def quarantine(plugin: CachePlugin, found: dict[str, Any]) -> bool:
    """Let a transformation have no identity from now on, here and in the database.

    Parameters
    ----------
    plugin : CachePlugin
    found : dict
        ``transformation``, ``first`` and ``second`` (results), ``reason``.

    Returns
    -------
    bool
        Whether the database took it down; else only this scheduler knows.
    """
    engine, transformation = plugin.running(), found["transformation"]
    reason = f"{IRREPRODUCIBLE}: {found['reason']}"
    engine.effects[transformation] = engine.remarks[transformation] = reason
    plugin.tainted |= _taint(engine, {transformation}, reason)
    engine.stats.quarantined += 1
    plugin.seeing.event("quarantined", transformation=transformation, reason=reason)
    if not engine.link.writable:
        return False
    try:
        await engine.link.connection.ask(
            lambda client: _contest(client, transformation, found["first"], found["second"])
        )
    except (SeamlessDaskCacheError, OSError, asyncio.TimeoutError) as error:
        logger.warning("An irreproducible result stays on record, as %s", error)
        return False
    return True


async def recall(engine: Engine) -> int:
    """Learn what audits of other schedulers found; return how many transformations that is.

    The database does not serve these. But what is made of them may be on record, and would not fit
    to what they give now; so they are refused, and everything downstream with them.

    Parameters
    ----------
    engine : Engine
        Of a plugin that starts.
    """
    try:
        rows = await engine.link.connection.ask_in_time(
            lambda client: client.divergences(MOST_RECALLED)
        )
    except (SeamlessDaskCacheError, OSError, asyncio.TimeoutError) as error:
        logger.info("What is irreproducible is not known: %s", error)
        return 0
    names = {row["checksum"] for row in rows if row["irreproducible"]}
    for transformation in names:
        engine.effects.setdefault(transformation, FOUND_IRREPRODUCIBLE)
    return len(names)


def learn(engine: Engine, transformations: Collection[str]) -> None:
    """Give no identity any more to what another scheduler's audit found irreproducible.

    Parameters
    ----------
    engine : Engine
        Of a plugin that heard of it by asking for results.
    transformations : collection of str
        Checksums.
    """
    new = [name for name in transformations if engine.effects.get(name) != FOUND_IRREPRODUCIBLE]
    if new:
        logger.info("Audits of other schedulers found %d transformations irreproducible.", len(new))
        engine.effects.update(dict.fromkeys(new, FOUND_IRREPRODUCIBLE))
        _taint(engine, set(new), FOUND_IRREPRODUCIBLE)


async def _contest(
    client: AsyncDatabaseClient, transformation: str, first: str, second: str
) -> None:
    # While the first result is in force, the second one is taken down as a divergence from it.
    await client.store([{"transformation": transformation, "result": second}])
    await client.undo_transformation_result(transformation, first)
    await client.undo_transformation_result(transformation, second)


def _taint(engine: Engine, transformations: Set[str], reason: str) -> set[Key]:
    """Withdraw the identity of what the scheduler holds of them, or made out of their results."""
    found = _held(engine, transformations)
    for key in found:
        engine.keys.taint(key, reason, key)
    return found


def _held(engine: Engine, transformations: Set[str]) -> set[Key]:
    """Return the keys of the scheduler that transformations make, or their results."""
    found: set[Key] = set()
    todo = [key for key in engine.lineages if _is_of(engine.keys.get(key), transformations)]
    while todo:
        key = todo.pop()
        if key not in found and key in engine.scheduler.tasks:
            found.add(key)
            todo += users_of(engine.scheduler, key)
    return found


def _is_of(entry: object, transformations: Set[str]) -> bool:
    return isinstance(entry, Identity) and entry.checksum in transformations
