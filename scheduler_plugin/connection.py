"""The connection to the database: bounded waiting, reconnecting, and when to leave it alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from seamless_dask_cache.database import AsyncDatabaseClient
from seamless_dask_cache.errors import DatabaseError, DatabaseUnavailableError

logger = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 30.0
CONNECT_SECONDS = 60.0

T = TypeVar("T")
Connect = Callable[[], Coroutine[Any, Any, AsyncDatabaseClient]]
Question = Callable[[AsyncDatabaseClient], Awaitable[T]]
OnEvent = Callable[..., None]
"""Told of "database-away", with a ``reason``, and of "database-back"; must not raise."""

UNAVAILABLE = (DatabaseUnavailableError, asyncio.TimeoutError, OSError)


class Connection:
    """A client that is made anew when need be, and knowledge of whether the database answers.

    Parameters
    ----------
    connect : coroutine function
        Makes a client.
    patience : float
        Seconds within which a database answers; one that takes longer is as good as none.
    on_event : callable, optional
        Told when the database goes away, and when it is back: once for each change.

    Notes
    -----
    Used from one event loop. After a question failed, the database is *away*. It is then asked in
    the background, less and less often, and is back when it answered in time: so a computation
    waits for a slow or broken database once, and not again and again.
    """

    def __init__(self, connect: Connect, patience: float, on_event: OnEvent | None = None):
        self.connect = connect
        self.patience = patience
        self._on_event = on_event or _nobody_listens
        self.failures = 0
        self.current: AsyncDatabaseClient | None = None
        self.closed = False
        self.slow = False
        self._connecting = asyncio.Lock()
        self._back = asyncio.Event()
        self._back.set()
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._warned = False
        self._unanswered: Question[Any] = _smallest_question
        self._prober: asyncio.Task[None] | None = None

    @property
    def away(self) -> bool:
        """Whether the database failed, and has not answered since."""
        return self.closed or not self._back.is_set()

    @property
    def unreachable(self) -> bool:
        """Whether it is away, and not only too slow for a computation to wait for it."""
        return self.away and not self.slow

    async def client(self) -> AsyncDatabaseClient:
        """Return the client, made now if there is none."""
        # One connection attempt at a time: it may start a server.
        async with self._connecting:
            if self.closed:
                raise DatabaseUnavailableError("the link is closed")
            if self.current is None:
                client = await self.connect()
                if self.closed:
                    await client.close()
                    raise DatabaseUnavailableError("the link was closed")
                self.current = client
            return self.current

    async def ask(self, question: Question[T]) -> T:
        """Ask something; when nobody answers, connect anew and ask once more."""
        try:
            return await self._ask_once(question)
        except UNAVAILABLE as error:
            # Who took too long once will not be quicker now.
            if isinstance(error, asyncio.TimeoutError) or isinstance(
                error.__cause__, asyncio.TimeoutError
            ):
                raise
        # An embedded server that had nothing to do has stopped; connecting starts it again.
        return await self._ask_once(question)

    async def _ask_once(self, question: Question[T]) -> T:
        client = await self.client()
        try:
            return await question(client)
        except UNAVAILABLE:
            await self.drop(client)
            raise

    async def ask_in_time(self, question: Question[T]) -> T:
        """Ask something, and be patient only so long."""
        return await asyncio.wait_for(self.ask(question), self.patience)

    async def drop(self, client: AsyncDatabaseClient) -> None:
        """Close a client, and use it no more."""
        if self.current is client:
            self.current = None
        await client.close()

    # Away and back ------------------------------------------------------------------------------

    def failed(self, error: BaseException, question: Question[Any] | None = None) -> None:
        """Take note that a computation waited in vain.

        Parameters
        ----------
        error : Exception
            What it got instead of an answer.
        question : callable, optional
            The database is back when it answers this in time.
        """
        self.failures += 1
        if self.closed:
            return
        self.slow = isinstance(error, asyncio.TimeoutError)
        complaint = _complaint(error, self.patience)
        if self._back.is_set():
            self._on_event("database-away", reason=complaint)
        if not self._warned:
            self._warned = True
            logger.warning("The cache database %s. Computations go on without it.", complaint)
        self._unanswered = question or self._unanswered
        self._back.clear()
        if self._prober is None or self._prober.done():
            self._prober = asyncio.create_task(self._wait_for_answer())

    def succeeded(self) -> None:
        """Take note that a computation got its answer in time."""
        self._return()
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._warned = False
        self._unanswered = _smallest_question

    async def examine(self, error: BaseException) -> bool:
        """Find out, after something failed that no computation waits for, whether it is away."""
        if not self.away and not await self._answers():
            self.failed(error)
        return not self.away

    async def back_within(self, seconds: float) -> None:
        """Wait until the database is back, but not longer than this."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._back.wait(), seconds)

    async def _wait_for_answer(self) -> None:
        while not self._back.is_set():
            await asyncio.sleep(self._retry_seconds)
            # Not taken back before a computation was answered: a trial may fare better than it.
            self._retry_seconds = min(2 * self._retry_seconds, LAST_RETRY_SECONDS)
            if await self._answers():
                self._return()

    def _return(self) -> None:
        if not self._back.is_set():
            logger.info("The cache database answers again.")
            self._on_event("database-back")
        self._back.set()

    async def _answers(self) -> bool:
        """Tell whether the database answers in time; starting it may take longer."""
        try:
            await asyncio.wait_for(self.client(), CONNECT_SECONDS)
            await self.ask_in_time(self._unanswered)
        except DatabaseError as error:
            return not isinstance(error, DatabaseUnavailableError)
        except Exception as error:
            self.slow = isinstance(error, asyncio.TimeoutError)
            logger.debug("The cache database is still away: %r", error)
            return False
        return True

    async def close(self) -> None:
        """Disconnect for good."""
        self.closed = True
        self._back.set()
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.gather(self._prober, return_exceptions=True)
        if self.current is not None:
            await self.drop(self.current)


def _nobody_listens(action: str, **details: object) -> None:
    """Stand in for a callable that is told of events."""


async def _smallest_question(client: AsyncDatabaseClient) -> object:
    return await client.lookup(["0" * 64])


def _complaint(error: BaseException, patience: float) -> str:
    text = str(error) or f"no answer within {patience:g} s"
    status = re.search(r" answered (\d{3}): ", text)
    if status is None:
        return f"does not answer ({text})"
    return f"{'refuses the token' if status[1] == '401' else 'cannot be used'} ({text})"
