"""Descriptions of graphs, which only explanations need: they wait until there is time for them."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

logger = logging.getLogger(__name__)

MOST_WAITING = 100
AT_ONCE = 50
LATEST_SECONDS = 60.0
"""Seconds after which a description is made though the scheduler still has something to do."""

Description = Callable[[], tuple[list[dict[str, str]], dict[str, dict[str, Any]]]]


class Descriptions:
    """A queue of descriptions; the oldest of more than 100 go first.

    Parameters
    ----------
    is_busy : callable
        Tells whether the scheduler has something to do, which making them would slow down.

    Notes
    -----
    Used from one event loop. A description holds a whole graph until it is made.
    """

    def __init__(self, is_busy: Callable[[], bool]):
        self._is_busy = is_busy
        self._waiting: deque[tuple[float, Description]] = deque(maxlen=MOST_WAITING)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, description: Description) -> None:
        """Queue a description."""
        self._waiting.append((time.monotonic(), description))

    def clear(self) -> None:
        """Drop all of them."""
        self._waiting.clear()

    def are_due(self) -> bool:
        """Tell whether it is time to make some."""
        if not self._waiting:
            return False
        if len(self._waiting) >= AT_ONCE:  # or the oldest would soon be lost
            return True
        queued, _ = self._waiting[0]
        return time.monotonic() - queued >= LATEST_SECONDS or not self._is_busy()

    def take(self) -> list[Description]:
        """Take the oldest ones out."""
        number = min(AT_ONCE, len(self._waiting))
        return [self._waiting.popleft()[1] for _ in range(number)]


def described(descriptions: Iterable[Description]) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """Make recipes and notes of descriptions; what fails is left out."""
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
