"""One lock object for each lock file, in each process."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path

from filelock import FileLock

_guard = threading.Lock()
_locks: weakref.WeakValueDictionary[tuple[int, str], FileLock] = weakref.WeakValueDictionary()


def lock_of(path: Path) -> FileLock:
    """Give the lock of a file: always the same one, as long as somebody keeps it.

    A thread may hold it several times, and threads exclude each other. A process that was forked
    has locks of its own.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.gettempdir(), "example.lock")
    >>> lock = lock_of(path)
    >>> lock_of(path) is lock
    True
    """
    real = path.parent.resolve() / path.name
    with _guard:
        name = os.getpid(), str(real)
        lock = _locks.get(name)
        if lock is None:
            lock = _locks[name] = FileLock(real)
        return lock


def _forget_after_fork() -> None:
    global _guard
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
