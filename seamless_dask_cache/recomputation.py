"""Having a buffer again by computing it: from the transformations that gave it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

from seamless_dask_cache.buffer import Buffer
from seamless_dask_cache.buffer_cache import get_buffer_cache
from seamless_dask_cache.checksum import BytesLike, Checksum
from seamless_dask_cache.database import DatabaseClient
from seamless_dask_cache.errors import CacheMissError, ConfigurationError
from seamless_dask_cache.local import local_cache
from seamless_dask_cache.rebuilding import Call, NotAtHandError, rebuild
from seamless_dask_cache.resolving import resolve
from seamless_dask_cache.results import dump_result, load_result

logger = logging.getLogger(__name__)


def fingertip(checksum: Checksum) -> Buffer:
    """Give the buffer of a checksum, stored or computed again.

    Raises
    ------
    CacheMissError
        When it is neither to be found nor to be computed; the message tells why.
    """
    try:
        return resolve(checksum)
    except CacheMissError as miss:
        missed = str(miss)
    try:
        found = local_cache().ask(partial(_recomputed, checksum))
    except ConfigurationError:
        raise
    except Exception as error:  # whatever a database may answer
        raise CacheMissError(f"{missed}; nor can it be computed again: {error}") from None
    if found is None:
        raise CacheMissError(f"{missed}; nor can it be computed again: there is no database")
    return found


def _recomputed(checksum: Checksum, client: DatabaseClient) -> Buffer:
    candidates = client.get_rev_transformations(checksum)
    if not candidates:
        raise CacheMissError("no transformation is on record that gave it")
    reasons = []
    for transformation in candidates:
        try:
            return _run(checksum, transformation, _Recomputation(client))
        except NotAtHandError as reason:
            reasons.append(f"{transformation}: {reason}")
    raise CacheMissError("; ".join(reasons))


def _run(checksum: Checksum, transformation: str, recomputation: _Recomputation) -> Buffer:
    started = time.perf_counter()
    buffer = Buffer(recomputation.compute(transformation))
    if buffer.checksum != checksum:
        raise NotAtHandError(f"it gives {buffer.checksum} now")
    cache = get_buffer_cache()
    cache.set_cost(checksum, recomputation=time.perf_counter() - started)
    # Whoever asked for the value does not hold the buffer, and may ask again.
    cache.tempref(checksum, buffer)
    return buffer


class _Recomputation:
    """Computes a transformation, and what is upstream of it as far as that is not stored.

    Parameters
    ----------
    client : DatabaseClient
        Where recipes and results are on record.
    """

    def __init__(self, client: DatabaseClient) -> None:
        self._client = client
        self._calls: dict[str, Call] = {}
        # As buffers: each call gets inputs of its own, which it may change.
        self._contents: dict[str, BytesLike] = {}

    def compute(self, transformation: str) -> bytes:
        """Give the result of a transformation, computed anew.

        Raises
        ------
        NotAtHandError
            When that is not possible; the message says what is missing.
        """
        waiting = [transformation]
        while waiting:
            name = waiting[-1]
            try:
                missing = self._step(name)
            except NotAtHandError as reason:
                if name == transformation:
                    raise
                raise NotAtHandError(f"its input {name}: {reason}") from None
            if not missing:
                waiting.pop()
            elif missing & set(waiting):
                raise NotAtHandError(f"{name} is an input of itself")
            waiting += sorted(missing)
        return bytes(self._contents[transformation])

    def _step(self, name: str) -> set[str]:
        """Compute a transformation if its inputs are there; give those that are not."""
        if name in self._contents:
            return set()
        call = self._calls.get(name)
        if call is None:
            call = self._calls[name] = self._call(name)
            for each in call.inputs - self._contents.keys():
                self._take_stored(each)
        missing = set(call.inputs - self._contents.keys())
        if not missing:
            self._contents[name] = self._result(call)
        return missing

    def _result(self, call: Call) -> bytes:
        try:
            values = {each: load_result(self._contents[each]) for each in call.inputs}
            return dump_result(call.compute(values)).tobytes()
        except Exception as error:  # whatever a user's function raises
            raise NotAtHandError(f"it raised {error!r:.500}") from error

    def _take_stored(self, transformation: str) -> None:
        result = self._client.get_transformation_result(transformation)
        if result is None:
            return
        try:
            self._contents[transformation] = resolve(Checksum(result)).content
        except CacheMissError:
            logger.debug("the result of %s is computed again, too", transformation)

    def _call(self, transformation: str) -> Call:
        found = self._client.recipes(checksums=[transformation])
        if not found:
            raise NotAtHandError("its recipe is not on record")
        try:
            document = orjson.loads(found[0]["recipe"])
            modules, versions = self._modules(document), local_cache().settings.versions
            return rebuild(transformation, document, modules, _value_of_buffer, versions)
        except NotAtHandError:
            raise
        except Exception as error:
            raise NotAtHandError(
                f"its recipe is none that is understood ({error!r:.200})"
            ) from None

    def _modules(self, document: dict[str, Any]) -> list[str]:
        codes = _codes_in(document)
        notes = self._client.notes(codes) if codes else {}
        modules = (note.get("module") for note in notes.values())
        return [module for module in modules if isinstance(module, str)]


def _value_of_buffer(checksum: str, celltype: str) -> Any:
    try:
        return resolve(Checksum(checksum)).get_value(celltype)
    except CacheMissError as miss:
        raise NotAtHandError(str(miss)) from None


def _codes_in(entry: Any) -> list[str]:
    found: list[str] = []
    _visit(entry, found.append)
    return found


def _visit(entry: Any, take: Callable[[str], None]) -> None:
    if isinstance(entry, list):
        for item in entry:
            _visit(item, take)
    elif isinstance(entry, dict):
        code = entry.get("code")
        if isinstance(code, str) and len(code) == 64:
            take(code)
        for item in entry.values():
            _visit(item, take)
