"""The worker's half: what it needs to store and restore, and its look at the code that it runs."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from distributed import WorkerPlugin

from seamless_dask_cache.dask_internals import (
    Key,
)
from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.describer import Describer
from seamless_dask_cache.identity.recipe import Identity
from seamless_dask_cache.observation import apart, watch
from seamless_dask_cache.observation.memos import Shared
from seamless_dask_cache.results import load_result
from seamless_dask_cache.storage import BufferStore

from .admission import StoringPace
from .loading import Loading
from .policy import Policy

logger = logging.getLogger(__name__)

NAME = "seamless-dask-cache"
CONTENT = "seamless_dask_cache_content"
MAX_CHECKED = 10_000
MAX_SHARING = 64


if TYPE_CHECKING:
    from .storing import StoringTask


class WorkerCache(WorkerPlugin):  # type: ignore[misc]
    """What a worker needs to store and restore: the buffer store and the settings.

    Parameters
    ----------
    store : BufferStore
        Where buffers live.
    policy : Policy
        The settings.

    Notes
    -----
    Shared by all task threads of a worker. Its mutable state is the memo of checked code, the
    environment that the scheduler was told of, and the pace of storing, whose single operations are
    atomic; two threads may at worst check the same code, or tell, twice.
    """

    name = NAME

    def __init__(self, store: BufferStore, policy: Policy):
        self.store = store
        self.policy = policy
        self.told = ""
        self.pace = StoringPace()
        self._checked: OrderedDict[tuple[str, str], Checked] = OrderedDict()
        self._sharing: OrderedDict[tuple[str, str], Checked] = OrderedDict()

    def setup(self, worker: Any) -> None:
        """Join a worker."""
        self._checked, self._sharing = OrderedDict(), OrderedDict()
        self.told = ""
        self._worker = worker
        if self.policy.observe:
            watch()
        worker.handlers[CONTENT] = self._content
        self._loading = Loading(worker, self._loaded, self.policy.patience)
        self._loading.join()

    def teardown(self, worker: Any) -> None:
        """Leave a worker."""
        worker.handlers.pop(CONTENT, None)
        self._loading.leave()

    async def _content(self, key: Key) -> str | None:
        """Return the value checksum of data that this worker holds; None when it has none."""
        data = self._worker.data
        if key not in data:
            return None
        return await asyncio.to_thread(apart, _value_checksum, data[key])

    def _loaded(self, items: list[tuple[Key, str, bytes | None]]) -> dict[Key, Any]:
        values = {}
        for key, result, content in items:
            try:
                buffer = self.store.get(result) if content is None else content
                if buffer is not None:
                    values[key] = load_result(buffer, allow_pickle=self.policy.allow_pickle)
            except Exception as error:
                logger.info("%r is not loaded in bulk: %s", key, error)
        return values

    def checked(self, task: StoringTask) -> Checked:
        """Look at the code that this worker is about to run.

        Notes
        -----
        Asked once per occasion and code: within graphs that were identified in one pass, what
        arrives by value is the same, and what is imported is taken to stay as it is.
        """
        name = (task.occasion, task.code)
        known = self._checked.get(name) or self._sharing.get(name)
        if known is not None and (known.shared is None or known.shared.changed() is None):
            return known
        found = self._check(task)
        # What is shared stays alive here, so only little of it is kept.
        kept = self._checked if found.shared is None else self._sharing
        while len(kept) >= (MAX_CHECKED if found.shared is None else MAX_SHARING):
            kept.popitem(last=False)
        kept[name] = found
        return found

    def _check(self, task: StoringTask) -> Checked:
        identifier = Identifier(versions=self.policy.versions)
        shared = Shared(identifier)
        try:
            mine = Describer(identifier, trusted=True).identify(task.inner, _any_input)
        except Exception as error:
            return Checked(f"the worker cannot identify the code that it runs: {error}")
        if mine.code == task.code:
            return Checked(None, shared.close())
        return Checked(f"the worker holds other code than the scheduler for {mine.function}")


class Checked(NamedTuple):
    """What a worker found out about the code of a task.

    Attributes
    ----------
    difference : str or None
        How it differs from what the scheduler identified; None when it does not.
    shared : Shared or None
        What it shares with later calls.
    """

    difference: str | None
    shared: Shared | None = None


def _value_checksum(value: Any) -> str | None:
    try:
        return Describer(Identifier()).content(value)
    except BaseException:  # users' classes may raise SystemExit, which would end the event loop
        return None


def _any_input(key: Key) -> Identity:
    return Identity("0" * 64, b"", "", "")
