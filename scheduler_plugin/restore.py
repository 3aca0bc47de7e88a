"""Restoring: bring a cached result back, and heal what turns out to be missing."""

from __future__ import annotations

import logging
import time
from typing import Any

from seamless_dask_cache.dask_internals import (
    GraphNode,
    Key,
    ask_plugin,
    attach_to_current_task,
    run_again,
)
from seamless_dask_cache.errors import CacheMissError
from seamless_dask_cache.results import load_result
from seamless_dask_cache.storage import BufferStore

from .wholeness import is_whole
from .worker import NAME

logger = logging.getLogger(__name__)

_NO_INPUTS: frozenset[Key] = frozenset()


class RestoreTask(GraphNode):  # type: ignore[misc]
    """A task that loads its result instead of computing it.

    Should the buffer be missing, corrupt or unreadable, the task asks the scheduler's plugin to put
    the original task in its place, and gives itself back to be started again as that.

    Parameters
    ----------
    key : key
        The key of the original task.
    transformation, result : str
        Checksums.
    content : bytes or None
        The buffer, where it is small enough to travel along.
    store : BufferStore
        Where the buffer lives otherwise.
    allow_pickle : bool
        Whether a result that is a pickle may be loaded.
    """

    __slots__ = ("allow_pickle", "content", "result", "store", "transformation")

    def __init__(
        self,
        key: Key,
        transformation: str,
        result: str,
        content: bytes | None,
        store: BufferStore,
        allow_pickle: bool = True,
    ):
        self.key = key  # type: ignore[misc]
        self._dependencies = _NO_INPUTS  # type: ignore[misc]
        self.transformation = transformation
        self.result = result
        self.content = content
        self.store = store
        self.allow_pickle = allow_pickle

    def __reduce__(self) -> tuple[Any, ...]:
        store = None if self.content is not None else self.store
        arguments = (self.key, self.transformation, self.result, self.content, store)
        return RestoreTask, (*arguments, self.allow_pickle)

    def __repr__(self) -> str:
        return f"<RestoreTask {self.key!r} {self.result[:12]}>"

    def copy(self) -> RestoreTask:
        """Return a copy."""
        return self._as(self.key)

    def substitute(self, subs: Any, key: Key | None = None) -> RestoreTask:
        """Return the task under another key; it has no inputs to substitute."""
        return self if key is None or key == self.key else self._as(key)

    def _as(self, key: Key) -> RestoreTask:
        arguments = (self.transformation, self.result, self.content, self.store)
        return RestoreTask(key, *arguments, self.allow_pickle)

    @property
    def block_fusion(self) -> bool:
        """Whether Dask must leave the task as it is."""
        return True

    def __call__(self, values: Any = ()) -> Any:
        """Load the result, or make way for the original task."""
        started = time.perf_counter()
        try:
            buffer = self._buffer()
            value = load_result(buffer, allow_pickle=self.allow_pickle)
        except Exception as error:
            return self._heal(error)
        took = time.perf_counter() - started
        facts = {"restored": len(buffer), "took": took, "whole": is_whole(buffer)}
        attach_to_current_task(NAME, facts)
        return value

    def _buffer(self) -> Any:
        if self.content is not None:
            return self.content
        buffer = self.store.get(self.result)
        if buffer is None:
            raise CacheMissError(f"no buffer {self.result}")
        return buffer

    def _heal(self, error: Exception) -> Any:
        logger.info("recomputing %r: its cached result is not usable (%s)", self.key, error)
        facts = {
            "key": self.key,
            "transformation": self.transformation,
            "result": self.result,
            "gone": isinstance(error, CacheMissError),
        }
        if not ask_plugin("heal", facts):
            raise error
        return run_again()
