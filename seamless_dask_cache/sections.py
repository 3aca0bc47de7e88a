"""Locks whose sections do not nest: what comes while one runs, comes after it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Section:
    """A lock, of which the thread that holds it may still be interrupted by itself.

    A garbage collection can run anywhere in a section, and with it the ``__del__`` of a user's
    object, which may ask for the same section. An ordinary lock would wait forever, a reentrant one
    would let it in halfway through a change. Here such a call is put off: see `put_off`.

    Notes
    -----
    Thread-safe. Sections that only read may nest.
    """

    __slots__ = ("_depth", "_lock", "_put_off", "_running")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._running = False
        self._put_off: deque[Callable[[], object]] = deque()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        is_outermost = not self._depth
        self._lock.release()
        # Each of them enters the section by itself, and leaves the others to this loop.
        while is_outermost and self._put_off and not self._running:
            self._running = True
            try:
                while self._put_off:
                    self._run(self._put_off.popleft())
            except IndexError:  # another thread took the last one
                pass
            finally:
                self._running = False

    def put_off(self, call: Callable[[], object]) -> bool:
        """Let a call wait for the end of the section that this thread is in, if it is in one.

        Returns
        -------
        bool
            False if it is in none: then the call is still to be made.
        """
        if not self._depth:  # nobody is in one, so this thread is not
            return False
        with self._lock:
            if self._depth:
                self._put_off.append(call)
            return self._depth > 0

    @staticmethod
    def _run(call: Callable[[], object]) -> None:
        try:
            call()
        except Exception:
            logger.exception("a call that had to wait failed")
