"""The plugin's link to the database: questions that never hold a computation for long."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeVar

from seamless_dask_cache.database import AsyncDatabaseClient, Lookup, LookupAnswer
from seamless_dask_cache.errors import DatabaseError

from .connection import UNAVAILABLE, Connect, Connection, OnEvent, Question
from .descriptions import Description
from .outbox import Cutoff, Item
from .spool import Spool
from .writer import Stored, Writer

logger = logging.getLogger(__name__)

__all__ = ["DatabaseLink", "Description"]

PROBED_AT_ONCE = 1_000

T = TypeVar("T")


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
    spool : Spool, optional
        Where records wait while the database is away. Without it they wait in memory, at most
        100,000, and end with the process.
    on_event : callable, optional
        Told when the database goes away, and when it is back, see `Connection`.
    is_busy : callable, optional
        Tells whether the scheduler has something to do; what can wait is not written meanwhile.

    Notes
    -----
    Used from one event loop. A lookup that fails is an empty answer; after it the database is left
    alone until it answered in the background. Failures are warned of once until then.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        patience: float,
        on_stored: Stored,
        writable: bool = True,
        spool: Spool | None = None,
        on_event: OnEvent | None = None,
        is_busy: Callable[[], bool] = lambda: False,
    ):
        self.writable = writable
        self.connection = Connection(connect, patience, on_event)
        self._writer = Writer(self.connection, on_stored, spool if writable else None, is_busy)
        self._refused: dict[str, AsyncDatabaseClient | None] = {}

    async def open(self, *, must_answer: bool = True) -> None:
        """Connect for the first time.

        Raises
        ------
        DatabaseError
            When no database answers and `must_answer` is true; otherwise that is warned of.
        """
        try:
            await self.connection.client()
        except (DatabaseError, OSError) as error:
            if must_answer:
                raise
            self.connection.failed(error)
        self._writer.start()

    async def close(self, timeout: float = 5.0) -> None:
        """Flush, or leave what cannot be written to the spool; then disconnect.

        Parameters
        ----------
        timeout : float
            Seconds to wait for a database that is there. Disks may take some more.
        """
        await self._writer.close(timeout)
        await self.connection.close()

    @property
    def patience(self) -> float:
        """Seconds that a lookup may take."""
        return self.connection.patience

    @patience.setter
    def patience(self, seconds: float) -> None:
        self.connection.patience = seconds

    @property
    def away(self) -> bool:
        """Whether the database failed, and has not answered since."""
        return self.connection.away

    @property
    def failures(self) -> int:
        """How many questions had no answer."""
        return self.connection.failures

    @property
    def dropped(self) -> int:
        """How many records will never be written: refused by the server, or too many."""
        return self._writer.dropped

    @property
    def unwritten(self) -> int:
        """How many records wait, in memory and in the spool."""
        return self._writer.unwritten

    # Results ------------------------------------------------------------------------------------

    async def lookup(self, transformations: list[str]) -> dict[str, LookupAnswer]:
        """Ask for many transformations at once; what cannot be had in time is not there."""
        if not transformations:
            return {}
        found = await self._look(lambda client: client.lookup(transformations), transformations)
        return {} if found is None else found

    async def look_up(
        self, transformations: list[str], codes: Collection[str], inputs: Collection[str] = ()
    ) -> Lookup:
        """Ask for all that is to be known of a graph; what cannot be had in time is not there.

        Parameters
        ----------
        transformations : list of str
        codes : collection of str
            Of which it is asked what running them cost so far.
        inputs : collection of str
            Further transformations, of which it is only asked whether they are irreproducible.
        """
        if not transformations:
            return Lookup()
        found = await self._look(
            lambda client: client.look_up(transformations, codes, inputs), transformations
        )
        return Lookup() if found is None else found

    async def _look(self, question: Question[T], transformations: Sequence[str]) -> T | None:
        if self.away:
            return None
        try:
            found = await self.connection.ask_in_time(question)
        except Exception as error:
            if _is_refusal(error):
                self._note_refusal("lookups", error)
            else:
                some = list(transformations[:PROBED_AT_ONCE]) or ["0" * 64]
                self.connection.failed(error, lambda client: client.lookup(some))
            return None
        self.connection.succeeded()
        return found

    async def cutoffs(self, skeletons: list[str]) -> dict[str, dict[str, LookupAnswer]]:
        """Ask what shallow transformations gave: skeleton -> checksum -> answer.

        Empty when the database is away, or too old to know.
        """
        if not skeletons:
            return {}
        found = await self._extra("cutoffs", lambda client: client.cutoffs(skeletons))
        return {} if found is None else found

    # Leases -------------------------------------------------------------------------------------

    async def acquire(
        self,
        holder: str,
        transformations: Sequence[str],
        seconds: float,
        release: Iterable[str] = (),
    ) -> Any:
        """Take leases; None when the database cannot answer, or knows no leases.

        Parameters
        ----------
        holder : str
            Who takes them.
        transformations : list of str
        seconds : float
            How long they hold.
        release : iterable of str
            Leases of the holder's to give up.

        Returns
        -------
        LeaseAnswer or None
        """
        released = list(release)
        return await self._extra(
            "leases", lambda client: client.acquire(holder, transformations, seconds, released)
        )

    async def renew(self, holder: str, seconds: float) -> int | None:
        """Renew all leases of a holder; returns their number, None without an answer."""
        return await self._extra("leases", lambda client: client.renew(holder, seconds))

    async def release_all(self, holder: str) -> Any:
        """Give up all leases of a holder; returns what the client does, None without an answer."""
        return await self._extra("leases", lambda client: client.release_all(holder))

    async def leases(self, transformations: Sequence[str]) -> Any:
        """Ask who computes some transformations; a LeaseAnswer, or None without an answer."""
        return await self._extra("leases", lambda client: client.leases(transformations))

    async def _extra(self, what: str, question: Question[T]) -> T | None:
        """Ask what an older server refuses; it is then not asked again on this connection."""
        client = self.connection.current
        if client is not None and self._refused.get(what) is client:
            return None
        try:
            return await self._asked(question)
        except Exception as error:
            self._note_refusal(what, error)
            return None

    def _note_refusal(self, what: str, error: Exception) -> None:
        is_first = what == "lookups" and what not in self._refused
        self._refused[what] = self.connection.current
        level = logging.WARNING if is_first else logging.DEBUG
        logger.log(level, "The cache database answers no %s: %s", what, error)

    # Explanations -------------------------------------------------------------------------------

    async def summary(self) -> dict[str, Any]:
        """Return what the database holds in all; an empty dict when it does not answer."""
        try:
            found = await self.connection.ask_in_time(lambda client: client.summary())
        except (DatabaseError, *UNAVAILABLE) as error:
            self.connection.failed(error)
            return {}
        self.connection.succeeded()
        return dict(found)

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
        return await self._explained(
            lambda client: client.recipes(function, checksums=checksums, limit=limit)
        )

    async def notes(self, checksums: list[str]) -> dict[str, dict[str, Any]]:
        """Return notes on checksums; those that are known, none when the database is away."""
        if not checksums:
            return {}
        return await self._explained(lambda client: client.notes(checksums)) or {}

    async def _explained(self, question: Question[T]) -> T | None:
        try:
            return await self._asked(question)
        except DatabaseError as error:
            logger.info("The database has nothing to explain with: %s", error)
            return None

    async def _asked(self, question: Question[T]) -> T | None:
        """Ask in time; None when the database is away, while a refusal is raised."""
        if self.away:
            return None
        try:
            found = await self.connection.ask_in_time(question)
        except UNAVAILABLE as error:
            self.connection.failed(error)
            return None
        self.connection.succeeded()
        return found

    # Writing ------------------------------------------------------------------------------------

    def store(self, item: Item) -> None:
        """Queue one record.

        Parameters
        ----------
        item : dict
            The fields of `StoreItem`; and, if wanted, ``cutoffs`` (a list of rows) and ``costs``
            (a dict), as for `note_cutoff` and `note_cost`.
        """
        if not self.writable:
            return
        record = {name: part for name, part in item.items() if name not in ("cutoffs", "costs")}
        self._writer.outbox.store(record)
        for row in item.get("cutoffs") or ():
            self.note_cutoff(row)
        for code, sums in (item.get("costs") or {}).items():
            self.note_cost(code, sums)
        self._writer.awake()

    def forget(self, transformation: str) -> None:
        """Queue the removal of one record."""
        if self.writable:
            self._writer.outbox.forget(transformation)
            self._writer.awake()

    def note_cutoff(self, row: Cutoff) -> None:
        """Queue what a shallow transformation gave; a hint, which may get lost.

        Parameters
        ----------
        row : tuple
            Skeleton, checksum, result, nbytes, seconds.
        """
        if self.writable:
            self._writer.outbox.note_cutoff(row)
            self._writer.awake()

    def note_cost(self, code: str, sums: Sequence[float]) -> None:
        """Queue what running a piece of code cost; a hint, which may get lost.

        Parameters
        ----------
        code : str
            Checksum.
        sums : sequence of numbers
            Runs, seconds, nbytes, loads, load_seconds; added up until they are written.
        """
        if self.writable:
            self._writer.outbox.note_cost(code, sums)
            self._writer.awake()

    def describe(self, description: Description) -> None:
        """Queue recipes and notes, which only explanations need; they come after all records.

        Parameters
        ----------
        description : callable
            Makes them, in a thread, when it is their turn. The oldest of more than 100 are dropped,
            and so is what the database does not take, or cannot take now.
        """
        if self.writable and not self.away:
            self._writer.describe(description)

    async def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything queued or spooled is acknowledged; tell whether it was in time."""
        return await self._writer.flush(timeout)


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, DatabaseError) and not isinstance(error, UNAVAILABLE)
