"""What describing a task meets on its way: code, effects, files, and the user's word."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from seamless_dask_cache.identity.effects import Effect
from seamless_dask_cache.identity.policy import CallPolicy


@dataclass
class Scope:
    """What one call reaches by itself, apart from the calls that make its inputs."""

    effects: list[Effect] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    strings: list[str] = field(default_factory=list)


@dataclass
class Reach:
    """What describing one task met on its way."""

    codes: list[bytes] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    own: Scope = field(default_factory=Scope)
    calls: int = 0
    lifted_calls: int = 0
    expires: float | None = None

    @property
    def lifted(self) -> bool:
        """Whether the user vouched for every call of the task."""
        return 0 < self.lifted_calls == self.calls

    def expire(self, seconds: float | None) -> None:
        """Let the task expire with the first of what it is made of."""
        if seconds is not None:
            self.expires = seconds if self.expires is None else min(self.expires, seconds)


class Asked(NamedTuple):
    """What was asked of a function once."""

    policy: CallPolicy | None
    effect: Effect | None
    ordered: bool
    is_dask: bool
