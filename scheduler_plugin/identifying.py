"""Threads in which graphs are identified: a file system that hangs must not hold the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

MOST_AT_ONCE = 8
PATIENCE_FACTOR = 6.0
"""How many times the patience of the policy identifying one graph may take."""


class IdentifyingThreads:
    """Run the identification of graphs, for a bounded time.

    Parameters
    ----------
    patience : float
        Seconds, of the policy.

    Notes
    -----
    Used from one event loop. Work that hangs keeps its thread; when all do, nothing more is begun
    until one comes back.
    """

    def __init__(self, patience: float) -> None:
        self._timeout = PATIENCE_FACTOR * patience
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="Dask-Identify")
        self._busy = 0

    async def run(self, work: Callable[[], None]) -> None:
        """Run some work in a thread.

        Raises
        ------
        TimeoutError
            When it takes too long, or too much hangs already.
        """
        if self._busy >= MOST_AT_ONCE:
            raise TimeoutError("the file system does not answer")
        self._busy += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, _run, work)
        future.add_done_callback(self._done)
        try:
            await asyncio.wait_for(asyncio.shield(future), self._timeout)
        except asyncio.TimeoutError:
            raise TimeoutError("the file system does not answer") from None

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False)

    def _done(self, future: asyncio.Future[None]) -> None:
        self._busy -= 1
        if not future.cancelled():
            future.exception()  # whoever waited has it; nobody else needs to hear of it


def _run(work: Callable[[], None]) -> None:
    # Users' classes may raise SystemExit while they are hashed, which would end the event loop.
    try:
        work()
    except Exception:
        raise
    except BaseException as error:
        raise RuntimeError(f"identifying raised {error!r}") from error
