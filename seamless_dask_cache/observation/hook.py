"""The audit hook: which events are heard, and which observation an event belongs to.

An audit hook can't be removed; without an observation under way it returns at once. It belongs to
the process, so it asks which observation the thread of an event belongs to: its own; none, when the
thread runs a task of Dask without one; that of the thread that started it; or, when that one has
ended (a pool that outlives its first user), every observation under way.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from seamless_dask_cache.dask_internals import thread_runs_task
from seamless_dask_cache.errors import RefusedError

from .events import HANDLERS
from .seen import Observation, of_thread, under_way

T = TypeVar("T")

_ORIGIN = "_seamless_dask_cache_origin"
_LOOP_OF_FSSPEC = "fsspecIO"
# Python's and Dask's own threads; what runs in them is no task that is observed.
_KNOWN = (
    "MainThread",
    "IO loop",
    "Profile",
    "Dask-Callback",
    "Dask-Identify",
    "Dask-Offload",
    "TCP-Executor",
    "sdc-database",
    "Nanny",
    "AsyncProcess",
    "WorkerMemory",
    _LOOP_OF_FSSPEC,
)

_installing = threading.Lock()
_installed: list[bool] = []


def watch() -> None:
    """Begin to hear audit events in this process; once is enough, more does no harm."""
    with _installing:
        if not _installed:
            _watch_file_systems()
            _watch_threads()
            sys.addaudithook(_hook)
            _installed.append(True)


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function that works for the cache itself: what it does belongs to no computation.

    Parameters
    ----------
    function : callable
        Such as one that looks at files in a thread that nobody knows.
    *arguments
        For the function.

    Returns
    -------
    object
        What the function returns.
    """
    before = getattr(of_thread, "busy", False)
    of_thread.busy = True
    try:
        return function(*arguments)
    finally:
        of_thread.busy = before


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not under_way or getattr(of_thread, "busy", False):
        return
    of_thread.busy = True
    try:
        _handle(event, arguments)
    except Exception:
        # What is raised here would be raised by the operation that is looked at.
        for seen in list(under_way):
            seen.unstable = f"the audit event {event!r} was not understood"
    finally:
        of_thread.busy = False


def _handle(event: str, arguments: tuple[Any, ...]) -> None:
    handle = _HANDLERS[event]
    own = getattr(of_thread, "seen", None)
    if own is not None:
        _tell(own, handle, arguments)
        return
    found = _observations()
    if len(found) == 1 and found[0].running and _origin() is found[0]:
        _tell(found[0], handle, arguments)
        return
    # Nobody knows whose work this is: what was read counts for all, and what was done makes the
    # results of all uncertain, without condemning anybody's code.
    for seen in found:
        stranger = Observation()
        stranger.temporary = seen.temporary
        _tell(stranger, handle, arguments)
        seen.take_in(stranger)
        effect = stranger.effect()
        if effect is not None:
            seen.unstable = f"{effect}, in a thread that somebody else started"


def _tell(seen: Observation, handle: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    try:
        handle(seen, *arguments)
    except RefusedError as error:
        seen.unstable = error.reason
    except Exception as error:
        seen.unstable = f"what it did was not understood: {error!r:.100}"


def _observations() -> list[Observation]:
    seen = getattr(of_thread, "seen", None)
    if seen is not None:
        return [seen]
    if thread_runs_task():
        # A task that is not observed, or what the cache does for one before and after.
        return []
    thread = _thread()
    if not hasattr(thread, _ORIGIN) and str(getattr(thread, "name", "")).startswith(_KNOWN):
        return []
    origin = _origin()
    return [origin] if origin is not None and origin.running else list(under_way)


def _origin() -> Observation | None:
    """Return the observation that this thread was started in, if it still exists."""
    reference = getattr(_thread(), _ORIGIN, None)
    return None if reference is None else reference()


def _thread() -> Any:
    # current_thread() would make an object for a thread that has none.
    return threading._active.get(threading.get_ident())  # type: ignore[attr-defined]


def _watch_threads() -> None:
    """Let every thread know which observation it was started in; not all Pythons make an event."""
    start = threading.Thread.start

    @functools.wraps(start)
    def started(self: threading.Thread) -> None:
        seen = getattr(of_thread, "seen", None) or _origin()
        if seen is not None:
            # The class may forbid new attributes; such a thread is nobody's.
            with contextlib.suppress(Exception):
                object.__setattr__(self, _ORIGIN, weakref.ref(seen))
        start(self)

    threading.Thread.start = started  # type: ignore[method-assign]


def _outside_of_fsspec(handle: Callable[..., None]) -> Callable[..., None]:
    # What fsspec is used for is noted apart: its connections are not made anew each time.
    def handle_elsewhere(seen: Observation, *arguments: Any) -> None:
        if getattr(_thread(), "name", "") != _LOOP_OF_FSSPEC:
            handle(seen, *arguments)

    return handle_elsewhere


def _watch_file_systems() -> None:
    from fsspec import spec

    make, open_file = spec._Cached.__call__, spec.AbstractFileSystem.open

    @functools.wraps(make)
    def made(cls: Any, *args: Any, **kwargs: Any) -> Any:
        system = make(cls, *args, **kwargs)
        _use(system)
        return system

    @functools.wraps(open_file)
    def opened(self: Any, *args: Any, **kwargs: Any) -> Any:
        _use(self)
        return open_file(self, *args, **kwargs)

    spec._Cached.__call__, spec.AbstractFileSystem.open = made, opened


def _use(system: Any) -> None:
    if not under_way or getattr(of_thread, "busy", False):
        return
    for seen in _observations():
        try:
            protocol = system.protocol
            names = (protocol,) if isinstance(protocol, str) else tuple(map(str, protocol))
            if {"file", "local"}.isdisjoint(names):
                seen.remote.update(names)
        except Exception:
            seen.unstable = "it used a file system that can't say what it is"


_HANDLERS: dict[str, Callable[..., None]] = {
    **HANDLERS,
    **{
        event: _outside_of_fsspec(handle)
        for event, handle in HANDLERS.items()
        if event.startswith("socket.")
    },
}
_HEARD = frozenset(_HANDLERS)


def _hook(
    event: str,
    arguments: tuple[Any, ...],
    heard: frozenset[str] = _HEARD,
    hear: Callable[[str, tuple[Any, ...]], None] = _hear,
) -> None:
    # Called for every event of the process, such as each id() that copy.deepcopy asks for. At its
    # very end too, when the globals of this module are gone.
    if event in heard:
        hear(event, arguments)
