"""Bringing files to the disk soon: a thread that flushes them, so that no writer waits for it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque

MOST_WAITING = 64
"""Files that may wait, open; beyond, writers flush theirs on their own: disks keep pace."""


class Syncing:
    """Flushes files to the disk in the background, in the order in which they come.

    Use `SYNCING`, the one of this process.

    Notes
    -----
    Files are handed over open: a thread that opens files might be taken for one of a task that runs
    beside it. The thread starts with the first file and ends when there is nothing left to do. It
    is a daemon: a process that ends leaves the rest to the operating system, which loses nothing
    unless the power fails within seconds.
    """

    def __init__(self) -> None:
        self._waiting: deque[int] = deque()
        self._changed = threading.Condition()
        self._running = False

    def start_anew(self) -> None:
        """Forget what waits: in a forked process, whose parent has the thread and sees to it."""
        waiting, self._waiting = self._waiting, deque()
        self._changed = threading.Condition()
        self._running = False
        for descriptor in waiting:
            os.close(descriptor)

    def soon(self, descriptor: int) -> bool:
        """Flush an open file before long, whatever becomes of its descriptor.

        Returns
        -------
        bool
            Whether that was taken on; not when too many wait.
        """
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                return False
            self._waiting.append(os.dup(descriptor))
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="sdc-syncing", daemon=True).start()
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until everything is on the disk; tell whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._running = False
                    self._changed.notify_all()
                    return
                descriptor = self._waiting[0]
            # Errors of the disk show at reading.
            with contextlib.suppress(OSError):
                os.fsync(descriptor)
            with self._changed:
                os.close(self._waiting.popleft())


SYNCING = Syncing()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SYNCING.start_anew)
