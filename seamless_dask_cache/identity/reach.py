"""What describing a task meets on its way: code, effects, files, and the user's word."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seamless_dask_cache.identity.effects import Effect
    from seamless_dask_cache.identity.recipe import Identity


class Scope:
    """What one call reaches by itself, apart from the calls that make its inputs.

    Attributes
    ----------
    effects : list of Effect
        Of its code, and of functions among its arguments.
    files : list of str
        What its code and its arguments name as files.
    strings : list of str
        Strings among its arguments, which may name files.
    """

    __slots__ = ("effects", "files", "strings")

    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self.files: list[str] = []
        self.strings: list[str] = []


class NoPatternError(Exception):
    """An identity depends on its inputs in another way than by naming them."""


class Reach:
    """What describing one task met on its way, nested calls included.

    Attributes
    ----------
    codes : list of bytes
        Checksums of all code that the task names.
    effects : list of Effect
        Of all calls.
    calls : int
        How many.
    lifted_calls : int
        Those that the user vouched for.
    expires : float or None
        Seconds until the first of what the task is made of expires.
    covers : dict of str to str
        Files that stand in the identity, with their state.
    pattern : bool
        The inputs are placeholders.
    trusted : bool
        The user vouched for the whole task.

    Notes
    -----
    One is made for each task of a graph, hence neither a dataclass nor made of parts.
    """

    __slots__ = (
        "calls",
        "codes",
        "covers",
        "effects",
        "expires",
        "lifted_calls",
        "pattern",
        "trusted",
    )

    def __init__(self, *, pattern: bool = False) -> None:
        self.codes: list[bytes] = []
        self.effects: list[Effect] = []
        self.calls = 0
        self.lifted_calls = 0
        self.expires: float | None = None
        self.covers: dict[str, str] = {}
        self.pattern = pattern
        self.trusted = False

    def need_inputs(self) -> None:
        """Say that what follows depends on the inputs themselves.

        Raises
        ------
        NoPatternError
            When there are only placeholders for them.
        """
        if self.pattern:
            raise NoPatternError

    @property
    def lifted(self) -> bool:
        """Whether the user vouched for every call of the task."""
        return 0 < self.lifted_calls == self.calls

    def expire(self, seconds: float | None) -> None:
        """Let the task expire with the first of what it is made of."""
        if seconds is not None:
            self.expires = seconds if self.expires is None else min(self.expires, seconds)

    def inherit(self, identity: Identity) -> None:
        """Take over what an input brings along."""
        self.expire(identity.expires)
        if identity.recipe is None:
            self.covers.update(identity.covers)

    def include(self, inner: Reach) -> None:
        """Take over what describing a part of the task met."""
        self.codes += inner.codes
        self.effects += inner.effects
        self.covers.update(inner.covers)
        self.calls += inner.calls
        self.lifted_calls += inner.lifted_calls
        self.expire(inner.expires)
