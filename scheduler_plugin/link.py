"""The plugin's link to the database: bounded waiting, reconnecting, write-back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from seamless_dask_cache.database import AsyncDatabaseClient, LookupAnswer
from seamless_dask_cache.errors import DatabaseError, DatabaseUnavailableError

logger = logging.getLogger(__name__)

MAX_WAITING = 100_000
MAX_BATCH = 2_000
DESCRIBED_AT_ONCE = 50
MAX_DESCRIPTIONS = 100
GATHER_SECONDS = 0.02
FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 30.0

T = TypeVar("T")
Connect = Callable[[], Coroutine[Any, Any, AsyncDatabaseClient]]
Stored = Callable[[list[dict[str, Any]]], None]
Description = Callable[[], tuple[list[dict[str, str]], dict[str, dict[str, Any]]]]


class DatabaseLink:
    """Lookups that never hold a computation for long, and writes that never hold it at all.

    Parameters
    ----------
    connect : coroutine function
        Makes a client; called again after a connection failed, so that a server that was started
        anew (on another port, by another process) is found.
    patience : float
        Seconds that a lookup may take.
    on_stored : callable
        Told of every batch that the database acknowledged.
    writable : bool
        False drops writes silently.

    Notes
    -----
    Used from one event loop. A lookup that fails is an empty answer. Failures are warned of once
    until the database answers again. Writes wait in memory, at most 100,000; the oldest go first.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        patience: float,
        on_stored: Stored,
        writable: bool = True,
    ):
        self.connect = connect
        self.patience = patience
        self.on_stored = on_stored
        self.writable = writable
        self.failures = 0
        self.dropped = 0
        self._client: AsyncDatabaseClient | None = None
        self._away_until = 0.0
        self._closed = False
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._waiting: deque[dict[str, Any]] = deque()
        self._forgets: set[str] = set()
        self._descriptions: deque[Description] = deque(maxlen=MAX_DESCRIPTIONS)
        self._connecting = asyncio.Lock()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._writer: asyncio.Task[None] | None = None

    async def open(self, *, must_answer: bool = True) -> None:
        """Connect for the first time.

        Raises
        ------
        DatabaseError
            When no database answers and `must_answer` is true; otherwise that is warned of.
        """
        try:
            self._client = await self.connect()
        except (DatabaseError, OSError) as error:
            if must_answer:
                raise
            self._failed(error)
        self._writer = asyncio.create_task(self._write())

    @property
    def away(self) -> bool:
        """Whether the database failed so recently that it is not asked again yet."""
        return self._closed or time.monotonic() < self._away_until

    # Reading ----------------------------------------------------------------------------------

    async def lookup(self, transformations: list[str]) -> dict[str, LookupAnswer]:
        """Ask for many transformations at once; what cannot be had in time is not there."""
        if not transformations or self.away:
            return {}
        try:
            found = await asyncio.wait_for(self._lookup(transformations), self.patience)
        except (DatabaseError, asyncio.TimeoutError, OSError) as error:
            self._failed(error)
            return {}
        self._succeeded()
        return found

    async def _lookup(self, transformations: list[str]) -> dict[str, LookupAnswer]:
        return await self._patiently(lambda client: client.lookup(transformations))

    async def _patiently(self, question: Callable[[AsyncDatabaseClient], Awaitable[T]]) -> T:
        try:
            return await question(await self._connected())
        except DatabaseUnavailableError:
            # An embedded server that had nothing to do has stopped; connecting starts it again.
            await self._disconnect()
            return await question(await self._connected())

    async def summary(self) -> dict[str, Any]:
        """Return what the database holds in all; an empty dict when it does not answer."""
        try:
            return await asyncio.wait_for(self._summary(), self.patience)
        except (DatabaseError, asyncio.TimeoutError, OSError) as error:
            self._failed(error)
            return {}

    async def _summary(self) -> dict[str, Any]:
        client = await self._connected()
        return dict(await client.summary())

    async def recipes(
        self,
        function: str | None = None,
        *,
        checksums: list[str] | None = None,
        limit: int = 50,
    ) -> list[dict[str, Any]] | None:
        """Return recipes on record, newest first; None when the database cannot answer.

        Parameters
        ----------
        function : str, optional
            Only those of functions of this name.
        checksums : list of str, optional
            These only; excludes `function`.
        limit : int
            How many at most, up to 1,000.
        """
        return await self._asked(
            lambda client: client.recipes(function, checksums=checksums, limit=limit)
        )

    async def notes(self, checksums: list[str]) -> dict[str, dict[str, Any]]:
        """Return notes on checksums; those that are known, none when the database is away."""
        if not checksums:
            return {}
        return await self._asked(lambda client: client.notes(checksums)) or {}

    async def _asked(self, question: Callable[[AsyncDatabaseClient], Awaitable[T]]) -> T | None:
        """Ask something that only an explanation needs: no refusal makes the database away."""
        if self.away:
            return None
        try:
            found = await asyncio.wait_for(self._patiently(question), self.patience)
        except (DatabaseUnavailableError, asyncio.TimeoutError, OSError) as error:
            self._failed(error)
            return None
        except DatabaseError as error:
            logger.info("The database has nothing to explain with: %s", error)
            return None
        self._succeeded()
        return found

    async def _connected(self) -> AsyncDatabaseClient:
        # One connection attempt at a time: it may start a server.
        async with self._connecting:
            if self._closed:
                raise DatabaseUnavailableError("the link is closed")
            if self._client is None:
                self._client = await self.connect()
            return self._client

    def _failed(self, error: BaseException) -> None:
        self.failures += 1
        self._descriptions.clear()
        if self._retry_seconds == FIRST_RETRY_SECONDS and not self._closed:
            logger.warning(
                "The cache database does not answer (%s). Computations go on without it.",
                str(error) or f"no answer within {self.patience:g} s",
            )
        self._away_until = time.monotonic() + self._retry_seconds
        self._retry_seconds = min(2 * self._retry_seconds, LAST_RETRY_SECONDS)
        self._closing = asyncio.ensure_future(self._disconnect())

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _succeeded(self) -> None:
        if self._retry_seconds != FIRST_RETRY_SECONDS:
            logger.info("The cache database answers again.")
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._away_until = 0.0

    # Writing ----------------------------------------------------------------------------------

    def store(self, item: dict[str, Any]) -> None:
        """Queue one record."""
        if not self.writable:
            return
        self._waiting.append(item)
        if len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._awake()

    def forget(self, transformation: str) -> None:
        """Queue the removal of one record."""
        if self.writable:
            self._forgets.add(transformation)
            self._awake()

    def describe(self, description: Description) -> None:
        """Queue recipes and notes, which only explanations need; they come after all records.

        Parameters
        ----------
        description : callable
            Makes them, in a thread, when it is their turn. The oldest of more than 100 are dropped,
            and so is what the database does not take.
        """
        # A description holds a whole graph, and is not worth keeping until the database is back.
        if self.writable and not self.away:
            self._descriptions.append(description)
            self._awake()

    def _awake(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything queued is acknowledged; tell whether that happened in time."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout)
        except asyncio.TimeoutError:
            return False
        return True

    async def close(self, timeout: float = 5.0) -> None:
        """Flush, then disconnect."""
        if not await self.flush(timeout):
            logger.warning("%d cache records could not be written", len(self._waiting))
        self._closed = True
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        await self._disconnect()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            while self._waiting or self._forgets or self._descriptions:
                try:
                    if self._waiting or self._forgets:
                        await self._write_batch()
                    else:
                        await self._write_descriptions()
                except Exception:
                    # Whatever it is, the next records may fare better; the loop must go on.
                    logger.warning("writing cache records failed", exc_info=True)
                    await asyncio.sleep(FIRST_RETRY_SECONDS)
            self._idle.set()

    async def _write_batch(self) -> None:
        forgets = list(self._forgets)
        items = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
        try:
            client = await self._connected()
            if forgets:
                await client.forget(forgets)
                self._forgets.difference_update(forgets)
            if items:
                await client.store(items)
        except (DatabaseUnavailableError, asyncio.TimeoutError, OSError) as error:
            self._waiting.extendleft(reversed(items))
            self._failed(error)
            await asyncio.sleep(max(0.0, self._away_until - time.monotonic()))
        except DatabaseError as error:
            self._forgets.difference_update(forgets)
            await self._refused(items, error)
        except Exception:
            self._forgets.difference_update(forgets)
            self.dropped += len(items)
            raise
        else:
            self._succeeded()
            self.on_stored(items)

    async def _write_descriptions(self) -> None:
        waiting = self._descriptions
        some = [waiting.popleft() for _ in range(min(DESCRIBED_AT_ONCE, len(waiting)))]
        recipes, notes = await asyncio.to_thread(_described, some)
        if not (recipes or notes) or self.away:
            return
        try:
            await self._patiently(lambda client: client.store([], recipes=recipes, notes=notes))
        except (DatabaseUnavailableError, asyncio.TimeoutError, OSError) as error:
            self._failed(error)
        except DatabaseError as error:
            logger.debug("The cache database took no recipes and notes: %s", error)
        else:
            self._succeeded()

    async def _refused(self, items: list[dict[str, Any]], error: DatabaseError) -> None:
        """Drop the one record that the server refused, and write the others of its batch."""
        if len(items) == 1:
            self.dropped += 1
            level = logging.WARNING if self.dropped == 1 else logging.DEBUG
            logger.log(level, "The cache database refused a record: %s", error)
            return
        client = await self._connected()
        for item in items:
            try:
                await client.store([item])
            except DatabaseUnavailableError:
                self._waiting.append(item)
            except DatabaseError as single:
                await self._refused([item], single)
            else:
                self.on_stored([item])


def _described(descriptions: list[Description]) -> tuple[list[dict[str, str]], dict[str, Any]]:
    recipes: list[dict[str, str]] = []
    notes: dict[str, Any] = {}
    for describe in descriptions:
        try:
            more, new = describe()
        except BaseException:
            logger.info("a graph could not be described for explanations", exc_info=True)
            continue
        recipes += more
        notes.update(new)
    return recipes, notes
