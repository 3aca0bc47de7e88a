"""Storing: run a task, look at what it did, and store its result."""

from __future__ import annotations

import logging
import platform
import resource
import sys
import time
from typing import Any

from dask.sizeof import sizeof

from seamless_dask_cache._version import __version__
from seamless_dask_cache.dask_internals import (
    GraphNode,
    Key,
    attach_to_current_task,
    current_worker,
)
from seamless_dask_cache.errors import CellTypeError
from seamless_dask_cache.identity.distributions import (
    environment,
    environment_checksum,
)
from seamless_dask_cache.identity.effects import PROCESS_STATE, RANDOM
from seamless_dask_cache.observation import Observation, uncovered
from seamless_dask_cache.observation.memos import CHANGES, memos
from seamless_dask_cache.results import dump_result

from .admission import DEFAULT, Terms
from .inner_steps import Watch
from .randomness import drew_randomness, state_at_start, watch_size_estimates
from .wholeness import is_whole_result
from .worker import NAME, WorkerCache

logger = logging.getLogger(__name__)

HOSTNAME = platform.node()
PYTHON_VERSION = platform.python_version()


class StoringTask(GraphNode):  # type: ignore[misc]
    """A task that stores its result after computing it.

    Whatever goes wrong around the computation is logged and forgotten; the value and the exceptions
    of the inner task pass through untouched.

    Parameters
    ----------
    inner : Task
        What is computed.
    code : str
        Checksum of its code, as the scheduler knows it.
    occasion : str
        Names the pass in which the code was identified, for the memo of checked code.
    requested : bool
        Whether a client asked for this result.
    trusted : bool
        Whether the user declared the task pure.
    covers : tuple of (str, str)
        Files that stand in its identity, in which state.
    used : bool
        Whether other tasks use its result, so that its checksum is of interest.
    terms : Terms
        On which terms the result is stored, if no client asked for it.
    """

    __slots__ = (
        "code",
        "covers",
        "inner",
        "occasion",
        "requested",
        "terms",
        "trusted",
        "used",
    )

    def __init__(
        self,
        inner: Any,
        code: str,
        occasion: str,
        requested: bool,
        trusted: bool,
        covers: tuple[tuple[str, str], ...] = (),
        used: bool = False,
        terms: Terms = DEFAULT,
    ):
        self.key = inner.key  # type: ignore[misc]
        self._dependencies = inner.dependencies  # type: ignore[misc]
        self.inner = inner
        self.code = code
        self.occasion = occasion
        self.requested = requested
        self.trusted = trusted
        self.covers = covers
        self.used = used
        self.terms = terms

    def __reduce__(self) -> tuple[Any, ...]:
        return StoringTask, (self.inner, *self._options())

    def _options(self) -> tuple[Any, ...]:
        named = (self.code, self.occasion)
        options = (*named, self.requested, self.trusted, self.covers, self.used)
        return options if self.terms == DEFAULT else (*options, Terms(*self.terms))

    def __repr__(self) -> str:
        return repr(self.inner)

    def copy(self) -> StoringTask:
        """Return a copy."""
        return self._around(self.inner.copy())

    def substitute(self, subs: Any, key: Key | None = None) -> Any:
        """Substitute inputs as the inner task does."""
        return self._around(self.inner.substitute(subs, key=key))

    def _around(self, inner: Any) -> StoringTask:
        return StoringTask(inner, *self._options())

    @property
    def data_producer(self) -> bool:
        """Whether the inner task reads from outside."""
        return bool(self.inner.data_producer)

    @property
    def block_fusion(self) -> bool:
        """Whether Dask must leave the task as it is."""
        return True

    def __call__(self, values: Any = ()) -> Any:
        """Compute the inner task, and store its result where that is worth it."""
        run = self._prepared()
        if run is None:
            return self.inner(values)
        value = run.compute(values)
        facts = self._facts(run, value)
        if facts:
            attach_to_current_task(NAME, facts)
        return value

    def _prepared(self) -> _Run | None:
        try:
            cache = _worker_cache()
            return None if cache is None else _Run(cache, self)
        except BaseException:
            logger.debug("%r runs without the cache", self.key, exc_info=True)
            return None

    def _facts(self, run: _Run, value: Any) -> dict[str, Any]:
        # Storing calls code of the value's classes, which may raise whatever it likes.
        facts: dict[str, Any] = {}
        try:
            facts = run.observed()
            return facts | run.facts(value)
        except CellTypeError as error:
            return facts | {"remark": f"its result could not be stored: {error}"}
        except BaseException as error:
            logger.debug("storing the result of %r failed", self.key, exc_info=True)
            return facts | {"error": type(error).__name__}


