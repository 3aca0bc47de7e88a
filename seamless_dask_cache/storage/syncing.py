"""Bringing files to the disk soon: a thread that flushes them, so that no writer waits for it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque

MOST_WAITING = 128
"""Files that may wait, open; beyond, writers flush theirs on their own: disks keep pace."""


class Syncing:
    """Flushes files to the disk in the background, in the order in which they come.

    Use `SYNCING`, the one of this process.

    Notes
    -----
    Files are handed over open: a thread that opens files might be taken for one of a task that runs
    beside it. The thread starts with the first file and ends when there was nothing to do for a
    while: starting one costs a writer more than handing over hundreds of files. It is a daemon: a
    process that ends leaves the rest to the operating system, which loses nothing unless the power
    fails within seconds.

    Parameters
    ----------
    idle : float
        Seconds without a file after which the thread ends.
    pause : float
        Seconds for which files wait for others: the disk brings many in at about the price of one,
        and whoever makes a file meanwhile is held up only once.
    """

    def __init__(self, idle: float = 5.0, pause: float = 0.5) -> None:
        self.idle = idle
        self.pause = pause
        self._begin()

    def _begin(self) -> None:
        lock = threading.Lock()
        self._waiting: deque[int] = deque()
        self._arrived, self._done = threading.Condition(lock), threading.Condition(lock)
        self._running = False
        self._awaited = 0

    def start_anew(self) -> None:
        """Forget what waits: in a forked process, whose parent has the thread and sees to it."""
        waiting = self._waiting
        self._begin()
        for descriptor in waiting:
            os.close(descriptor)

    @property
    def running(self) -> bool:
        """Whether the thread is there."""
        return self._running

    def soon(self, descriptor: int) -> bool:
        """Flush an open file before long, whatever becomes of its descriptor.

        Returns
        -------
        bool
            Whether that was taken on; not when too many wait.
        """
        with self._arrived:
            if len(self._waiting) >= MOST_WAITING:
                return False
            self._waiting.append(os.dup(descriptor))
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="sdc-syncing", daemon=True).start()
            elif len(self._waiting) == 1 or self._is_due():
                self._arrived.notify()
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until everything is on the disk; tell whether it is."""
        with self._done:
            self._awaited += 1
            self._arrived.notify()
            try:
                return self._done.wait_for(lambda: not self._waiting, timeout)
            finally:
                self._awaited -= 1

    def _is_due(self) -> bool:
        return bool(self._awaited) or len(self._waiting) >= MOST_WAITING // 2

    def _run(self) -> None:
        while self._gathered():
            for _ in range(len(self._waiting)):
                self._flush()

    def _gathered(self) -> bool:
        """Wait for files; tell whether any came."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: self._waiting, self.idle):
                self._running = False
                return False
            self._arrived.wait_for(self._is_due, self.pause)
            return True

    def _flush(self) -> None:
        """Flush the first file, which waits until that is done."""
        # Errors of the disk show at reading.
        with contextlib.suppress(OSError):
            os.fsync(self._waiting[0])
        with self._done:
            os.close(self._waiting.popleft())
            if not self._waiting:
                self._done.notify_all()


SYNCING = Syncing()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SYNCING.start_anew)
