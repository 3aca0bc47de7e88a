"""One computation under observation, and the state of what it read."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from types import FrameType
from typing import Any, TypeVar

from seamless_dask_cache.identity.distributions import PYTHON, owner_of
from seamless_dask_cache.identity.effects import WRITE
from seamless_dask_cache.identity.files import (
    ContentPath,
    file_state,
    listing_state,
    local_path,
    path_candidates,
    settled_state,
)

T = TypeVar("T")

MISSING = ""
MAX_NAMED = 20_000
WORKING_FOLDER = "./"
"""Stands among the reads for the folder that relative names were looked up in."""
_BYSTANDERS = {"logging", "linecache", "weakref"}
_IMPORTING = "importlib._bootstrap"
_OWN = __name__.rpartition(".")[0]

under_way: set[Observation] = set()
"""The observations of this process that have begun and not ended."""

of_thread = threading.local()
"""``seen``: the observation of this thread; ``busy``: it handles an event."""


class Observation:
    """What one computation was seen to read and to do.

    Attributes
    ----------
    reads : dict of str to str
        Absolute path to the state that the file had when it was first opened; ``""`` where nothing
        existed. A path with a slash at its end stands for a listing of that folder.
    effects : list of (str, str)
        Kind and description.
    remote : set of str
        Protocols of remote file systems (fsspec's) that were used.
    temporary : set of str
        Paths that ``tempfile`` made up.
    unstable : str or None
        What makes the result uncertain, whoever vouches for it.
    running : bool
        Whether the computation is under way.

    Notes
    -----
    Filled by any thread; every change is one operation on a builtin container.
    """

    __slots__ = ("__weakref__", "effects", "reads", "remote", "running", "temporary", "unstable")

    def __init__(self) -> None:
        self.reads: dict[str, str] = {}
        self.effects: list[tuple[str, str]] = []
        self.remote: set[str] = set()
        self.temporary: set[str] = set()
        self.unstable: str | None = None
        self.running = False

    def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function and observe it.

        Parameters
        ----------
        function : callable
            The computation.
        *arguments
            For the function.

        Returns
        -------
        object
            What the function returns.
        """
        outer = getattr(of_thread, "seen", None)
        of_thread.seen = self
        self.running = True
        under_way.add(self)
        try:
            return function(*arguments)
        finally:
            of_thread.seen = outer
            self.running = False
            under_way.discard(self)
            if outer is not None:
                outer.take_in(self)

    def note(self, name: str, state: str) -> None:
        """Note that something was read in some state; two states of one file are uncertain."""
        if self.reads.setdefault(name, state) != state:
            self.unstable = f"{name} changed while it was read"

    def take_in(self, other: Observation) -> None:
        """Take what another computation read for read by this one, which it was a part of."""
        for name, state in list(other.reads.items()):
            self.note(name, state)
        self.remote |= other.remote
        self.unstable = self.unstable or other.unstable

    def did(self, kind: str, text: str) -> None:
        """Note an effect; the first of each kind is enough."""
        if all(known != kind for known, _ in self.effects):
            self.effects.append((kind, text))

    def note_files(self, files: Iterable[tuple[str, str]]) -> None:
        """Take files for read that a part of the computation depends on: path and state."""
        for path, state in files:
            is_name = path == WORKING_FOLDER or path.endswith("/")
            self.note(path if is_name else os.path.abspath(local_path(path)), state)

    def note_named(self, values: Iterable[Any]) -> None:
        """Take files that inputs of the computation name for read.

        What compiled code opens is not heard of; a path that another task made is at least seen
        here.

        Parameters
        ----------
        values : iterable
            The inputs; strings and paths within builtin containers are looked at, up to 20,000 that
            have a separator or a dot in them.
        """
        try:
            for name, state in _named_files(values).items():
                self.note(name, state)
        except Exception as error:
            self.unstable = f"its inputs name files whose state is not certain: {error}"

    def settle(self, covers: Iterable[tuple[str, str]] = ()) -> None:
        """Look once more at what was read and at temporary files, after the computation.

        Parameters
        ----------
        covers : iterable of (str, str)
            Files that stand in the identity, in which state. Those that count by content must not
            have changed since, and a relative name must mean the same file here.
        """
        for path, state in covers:
            by_content, name = isinstance(path, ContentPath), local_path(path)
            elsewhere = by_content or not os.path.isabs(name)
            if elsewhere and state_now(os.path.abspath(name)) != state:
                self.unstable = f"{path} is not here what it was when it was identified"
        for name, state in list(self.reads.items()):
            if _settled(name) != state:
                self.unstable = f"{name} changed while it was read"
        for path in list(self.temporary):
            if os.path.lexists(path):
                self.did(WRITE, f"it left the temporary file {path} behind")

    def effect(self, allowed: frozenset[str] = frozenset()) -> str | None:
        """Describe the first effect that counts.

        Parameters
        ----------
        allowed : frozenset of str
            Kinds of effects that do not.

        Returns
        -------
        str or None
            Such as ``"write: it opened /x for writing"``.
        """
        return next((f"{k}: {text}" for k, text in self.effects if k not in allowed), None)


def current() -> Observation | None:
    """Return the observation that the calling thread runs in."""
    found: Observation | None = getattr(of_thread, "seen", None)
    return found


def state_now(name: str) -> str:
    """Return the state of something that was read, as :attr:`Observation.reads` has it.

    Parameters
    ----------
    name : str
        Absolute path; with a slash at its end, the listing of a folder.
    """
    if name == WORKING_FOLDER:
        return os.getcwd()
    state = listing_state(name[:-1]) if name.endswith("/") else file_state(name)
    return MISSING if state is None else state


def _settled(name: str) -> str:
    """Return the state of what was read, such that any later write is certain to change it."""
    if name.endswith("/"):
        return state_now(name)
    state = settled_state(name)
    return MISSING if state is None else state


def unchanged(reads: Mapping[str, str]) -> bool:
    """Tell whether all files that a computation read are in the state that it saw.

    Parameters
    ----------
    reads : mapping
        As :attr:`Observation.reads`.
    """
    return all(state_now(name) == state for name, state in reads.items())


def _named_files(values: Iterable[Any]) -> dict[str, str]:
    candidates = (text for value in values for text in path_candidates(value, marked=True))
    looked_at = islice(candidates, MAX_NAMED)
    names = {os.path.abspath(local_path(text)) for text in looked_at}
    return {name: state_now(name) for name in names if os.path.lexists(name)}


def uncovered(reads: Mapping[str, str], covers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Take away from what a computation read what its identity covers.

    Parameters
    ----------
    reads : mapping
        As :attr:`Observation.reads`.
    covers : iterable of (str, str)
        Files and folders that stand in the identity, in which state.

    Returns
    -------
    dict
        What is left: other files, and files in other states.
    """
    known = {os.path.abspath(local_path(path)): state for path, state in covers}
    rest = {path: state for path, state in reads.items() if known.get(path) != state}
    for folder, state in known.items():
        below = [path for path in rest if path.startswith(f"{folder}/")]
        if below and state_now(folder) == state:
            for path in below:
                del rest[path]
    return {} if rest.keys() == {WORKING_FOLDER} else rest


def _frames() -> Iterator[tuple[str, str]]:
    """Yield module and function of every frame down to the observed computation."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not _RUN:
        yield str(frame.f_globals.get("__name__", "")), frame.f_code.co_name
        frame = frame.f_back


def on_behalf_of_a_bystander() -> bool:
    """Tell whether the event happens on behalf of an import, logging, a traceback, a finalizer."""
    return any(
        module.partition(".")[0] in _BYSTANDERS or module.startswith(_IMPORTING)
        for module, _ in _frames()
    )


def in_code_of_the_user() -> bool:
    """Tell whether the nearest code that is not Python's own was written by the user."""
    owners = (owner_of(module) for module, _ in _frames() if not module.startswith(_OWN))
    return next((owner is None for owner in owners if owner != PYTHON), False)


def in_rmtree() -> bool:
    """Tell whether rmtree is at work, which names files relative to folders that it opened.

    It announced the whole folder before.
    """
    return any(module == "shutil" and "rmtree" in function for module, function in _frames())


_RUN = Observation.run.__code__
