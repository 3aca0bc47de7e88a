"""Promised buffers: what somebody is about to upload, so that others wait for it.

In memory only: a server that starts anew knows of no promise, and who would have waited is told
that the buffer is unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from .failures import BusyError

SECONDS = 600.0
"""How long a promise holds."""

MOST = 100_000
"""Promises that a server keeps; one takes about 300 bytes."""


class Promises:
    """Buffers that were promised.

    Parameters
    ----------
    seconds : float
        How long a promise holds.
    most : int
        How many there may be.

    Notes
    -----
    Belongs to one event loop.
    """

    def __init__(self, seconds: float = SECONDS, most: int = MOST):
        self.seconds = seconds
        self._most = most
        self._expected: dict[str, asyncio.Future[None]] = {}
        self._ends: dict[str, asyncio.TimerHandle] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._expected)

    def promise(self, checksum: str) -> None:
        """Expect a buffer, from now on.

        Raises
        ------
        BusyError
            There are too many promises.
        """
        loop = asyncio.get_running_loop()
        if checksum in self._expected:
            self._ends[checksum].cancel()
        elif len(self._expected) >= self._most:
            raise BusyError(f"There are {self._most} promised buffers already")
        else:
            self._expected[checksum] = loop.create_future()
        self._ends[checksum] = loop.call_later(self.seconds, self.end, checksum)

    def end(self, checksum: str) -> None:
        """Expect a buffer no more: it is there, or it took too long."""
        expected = self._expected.pop(checksum, None)
        if expected is not None:
            self._ends.pop(checksum).cancel()
            expected.set_result(None)

    def among(self, checksums: Iterable[str]) -> set[str]:
        """Give those that are promised."""
        return {checksum for checksum in checksums if checksum in self._expected}

    async def wait(self, checksum: str, seconds: float | None = None) -> bool:
        """Wait while a buffer is promised, at most so long; tell whether it was promised."""
        expected = self._expected.get(checksum)
        if expected is None or self._closed:
            return False
        await asyncio.wait([expected], timeout=seconds)
        return True

    def close(self) -> None:
        """Let nobody wait any longer."""
        self._closed = True
        for checksum in list(self._expected):
            with contextlib.suppress(asyncio.InvalidStateError):
                self.end(checksum)
