"""Writing to the database: what is queued gets there, and waits on disk until it can."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from seamless_dask_cache.database import AsyncDatabaseClient
from seamless_dask_cache.errors import DatabaseError, DatabaseUnavailableError
from seamless_dask_cache.observation import apart

from .connection import FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS, UNAVAILABLE, Connection
from .descriptions import Description, Descriptions, described
from .outbox import Batch, Item, Outbox
from .spool import Spool

logger = logging.getLogger(__name__)

MAX_IN_MEMORY = 10_000
GATHER_SECONDS = 0.1
"""How long records wait for others, unless somebody waits for them."""
ENOUGH_TO_WRITE = 500
SPILL_SECONDS = 1.0
ADOPT_SECONDS = 60.0
SPOOL_RETRY_SECONDS = 30.0
CLOSE_SECONDS = 5.0
DISK_SECONDS = 60.0

T = TypeVar("T")
Stored = Callable[[list[Item]], None]


class Writer:
    """Writes in the background, in order, batch by batch.

    Parameters
    ----------
    connection : Connection
        The database.
    on_stored : callable
        Told of every batch of this process that the database acknowledged.
    spool : Spool, optional
        Where records wait while the database is away, and when there are too many of them. Without
        it, and when it cannot be written, they wait in memory.
    is_busy : callable
        Tells whether the scheduler has something to do; descriptions can wait meanwhile.

    Notes
    -----
    Used from one event loop; disks are only touched in threads. What is in the spool is older than
    what is in memory, so it is written first.
    """

    def __init__(
        self,
        connection: Connection,
        on_stored: Stored,
        spool: Spool | None,
        is_busy: Callable[[], bool] = lambda: False,
    ):
        self.outbox = Outbox()
        self.refused = 0
        self._connection = connection
        self._on_stored = on_stored
        self._spool = spool
        self._descriptions = Descriptions(is_busy)
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self._again_at = self._adopt_at = self._spool_at = 0.0
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._refusals = 0
        self._warned_of_spool = False

    @property
    def dropped(self) -> int:
        """How many records will never be written."""
        return self.refused + self.outbox.dropped + (self._spool.dropped if self._spool else 0)

    @property
    def unwritten(self) -> int:
        """How many records wait, in memory and on disk."""
        return self.outbox.records + (self._spool.pending if self._spool else 0)

    def start(self) -> None:
        """Begin to write, also what earlier processes left behind."""
        self._task = asyncio.create_task(self._run())
        if self._spool is not None:
            self.awake()

    def awake(self) -> None:
        """Take note that the outbox has something."""
        self._idle.clear()
        self._wake.set()

    def describe(self, description: Description) -> None:
        """Queue a description, to be made and written after all records."""
        self._descriptions.add(description)
        self.awake()

    async def flush(self, timeout: float | None) -> bool:
        """Wait until everything is acknowledged; tell whether that happened in time."""
        if not self._idle.is_set():
            self._hurry.set()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout)
        except asyncio.TimeoutError:
            return False
        return True

    async def close(self, timeout: float) -> None:
        """Flush, and put what cannot be written now into the spool."""
        if not (self._connection.away and self._spool):
            await self.flush(timeout)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._spool_at = 0.0
        # A disk that hangs must not hold the scheduler.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._spill(), CLOSE_SECONDS)
        if self.outbox.records:
            logger.warning("%d cache records could not be written", self.outbox.records)
        if self._spool is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(_in_thread(self._spool.close), CLOSE_SECONDS)

    # The loop -----------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._has_work():
                try:
                    await self._gather()
                    await self._step()
                except Exception:
                    # Whatever it is, the next records may fare better; the loop must go on.
                    logger.warning("writing cache records failed", exc_info=True)
                    await asyncio.sleep(FIRST_RETRY_SECONDS)
            self._hurry.clear()
            self._idle.set()

    async def _gather(self) -> None:
        """Let more records come: one large batch costs less than many small ones."""
        few = self.outbox.records < ENOUGH_TO_WRITE and not self._spooled
        if few and not self._hurry.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), GATHER_SECONDS)

    def _has_work(self) -> bool:
        waits = bool(self.outbox or self._descriptions or self._spooled)
        return waits or self._is_adopting_due()

    @property
    def _spooled(self) -> bool:
        return self._spool is not None and not self._spool.is_empty

    def _is_adopting_due(self) -> bool:
        return self._spool is not None and time.monotonic() >= self._adopt_at

    async def _step(self) -> None:
        """Do one thing; what comes first is older, or more important."""
        if self._spool is not None and self._is_adopting_due():
            self._adopt_at = time.monotonic() + ADOPT_SECONDS
            await self._on_disk(self._spool.adopt)
        elif self._connection.unreachable or time.monotonic() < self._again_at:
            await self._wait()
        else:
            await self._write()

    async def _write(self) -> None:
        if self._connection.away:
            await self._spill()
        if self._spool is not None and self._spooled:
            await self._write_spooled(self._spool)
        elif self.outbox:
            await self._write_batch()
        elif self._descriptions and (self._hurry.is_set() or self._descriptions.are_due()):
            await self._write_descriptions()

    async def _wait(self) -> None:
        """Let records reach the disk while they cannot reach the database."""
        # A description holds a whole graph, and is not worth keeping until the database is back.
        self._descriptions.clear()
        await self._spill()
        if self._connection.unreachable:
            await self._connection.back_within(SPILL_SECONDS)
            self._adopt_at = self._adopt_at if self._connection.away else 0.0
        else:
            seconds = self._again_at - time.monotonic()
            await asyncio.sleep(max(0.0, min(seconds, SPILL_SECONDS)))

    # Writing ------------------------------------------------------------------------------------

    async def _write_batch(self) -> None:
        batch = self.outbox.take()
        try:
            taken = await self._delivered(batch)
        except DatabaseUnavailableError as error:
            self.outbox.give_back(batch.hints)
            await self._keep(batch.records)
            await self._held_up_by(error)
        except asyncio.CancelledError:
            self.outbox.give_back(batch)
            raise
        except Exception:
            self.refused += len(batch.items)
            raise
        else:
            self._acknowledged(taken)

    async def _write_spooled(self, spool: Spool) -> None:
        spooled = await self._on_disk(spool.first)
        if spooled is None:
            return
        try:
            taken = await self._delivered(spooled.batch)
        except DatabaseUnavailableError as error:
            await self._held_up_by(error)
        except Exception:
            await self._on_disk(lambda: spool.put_aside(spooled))
            raise
        else:
            await self._on_disk(lambda: spool.remove(spooled))
            self._acknowledged(taken if spooled.own else [])

    async def _write_descriptions(self) -> None:
        some = self._descriptions.take()
        recipes, notes = await asyncio.to_thread(apart, described, some)
        if self._connection.away or not (recipes or notes):
            return
        try:
            await self._connection.ask(lambda c: c.store([], recipes=recipes, notes=notes))
        except UNAVAILABLE as error:
            await self._connection.examine(error)
        except DatabaseError as error:
            logger.debug("The cache database took no recipes and notes: %s", error)

    def _acknowledged(self, items: list[Item]) -> None:
        self._retry_seconds = FIRST_RETRY_SECONDS
        if self._refusals > 1:
            logger.info("The cache database takes records again.")
        self._refusals = 0
        if items:
            self._on_stored(items)

    async def _held_up_by(self, error: Exception) -> None:
        """Wait a while before writing again; the database may still answer lookups."""
        self._again_at = time.monotonic() + self._retry_seconds
        self._retry_seconds = min(2 * self._retry_seconds, LAST_RETRY_SECONDS)
        # A write that began in an outage may fail after its end, so one failure tells nothing.
        self._refusals = self._refusals + 1 if await self._connection.examine(error) else 0
        if self._refusals == 2:
            message = "The cache database takes no records (%s). They wait until it does."
            logger.warning(message, error)

    async def _delivered(self, batch: Batch) -> list[Item]:
        """Write a batch, and see to what is queued meanwhile."""
        delivery = asyncio.create_task(self._deliver(batch))
        try:
            while not delivery.done():
                await asyncio.wait({delivery}, timeout=SPILL_SECONDS)
                if self._connection.away or self.outbox.records > MAX_IN_MEMORY:
                    await self._spill()
            return await delivery
        finally:
            delivery.cancel()
            await asyncio.gather(delivery, return_exceptions=True)

    async def _deliver(self, batch: Batch) -> list[Item]:
        """Write a batch, and drop what the server refuses of it; returns the items it took.

        Raises
        ------
        DatabaseUnavailableError
            All of it may be written again.
        """
        try:
            diverged = await self._connection.ask(lambda client: _store(client, batch))
            return _marked(batch.items, diverged)
        except DatabaseUnavailableError:
            raise
        except UNAVAILABLE as error:
            raise DatabaseUnavailableError(str(error) or "no answer in time") from error
        except DatabaseError as error:
            parts = batch.parts()
            if not parts:
                self._drop(batch, error)
        taken = [await self._deliver(part) for part in parts]
        return [item for items in taken for item in items]

    def _drop(self, batch: Batch, error: DatabaseError) -> None:
        is_first = batch.items and not self.refused
        self.refused += len(batch.items)
        level = logging.WARNING if is_first else logging.DEBUG
        logger.log(level, "The cache database refused a record: %s", error)

    # The disk -----------------------------------------------------------------------------------

    async def _spill(self) -> None:
        """Put what waits in memory into the spool, as far as it can be written."""
        while self.outbox.records and await self._keep(self.outbox.take(hints=False)):
            pass

    async def _keep(self, batch: Batch) -> bool:
        """Put a batch into the spool, else back into memory; tell which."""
        if not batch:
            return True
        spool = self._spool
        if spool is None or time.monotonic() < self._spool_at:
            self.outbox.give_back(batch)
            return False
        try:
            await self._on_disk(lambda: spool.put(batch))
        except OSError as error:
            self.outbox.give_back(batch)
            self._spool_failed(error)
            return False
        except BaseException:
            self.outbox.give_back(batch)
            raise
        return True

    async def _on_disk(self, work: Callable[[], T]) -> T:
        """Work on the spool in a thread; one that hangs is used no more.

        Raises
        ------
        OSError
            It failed, or hangs.
        """
        try:
            return await asyncio.wait_for(_in_thread(work), DISK_SECONDS)
        except asyncio.TimeoutError:
            self._spool = None
            raise OSError(f"the disk did not answer for {DISK_SECONDS:g} s") from None

    def _spool_failed(self, error: OSError) -> None:
        self._spool_at = time.monotonic() + SPOOL_RETRY_SECONDS
        if not self._warned_of_spool:
            self._warned_of_spool = True
            logger.warning("The spool cannot be written (%s). Cache records wait in memory.", error)


async def _in_thread(work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(apart, work)
    except RuntimeError:  # the interpreter is about to end, and starts no threads any more
        return apart(work)


def _marked(items: list[Item], diverged: frozenset[str]) -> list[Item]:
    """Return the items; those whose transformation has another result have ``diverged``."""
    if not diverged:
        return items
    return [
        {**item, "diverged": True} if item["transformation"] in diverged else item for item in items
    ]


async def _store(client: AsyncDatabaseClient, batch: Batch) -> frozenset[str]:
    """Write a batch; return the transformations that have another result."""
    # Only what there is: a server of an earlier version knows less.
    more: dict[str, Any] = {
        "forget": batch.forgets,
        "cutoffs": batch.cutoffs,
        "costs": batch.costs,
    }
    report = await client.store(
        batch.items, **{name: value for name, value in more.items() if value}
    )
    return frozenset(getattr(report, "diverged", ()))
