"""How long a group of writes waits for those who were in the last one.

Clients that write one thing after the other come again as soon as they have their answer. A group
that starts at once with whoever is there first finds half of them: the two halves take turns, and
twice as many transactions are committed for the same rows. (PostgreSQL's ``commit_delay`` and
MySQL's ``binlog_group_commit_sync_delay`` wait for the same reason, for a fixed time.)
"""

from __future__ import annotations

import math

LONGEST_WAIT = 0.01
"""Seconds that a group waits at most."""

MOST_SKIPPED = 128
"""Groups after which waiting is tried again at the latest."""


class Regulars:
    """Decides whether a group waits for more, from what became of the last ones.

    Notes
    -----
    Nobody who comes alone waits, and nobody longer than twice the time that the last group took.
    When those who were waited for did not come, the next group does not wait, then the next five,
    twenty-one, and so on; when they came, half as many. So it takes two successes to make up for
    one failure, and clients that have other things to do between their writes hardly ever wait.
    """

    def __init__(self) -> None:
        self.expected = 0
        """How many are enough to begin with."""
        self._ended = -math.inf
        self._longest = 0.0
        self._skip = 0
        self._skipped = 0

    def patience(self, waiting: int, now: float) -> float:
        """Give the seconds for which a group of so many waits for others; 0 if it does not."""
        if waiting >= self.expected or now > self._ended + self._longest:
            return 0.0
        if self._skipped < self._skip:
            self._skipped += 1
            return 0.0
        return self._longest

    def waited(self, found: int) -> None:
        """Learn how many there were after a group had waited."""
        self._skipped = 0
        came = found >= self.expected
        self._skip = self._skip // 2 if came else min(4 * self._skip + 1, MOST_SKIPPED)

    def done(self, jobs: int, waiting: int, started: float, ended: float) -> None:
        """Learn how long a group of so many took, and how many came meanwhile."""
        self.expected = jobs + waiting
        self._ended = ended
        self._longest = min(2 * (ended - started), LONGEST_WAIT)
