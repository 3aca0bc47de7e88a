"""What an audit runs on workers: a task computed anew, compared, and not stored."""

from __future__ import annotations

from typing import Any, NamedTuple

from seamless_dask_cache.dask_internals import attach_to_current_task
from seamless_dask_cache.errors import CellTypeError
from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.describer import Describer
from seamless_dask_cache.results import ResultBuffer, dump_result, load_result
from seamless_dask_cache.storage import BufferStore

from .storing import StoringTask
from .worker import WorkerCache

VERDICT = "seamless-dask-cache-audit"
"""Name of what is attached to the task."""


class OnRecord(NamedTuple):
    """A result on record, to compare with.

    Attributes
    ----------
    result : str
        Checksum.
    content : bytes or None
        Its buffer, where that is small enough to travel along.
    """

    result: str
    content: bytes | None


class AuditTask(StoringTask):
    """A task that computes, compares what comes out with what is on record, and keeps neither.

    The verdict is attached to the task: ``same`` (bool) and ``result`` (checksum); or ``unclear``,
    the reason why its result cannot be compared; or ``error``, what the computation raised. The
    value of the task is None.

    Parameters
    ----------
    task : StoringTask
        What is computed, as the scheduler would have it stored.
    on_record : OnRecord
        What it gave before.
    """

    __slots__ = ("on_record",)

    def __init__(self, task: StoringTask, on_record: OnRecord):
        super().__init__(task.inner, *task._options())
        self.on_record = on_record

    def __reduce__(self) -> tuple[Any, ...]:
        return AuditTask, (StoringTask(self.inner, *self._options()), self.on_record)

    def _around(self, inner: Any) -> AuditTask:
        return AuditTask(StoringTask(inner, *self._options()), self.on_record)

    def __call__(self, values: Any = ()) -> Any:
        """Compute the inner task, and attach the verdict."""
        attach_to_current_task(VERDICT, self._verdict(values))

    def _verdict(self, values: Any) -> dict[str, Any]:
        run = self._prepared()
        if run is None:
            return {"unclear": "it ran where it could not be observed"}
        cache = run.cache
        # What an audit finds must not be stored, nor named as the result of anything.
        run.cache = WorkerCache(cache.store, cache.policy.updated(read_only=True))
        try:
            value = run.compute(values)
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}
        facts = self._facts(run, value)
        if "effect" in facts:
            return {"unclear": facts["effect"]}
        if "error" in facts:
            return {"unclear": f"looking at its result raised {facts['error']}"}
        return self._compared(cache, value)

    def _compared(self, cache: WorkerCache, value: Any) -> dict[str, Any]:
        try:
            buffer = dump_result(value, allow_pickle=cache.policy.allow_pickle)
            return compared(buffer, value, self.on_record, cache.store)
        except CellTypeError as error:
            return {"unclear": f"its result cannot be compared: {error}"}
        # Pickling and loading call code of the value's classes, which may raise whatever it likes.
        except BaseException as error:
            return {"unclear": f"comparing its result raised {type(error).__name__}"}


def compared(
    buffer: ResultBuffer, value: Any, on_record: OnRecord, store: BufferStore
) -> dict[str, Any]:
    """Compare a result with the one on record, by bytes and, where these may mislead, by value.

    Parameters
    ----------
    buffer : ResultBuffer
        Of the new result.
    value : object
        The new result.
    on_record : OnRecord
        The earlier one.
    store : BufferStore
        Where its buffer lives, if it did not come along.

    Returns
    -------
    dict
        As `AuditTask` attaches it.

    Notes
    -----
    Plain and binary buffers are canonical: one value, one buffer. A pickle is not, so two pickles
    of equal values may differ; these are loaded and compared by their canonical encoding.
    """
    if buffer.checksum == on_record.result:
        return {"same": True, "result": buffer.checksum}
    different = {"same": False, "result": buffer.checksum}
    if buffer.format != "pickle":
        return different
    content = on_record.content if on_record.content is not None else store.get(on_record.result)
    if content is None:
        return {"unclear": "its result has other bytes, and what is on record is gone"}
    try:
        earlier = Describer(Identifier()).content(load_result(content))
        later = Describer(Identifier()).content(value)
    except Exception:
        return {"unclear": "its result has other bytes, and cannot be compared by value"}
    return {"same": True, "result": buffer.checksum} if earlier == later else different
