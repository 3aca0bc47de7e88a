"""One thread at a time for each key; the others wait for their turn."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class _Turn:
    """The lock of one key; there while somebody holds it or waits for it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    holder: int | None = None


class Turns:
    """A lock for each key, made when it is asked for and gone when nobody needs it.

    Notes
    -----
    Thread-safe. A thread that would wait for itself, be it by way of others, gets an error: there
    is an edge from each waiting thread to the one that holds what it waits for, and a circle of
    those would never end. What a thread has handed to another one and waits for is not seen.

    Examples
    --------
    >>> turns = Turns()
    >>> with turns.of("a"), turns.of("b"):
    ...     turns.of("a").__enter__()
    Traceback (most recent call last):
    ...
    RuntimeError: 'a' is needed to compute itself
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._turns: dict[str, _Turn] = {}
        self._awaited: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._turns)

    @contextlib.contextmanager
    def of(self, key: str, name: str | None = None) -> Iterator[None]:
        """Wait until no other thread has the turn of a key, and have it meanwhile.

        Parameters
        ----------
        key : str
        name : str, optional
            For the message.

        Raises
        ------
        RuntimeError
            When this thread has it already, or the thread that has it waits for this one.
        """
        turn = self._join(key, name or repr(key))
        try:
            with turn.lock:
                self._begin(turn)
                try:
                    yield
                finally:
                    turn.holder = None
        finally:
            self._leave(key, turn)

    def _join(self, key: str, name: str) -> _Turn:
        me = threading.get_ident()
        with self._guard:
            if self._waits_for(key, me):
                raise RuntimeError(f"{name} is needed to compute itself")
            turn = self._turns.setdefault(key, _Turn())
            turn.users += 1
            self._awaited[me] = key
            return turn

    def _waits_for(self, key: str, me: int) -> bool:
        """Tell whether a thread would wait for itself; the circle is closed by who comes last."""
        wanted: str | None = key
        while wanted is not None:
            turn = self._turns.get(wanted)
            if turn is None or turn.holder is None:
                return False
            if turn.holder == me:
                return True
            wanted = self._awaited.get(turn.holder)
        return False

    def _begin(self, turn: _Turn) -> None:
        me = threading.get_ident()
        with self._guard:
            turn.holder = me
            self._awaited.pop(me, None)

    def _leave(self, key: str, turn: _Turn) -> None:
        with self._guard:
            self._awaited.pop(threading.get_ident(), None)
            turn.users -= 1
            if not turn.users:
                del self._turns[key]


TURNS = Turns()
"""Those of all stores: a circle may go through several."""


def _begin_anew() -> None:
    # The threads that had them are not in the child.
    TURNS.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