class _Run:
    """One execution of a storing task: what was so before, and what is found after."""

    def __init__(self, cache: WorkerCache, task: StoringTask):
        self.cache = cache
        self.task = task
        self.different, self.shared = cache.checked(task)
        self.seen = Observation()
        self.watch = Watch(self.seen)
        watch_size_estimates()
        self.randomness = state_at_start()
        caches = [] if self.shared is None else self.shared.caches
        self.memos = memos.begin(caches, self.seen) if caches else []
        self.usage = _thread_usage()
        self.started = time.perf_counter()
        self.seconds = 0.0

    def compute(self, values: Any) -> Any:
        self.seen.note_named(values.values() if values else ())
        try:
            value = self.seen.run(self.watch.run, self.task.inner, values)
        finally:
            self.seconds = time.perf_counter() - self.started
            if self.memos:
                memos.end(self.memos, self.seen)
        return value

    def observed(self) -> dict[str, Any]:
        """Return what the run was seen to read; to be asked once, after it."""
        covers = self.task.covers
        self.seen.settle(covers)
        facts: dict[str, Any] = {"observed": True, "took": self.seconds}
        reads = uncovered(self.seen.reads, covers)
        if reads:
            facts["reads"] = reads
        if self.seen.remote and not self.task.trusted:
            facts["remote"] = sorted(self.seen.remote)
        return facts

    def facts(self, value: Any) -> dict[str, Any]:
        """Return what the scheduler should know of this run; may store the result."""
        if self.different is not None:
            return {"effect": self.different, "remark": self.different}
        if self.seen.unstable is not None:
            return {"effect": self.seen.unstable, "remark": self.seen.unstable}
        changed = self.changed()
        if changed is not None and PROCESS_STATE not in self.cache.policy.allow_effects:
            return {"effect": f"{PROCESS_STATE}: {CHANGES} ({changed})", "lasting": True}
        seen = None if self.task.trusted else self.seen.effect(self.cache.policy.allow_effects)
        if seen is not None:
            return {"effect": seen, "lasting": True, "of_code": True}
        effect = self.effect(value)
        if effect is not None:
            return {"effect": effect, "lasting": True}
        policy = self.cache.policy
        if policy.read_only:
            return {}
        nbytes = sizeof(value) if self.task.used or not self.task.requested else 0
        size = {"size": nbytes} if nbytes else {}
        asked, storing = self.task.requested, self.cache.pace.seconds(nbytes)
        if self.task.terms.admit(policy, self.seconds, nbytes, requested=asked, storing=storing):
            return size | self.store(value)
        if self.task.used and policy.worth_naming(self.seconds, nbytes):
            return size | self.name(value)
        return size

    def name(self, value: Any) -> dict[str, Any]:
        """Return the checksum that the result would be stored under."""
        try:
            buffer = dump_result(value, allow_pickle=self.cache.policy.allow_pickle)
        except CellTypeError:  # nobody expects it to be stored
            return {}
        return {
            "named": buffer.checksum,
            "nbytes": buffer.nbytes,
            "seconds": self.seconds,
            "whole": is_whole_result(buffer),
        }

    def changed(self) -> str | None:
        # Who vouches for a task says that nobody misses this; what was read to fill a memory is on
        # record, and later calls with the memory filled are other code.
        if self.shared is None or self.task.trusted:
            return None
        return self.shared.changed()

    def effect(self, value: Any) -> str | None:
        if self.task.trusted:
            return None
        if value is None or self.watch.nothing:
            return "effect: it returned None, so it was called for what it does"
        if hasattr(type(value), "__next__"):
            return "stateful: its result is an iterator, which is used up by whoever reads it"
        if RANDOM not in self.cache.policy.allow_effects and drew_randomness(self.randomness):
            return "random: it drew from numpy's global generator while running"
        return None

    def store(self, value: Any) -> dict[str, Any]:
        policy, started = self.cache.policy, time.perf_counter()
        buffer = dump_result(value, allow_pickle=policy.allow_pickle)
        if buffer.nbytes > policy.max_bytes:
            return {}
        inline = buffer.nbytes <= policy.inline_bytes
        # A result that is not inline gets its checksum while it is written.
        checksum = buffer.checksum if inline else buffer.store_in(self.cache.store)
        if not inline:
            self.cache.pace.note(buffer.nbytes, time.perf_counter() - started)
        facts: dict[str, Any] = {
            "result": checksum,
            "format": buffer.format,
            "nbytes": buffer.nbytes,
            "seconds": self.seconds,
            "whole": is_whole_result(buffer),
            "record": self.record(),
        }
        if facts["record"]["environment"] != self.cache.told:
            self.cache.told = facts["record"]["environment"]
            facts["environment"] = environment()
        if inline:
            facts["content"] = buffer.tobytes()
        return facts

    def record(self) -> dict[str, Any]:
        """Return the execution record, but for the checksums, which the scheduler adds."""
        user, system, peak = _thread_usage()
        return {
            "schema_version": 1,
            "seamless_version": f"seamless-dask-cache {__version__}",
            "execution_mode": "dask",
            "remote_target": None,
            "wall_time_seconds": self.seconds,
            "cpu_time_user_seconds": user - self.usage[0],
            "cpu_time_system_seconds": system - self.usage[1],
            "memory_peak_bytes": peak,
            "gpu_memory_peak_bytes": None,
            "hostname": HOSTNAME,
            "python_version": PYTHON_VERSION,
            "environment": environment_checksum(),
        }


def _worker_cache() -> WorkerCache | None:
    worker = current_worker()
    plugin = None if worker is None else worker.plugins.get(NAME)
    return plugin if isinstance(plugin, WorkerCache) else None


def _thread_usage() -> tuple[float, float, int]:
    usage = resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF))
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_utime, usage.ru_stime, usage.ru_maxrss * unit
