"""Links for tests, and a database that does what it is told."""

from __future__ import annotations

import asyncio
import logging

from seamless_dask_cache.scheduler_plugin import connection, writer
from seamless_dask_cache.scheduler_plugin.link import DatabaseLink

from seamless_dask_cache.errors import DatabaseError


class Script:
    """A client that does what it is told, call by call; then everything succeeds.

    A step is an exception to raise, seconds to wait, or an event to wait for.
    """

    def __init__(self, *steps):
        self.steps = list(steps)
        self.stored, self.forgotten, self.hints, self.log, self.asked = [], [], [], [], []
        self.clients = self.requests = 0

    async def connect(self):
        self.clients += 1
        return self

    async def _step(self):
        step = self.steps.pop(0) if self.steps else 0
        if isinstance(step, Exception):
            raise step
        await (step.wait() if isinstance(step, asyncio.Event) else asyncio.sleep(step))

    async def store(self, items, forget=(), **hints):
        self.requests += 1
        await self._step()
        if any(found.get("bad") for found in items):
            raise DatabaseError("malformed")
        self.forgotten += forget
        self.stored += items
        self.hints += [hints] * bool(hints)
        self.log += [("forget", int(name, 16)) for name in forget]
        self.log += [("store", number(found)) for found in items]

    async def lookup(self, transformations):
        self.asked.append(transformations)
        await self._step()
        return dict.fromkeys(transformations, "answer")

    async def close(self):
        pass


def levels_of_warnings(caplog):
    """The levels of what this project warned of; other tests' clusters may still log their end."""
    return [
        record.levelno
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("seamless_dask_cache")
    ]


def item(n, **more):
    return {"transformation": f"{n:064x}", "result": "ab" * 32, **more}


def number(found):
    return int(found.get("transformation", "0"), 16)


async def opened(script, patience=5.0, *, must_answer=True, **options):
    """A link, and the list of what was acknowledged to it."""
    acknowledged = []
    link = DatabaseLink(script.connect, patience=patience, on_stored=acknowledged.extend, **options)
    await link.open(must_answer=must_answer)
    return link, acknowledged


async def until(condition, seconds=30.0):
    """Wait for a condition."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline
        await asyncio.sleep(0.005)


def hurry(monkeypatch):
    """Let everything that is tried again be tried again soon."""
    monkeypatch.setattr(connection, "FIRST_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(writer, "FIRST_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(writer, "SPILL_SECONDS", 0.02)
