"""Expressions: a part of a value, as another cell type, named by checksums."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

from seamless_dask_cache.buffer import Buffer
from seamless_dask_cache.buffer_cache import get_buffer_cache
from seamless_dask_cache.celltypes import check_celltype, deserialize
from seamless_dask_cache.celltypes.conversions import check_allowed
from seamless_dask_cache.checksum import Checksum
from seamless_dask_cache.conversion import convert
from seamless_dask_cache.errors import CacheMissError, CellTypeError, ExpressionError
from seamless_dask_cache.local import INLINE_BYTES, local_cache
from seamless_dask_cache.resolving import resolve

logger = logging.getLogger(__name__)

WITH_PATHS = ("plain", "mixed", "binary")
"""Cell types of which a part can be taken."""

_LONGEST_PATH = 100
"""Characters that a database keeps."""
_MOST_RESULTS = 10_000

Step = str | int | slice


@dataclasses.dataclass(frozen=True)
class Expression:
    """A part of the value that a checksum names, as another cell type.

    Parameters
    ----------
    checksum : Checksum, str or bytes
        Of the buffer that it starts from.
    path : sequence of str, int and slice
        Where the part is, outermost first: keys of dicts and names of fields, indices and slices
        of lists and arrays. Empty for the whole value.
    celltype : str
        Of that buffer; "plain", "mixed" or "binary" where there is a path.
    target_celltype : str, optional
        Of the result; `celltype` by default.

    Raises
    ------
    CellTypeError
        For an unknown cell type, one that has no parts, or a forbidden conversion.
    TypeError
        For a path of anything else.

    Notes
    -----
    Results are remembered by their checksums: in this process, and in the database where there is
    one and the path has at most 100 characters as JSON. Small ones are kept there, too. A database
    that does not answer is done without; what it answers is taken for true: who may write to it is
    trusted.

    Examples
    --------
    >>> from seamless_dask_cache import Buffer
    >>> buffer = Buffer({"a": [10, 20, 30]}, "plain")
    >>> Expression(buffer.checksum, ["a", slice(1, None)], "plain").evaluate()
    [20, 30]
    >>> Expression(buffer.checksum, ["a", 0], "plain", "str").evaluate()
    '10'
    """

    checksum: Checksum
    path: tuple[Step, ...]
    celltype: str
    target_celltype: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "checksum", Checksum(self.checksum))
        object.__setattr__(self, "path", _checked_path(self.path))
        object.__setattr__(self, "target_celltype", self.target_celltype or self.celltype)
        check_celltype(self.celltype)
        if self.path and self.celltype not in WITH_PATHS:
            raise ExpressionError(
                f"a path leads into {', '.join(WITH_PATHS)}, not into {self.celltype!r}"
            )
        check_allowed(self.celltype, self.target_celltype)

    def evaluate(self) -> Any:
        """Return the part, as a value of the target cell type that shares nothing.

        Raises
        ------
        CacheMissError
            When neither its buffer nor the one that it starts from is to be had.
        ExpressionError
            When the path leads nowhere; the message says where it ends.
        CellTypeError
            When a buffer is not of its cell type.
        ConversionError
            When it cannot become the target cell type.

        Notes
        -----
        This blocks while stores are read; in an event loop, await `evaluation` instead.
        """
        try:
            return self.get_buffer().get_value(self.target_celltype)
        except CellTypeError:
            if self._known() is None:
                raise
        # What was recorded is wrong.
        return self._anew().get_value(self.target_celltype)

    async def evaluation(self) -> Any:
        """Do as `evaluate`, without blocking the event loop."""
        import asyncio

        return await asyncio.to_thread(self.evaluate)

    def get_buffer(self) -> Buffer:
        """Return the buffer of the part; raises as `evaluate` does."""
        known = self._known()
        if known is not None:
            try:
                return resolve(known)
            except CacheMissError:
                logger.debug("the result of %s is known, and not to be had", self)
        return self._anew()

    def get_checksum(self) -> Checksum:
        """Return the checksum of the part; where that is known, nothing is read."""
        return self._known() or self.get_buffer().checksum

    def _anew(self) -> Buffer:
        result = self._compute()
        get_buffer_cache().tempref(result.checksum, result)
        if self._known() != result.checksum:
            _remember(self, result.checksum)
            self._record(result)
        return result

    def _compute(self) -> Buffer:
        source = resolve(self.checksum)
        if self.path:
            source = Buffer(_part(source, self.path, self.celltype), self.celltype)
        return convert(source, self.celltype, self.target_celltype)

    # What is known --------------------------------------------------------------------------------

    def _known(self) -> Checksum | None:
        known = _results.get(self)
        if known is None and self._is_recorded():
            known = _asked(lambda client: _as_checksum(client.get_expression(*self._key())))
            if known is not None:
                _remember(self, known)
        return known

    def _record(self, result: Buffer) -> None:
        if not self._is_recorded():
            return
        _asked(lambda client: client.set_expression(*self._key(), result.checksum))
        if len(result) <= INLINE_BYTES:
            _asked(lambda client: client.put_buffer(result.checksum, bytes(result.content)))

    def _is_recorded(self) -> bool:
        is_itself = not self.path and self.celltype == self.target_celltype
        return not is_itself and len(json.dumps(self._json_path())) <= _LONGEST_PATH

    def _key(self) -> tuple[Any, ...]:
        return self.checksum, self._json_path(), self.celltype, self.target_celltype

    def _json_path(self) -> list[Any]:
        return [
            {"slice": [step.start, step.stop, step.step]} if isinstance(step, slice) else step
            for step in self.path
        ]

    def __hash__(self) -> int:  # slices have none before Python 3.12
        return hash((self.checksum, repr(self.path), self.celltype, self.target_celltype))


_results: dict[Expression, Checksum] = {}
_results_lock = threading.Lock()


def _remember(expression: Expression, result: Checksum) -> None:
    with _results_lock:
        _results.pop(expression, None)
        _results[expression] = result
        if len(_results) > _MOST_RESULTS:
            del _results[next(iter(_results))]


def _asked(question: Callable[[Any], Any]) -> Any:
    try:
        return local_cache().ask(question)
    except Exception as error:  # whatever it may answer, and however it is configured
        logger.info("the database does not answer: %s", error)
        return None


def _as_checksum(answer: str | None) -> Checksum | None:
    return None if answer is None else Checksum(answer)


# Paths --------------------------------------------------------------------------------------------


def _checked_path(path: object) -> tuple[Step, ...]:
    if not isinstance(path, list | tuple):
        raise TypeError(f"a path is a list of keys, indices and slices, not {path!r}")
    for step in path:
        if isinstance(step, bool) or not isinstance(step, str | int | slice):
            raise TypeError(f"a path has keys, indices and slices in it, not {step!r}")
        if isinstance(step, slice):
            _check_slice(step)
    return tuple(path)


def _check_slice(step: slice) -> None:
    for bound in (step.start, step.stop, step.step):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int)):
            raise TypeError(f"a slice has int or None in it, not {bound!r}")


def _part(buffer: Buffer, path: tuple[Step, ...], celltype: str) -> Any:
    value = _readable(buffer, celltype)
    for position, step in enumerate(path):
        try:
            value = _follow(value, step)
        except (LookupError, ValueError, TypeError) as error:
            way = "".join(f"[{earlier!r}]" for earlier in path[:position])
            raise ExpressionError(
                f"the path ends before [{step!r}]: the value{way} is {_kind(value)} ({error})"
            ) from None
    return value


def _readable(buffer: Buffer, celltype: str) -> Any:
    """Give a value to take a part of; an array is not copied for that."""
    if celltype != "binary":
        return deserialize(buffer.content, celltype)
    from seamless_dask_cache.celltypes.binary import view_binary

    return view_binary(buffer.content)


def _follow(value: Any, step: Step) -> Any:
    if isinstance(value, dict):
        if not isinstance(step, str):
            raise TypeError("it has keys, which are str")
        return value[step]
    if isinstance(value, list):
        if isinstance(step, str):
            raise TypeError("it has indices, which are int")
        return value[step]
    if hasattr(value, "dtype") and (value.ndim or value.dtype.names is not None):
        return value[step]
    raise TypeError("it has no parts")


def _kind(value: Any) -> str:
    if hasattr(value, "dtype"):
        return f"an array of {value.dtype} and shape {value.shape}"
    return f"of type {type(value).__name__}"
