"""The audit hook: which events are heard, and which observation an event belongs to.

An audit hook can't be removed; without an observation under way it returns at once. It belongs to
the process, so it asks which observation the thread of an event belongs to: its own; that of the
thread that started it; or, when that one has ended (a pool that outlives its first user), every
observation under way.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

from seamless_dask_cache.identity.effects import HIDDEN_FILE

from .events import HANDLERS
from .seen import Observation, of_thread, under_way

logger = logging.getLogger(__name__)

_ORIGIN = "_seamless_dask_cache_origin"
_LOOP_OF_FSSPEC = "fsspecIO"

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


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    # Called for every event of the process, such as each id() that copy.deepcopy asks for.
    if event in _HEARD:
        _hear(event, arguments)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not under_way or getattr(of_thread, "busy", False):
        return
    handle = _HANDLERS[event]
    of_thread.busy = True
    try:
        for seen in _observations():
            handle(seen, *arguments)
    except Exception:
        # What is raised here would be raised by the operation that is looked at.
        logger.debug("the audit event %r was not understood", event, exc_info=True)
        for seen in list(under_way):
            seen.effects.append((HIDDEN_FILE, f"the audit event {event!r} was not understood"))
    finally:
        of_thread.busy = False


def _observations() -> list[Observation]:
    seen = getattr(of_thread, "seen", None)
    if seen is not None:
        return [seen]
    origin = getattr(_thread(), _ORIGIN, None)
    if origin is None:
        return []
    seen = origin()
    return [seen] if seen is not None and seen.running else list(under_way)


def _thread() -> Any:
    # current_thread() would make an object for a thread that has none.
    return threading._active.get(threading.get_ident())  # type: ignore[attr-defined]


def _watch_threads() -> None:
    """Let every thread know which observation it was started in; not all Pythons make an event."""
    start = threading.Thread.start

    @functools.wraps(start)
    def started(self: threading.Thread) -> None:
        if under_way:
            for seen in _observations()[:1]:
                setattr(self, _ORIGIN, weakref.ref(seen))
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
    if not under_way:
        return
    protocol = getattr(system, "protocol", "")
    names = (protocol,) if isinstance(protocol, str) else tuple(protocol)
    if {"file", "local"}.isdisjoint(names):
        for seen in _observations():
            seen.remote.update(names)


_HANDLERS: dict[str, Callable[..., None]] = {
    **HANDLERS,
    **{
        event: _outside_of_fsspec(handle)
        for event, handle in HANDLERS.items()
        if event.startswith("socket.")
    },
}
_HEARD = frozenset(_HANDLERS)
