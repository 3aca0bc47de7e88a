"""A progress bar on standard error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from os import stat
from stat import S_ISREG
from time import monotonic
from typing import TYPE_CHECKING

from seamless_dask_cache.checksum_commands.digests import STANDARD_INPUT

if TYPE_CHECKING:
    from rich.progress import Progress

DELAY = 1.0
"""Seconds after which a bar is worth its time, of which importing rich takes a tenth."""

_PAUSE = 0.1
"""Seconds between two drawings."""


class Bar:
    """A bar that appears when work takes long, and can be hidden while something else is written.

    Notes
    -----
    Thread-safe: whoever reads files tells of it.

    Parameters
    ----------
    at_once : bool
        Whether it appears from the beginning, and also where there is no terminal.

    Attributes
    ----------
    total : callable
        Returns how many bytes will be read; called once, and only when a bar is shown.
    """

    def __init__(self, at_once: bool):
        self.total: Callable[[], int | None] = lambda: None
        self._forced = at_once
        self._due = monotonic() + (0 if at_once else DELAY)
        self._lock = threading.Lock()
        self._done = 0
        self._progress: Progress | None = None
        self._visible = False

    def note(self, count: int) -> None:
        """Take note that so many bytes more were read."""
        with self._lock:
            self._done += count
            if monotonic() >= self._due:
                self._draw()

    def make_room(self, write: Callable[[], object]) -> None:
        """Remove the bar from the terminal, and write something, before it appears again.

        Parameters
        ----------
        write : callable
            Whoever tells of bytes waits until it has returned: their bar would come in between.
        """
        with self._lock:
            if self._progress is not None and self._visible:
                self._progress.stop()
                self._visible = False
                self._due = monotonic() + _PAUSE
            write()

    def _draw(self) -> None:
        if self._progress is None:
            self._progress = _new_progress(self._forced)
            self._progress.add_task("reading", total=self.total())
        if not self._visible:
            self._progress.start()
            self._visible = True
        self._progress.update(self._progress.task_ids[0], completed=self._done)
        self._due = monotonic() + _PAUSE


def total_size(names: Iterable[str]) -> int | None:
    """Sum up the sizes of files; None when one of them has none, as a pipe.

    Parameters
    ----------
    names : iterable of str
        Paths; what cannot be looked at is passed over: reading it will fail, too.
    """
    total = 0
    for name in names:
        try:
            status = stat(0 if name == STANDARD_INPUT else name)
        except (OSError, ValueError):
            continue
        if not S_ISREG(status.st_mode):
            return None
        total += status.st_size
    return total


def _new_progress(forced: bool) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True, force_terminal=forced or None),
        transient=True,
    )
