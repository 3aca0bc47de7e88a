"""Clients of a Seamless database: `AsyncDatabaseClient`, and `DatabaseClient` for threads.

The asynchronous one stands in ``database_async``, which describes requests and errors; the
synchronous one runs it on an event loop in a thread, which all clients of a process share.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from .database_async import AsyncDatabaseClient
from .database_messages import (
    MAX_CUTOFFS,
    Cost,
    CutoffRow,
    LeaseAnswer,
    Lookup,
    LookupAnswer,
    StoreItem,
    StoreReport,
)
from .database_published import Record

__all__ = [
    "AsyncDatabaseClient",
    "Cost",
    "DatabaseClient",
    "LeaseAnswer",
    "Lookup",
    "LookupAnswer",
    "StoreItem",
    "StoreReport",
]

T = TypeVar("T")


class _Background:
    """An event loop in a thread, which the synchronous clients of a process share."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self.loop.run_forever, name="sdc-database", daemon=True
        )
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("the synchronous client cannot be used inside its own event loop")
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:  # such as Ctrl-C: nobody waits for the answer any more
            future.cancel()
            raise

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5.0)
        if not self._thread.is_alive():
            self.loop.close()


_lock = threading.Lock()
_background: _Background | None = None
_clients: weakref.WeakSet[DatabaseClient] = weakref.WeakSet()
_abandoned: list[object] = []


def _get_background() -> _Background:
    global _background
    with _lock:
        if _background is None:
            _background = _Background()
        return _background


def _forget_after_fork() -> None:
    """Start anew in a forked child, where the thread is gone.

    Loop and sessions are kept aside, unused and unclosed: they share their file descriptors with
    the parent, and closing them here would disturb the parent's loop.
    """
    global _background, _lock
    _lock = threading.Lock()
    _abandoned.append(_background)
    _background = None
    for client in list(_clients):
        _abandoned.append(client._start_anew())


def _stop_at_exit() -> None:
    global _background
    for client in list(_clients):
        client.close()
    if _background is not None:
        _background.stop()
        _background = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
atexit.register(_stop_at_exit)


class DatabaseClient:
    """Talks to a database from ordinary code; usable from any thread, also after a fork.

    Parameters
    ----------
    url, token, timeout, retries, ca_file
        As for `AsyncDatabaseClient`, whose methods it has; they are described there.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout: float = 10.0,
        *,
        retries: int = 3,
        ca_file: str | os.PathLike[str] | None = None,
    ):
        self._make = partial(
            AsyncDatabaseClient, url, token, timeout, retries=retries, ca_file=ca_file
        )
        self._client = self._make()
        self.url = self._client.url
        _clients.add(self)

    def __enter__(self) -> DatabaseClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        return partial(DatabaseClient, *self._make.args, **self._make.keywords), ()

    def _start_anew(self) -> AsyncDatabaseClient:
        previous, self._client = self._client, self._make()
        return previous

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return _get_background().run(work)

    def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        if self._client._session is not None:
            self._run(self._client.close())

    def healthcheck(self) -> None:
        """Return when the server answers, else raise `DatabaseUnavailableError`."""
        self._run(self._client.healthcheck())

    def get_protocol(self) -> list[str]:
        """Give name, kind and version of the protocol; also tells whether the token is right."""
        return self._run(self._client.get_protocol())

    def get_transformation_result(self, tf_checksum: object) -> str | None:
        """Give the result of a transformation."""
        return self._run(self._client.get_transformation_result(tf_checksum))

    def set_transformation_result(self, tf_checksum: object, result_checksum: object) -> None:
        """Set the result of a transformation."""
        self._run(self._client.set_transformation_result(tf_checksum, result_checksum))

    def get_rev_transformations(self, result_checksum: object) -> list[str] | None:
        """Give the transformations that have this result."""
        return self._run(self._client.get_rev_transformations(result_checksum))

    def get_execution_record(self, tf_checksum: object) -> Record | None:
        """Give the execution record of a transformation."""
        return self._run(self._client.get_execution_record(tf_checksum))

    def set_execution_record(
        self, tf_checksum: object, result_checksum: object, record: Mapping[str, Any]
    ) -> None:
        """Record an execution and its result; the first record of a transformation stays."""
        self._run(self._client.set_execution_record(tf_checksum, result_checksum, record))

    def undo_transformation_result(self, tf_checksum: object, result_checksum: object) -> bool:
        """Contest a result: its transformation is irreproducible from now on."""
        return self._run(self._client.undo_transformation_result(tf_checksum, result_checksum))

    def get_irreproducible_records(
        self, tf_checksum: object, result_checksum: object = None
    ) -> list[Record] | None:
        """Give the contested results of a transformation, or one of them."""
        return self._run(self._client.get_irreproducible_records(tf_checksum, result_checksum))

    def get_buffer_info(self, checksum: object) -> Record | None:
        """Give what is known of a buffer, as `BufferInfo.from_dict` takes it."""
        return self._run(self._client.get_buffer_info(checksum))

    def set_buffer_info(self, checksum: object, buffer_info: Mapping[str, Any]) -> None:
        """Add to what is known of a buffer, such as `BufferInfo.as_dict` gives."""
        self._run(self._client.set_buffer_info(checksum, buffer_info))

    def get_expression(
        self, checksum: object, path: Sequence[Any], celltype: str, target_celltype: str
    ) -> str | None:
        """Give the result of an expression."""
        return self._run(self._client.get_expression(checksum, path, celltype, target_celltype))

    def set_expression(
        self,
        checksum: object,
        path: Sequence[Any],
        celltype: str,
        target_celltype: str,
        result_checksum: object,
    ) -> None:
        """Set the result of an expression; its path has at most 100 characters as JSON."""
        work = self._client.set_expression(
            checksum, path, celltype, target_celltype, result_checksum
        )
        self._run(work)

    def get_bucket_probe(self, bucket_kind: str, label: str) -> Record | None:
        """Give the current probe of a bucket."""
        return self._run(self._client.get_bucket_probe(bucket_kind, label))

    def set_bucket_probe(
        self,
        bucket_kind: str,
        label: str,
        bucket_checksum: object,
        freshness_tokens: Mapping[str, Any],
        captured_at: str,
    ) -> None:
        """Set the current probe of a bucket."""
        self._run(
            self._client.set_bucket_probe(
                bucket_kind, label, bucket_checksum, freshness_tokens, captured_at
            )
        )

    def lookup(
        self, transformations: Iterable[object], inline: bool = True
    ) -> dict[str, LookupAnswer]:
        """Look up many transformations in one request."""
        return self._run(self._client.lookup(transformations, inline))

    def look_up(
        self,
        transformations: Iterable[object],
        codes: Iterable[object] = (),
        inputs: Iterable[object] = (),
    ) -> Lookup:
        """Look up many transformations, what some codes cost so far, and what is irreproducible."""
        return self._run(self._client.look_up(transformations, codes, inputs))

    def cutoffs(
        self, skeletons: Iterable[object], inline: bool = True, limit: int = MAX_CUTOFFS
    ) -> dict[str, dict[str, LookupAnswer]]:
        """Give what is known about computations with these recipes, whatever their inputs."""
        return self._run(self._client.cutoffs(skeletons, inline, limit))

    def store(
        self,
        items: Iterable[StoreItem | Mapping[str, Any]],
        forget: Iterable[object] = (),
        recipes: Iterable[Mapping[str, str]] = (),
        notes: Mapping[str, Mapping[str, Any]] | None = None,
        cutoffs: Iterable[CutoffRow] = (),
        costs: Mapping[str, Cost | tuple[int, float, float, int, float]] | None = None,
        touch: Iterable[object] = (),
    ) -> StoreReport:
        """Write many results back in one transaction, whole or not at all."""
        return self._run(self._client.store(items, forget, recipes, notes, cutoffs, costs, touch))

    def forget(self, transformations: Iterable[object]) -> int:
        """Remove transformations with all that describes them; give how many there were."""
        return self._run(self._client.forget(transformations))

    def touch(self, transformations: Iterable[object]) -> int:
        """Note that results were used now; give how many of them are known."""
        return self._run(self._client.touch(transformations))

    def acquire(
        self,
        holder: str,
        transformations: Iterable[object],
        seconds: float,
        release: Iterable[object] = (),
    ) -> LeaseAnswer:
        """Ask for the right to compute, so that nobody else computes the same meanwhile."""
        return self._run(self._client.acquire(holder, transformations, seconds, release))

    def renew(self, holder: str, seconds: float) -> int:
        """Let all leases of a holder last so long from now; give how many it still has."""
        return self._run(self._client.renew(holder, seconds))

    def release_all(self, holder: str) -> int:
        """End all leases of a holder; give how many there were."""
        return self._run(self._client.release_all(holder))

    def leases(self, transformations: Iterable[object]) -> LeaseAnswer:
        """Tell which transformations have a result, and which somebody computes."""
        return self._run(self._client.leases(transformations))

    def divergences(self, limit: int = 1000) -> list[Record]:
        """List results that differ from the first one of their transformation, newest first."""
        return self._run(self._client.divergences(limit))

    def recipes(
        self,
        function: str | None = None,
        *,
        checksums: Iterable[object] | None = None,
        limit: int = 50,
    ) -> list[Record]:
        """List recipes, the one that was last stored or seen first."""
        return self._run(self._client.recipes(function, checksums=checksums, limit=limit))

    def notes(self, checksums: Iterable[object]) -> dict[str, Record]:
        """Give what is noted about some checksums: known checksum -> document."""
        return self._run(self._client.notes(checksums))

    def entries(self, prefix: str | None = None, limit: int = 100, offset: int = 0) -> list[Record]:
        """List cache entries, newest first; only those whose key prefix starts with `prefix`."""
        return self._run(self._client.entries(prefix, limit, offset))

    def summary(self) -> dict[str, float]:
        """Give counts and bytes of what the database holds."""
        return self._run(self._client.summary())

    def get_buffer(self, checksum: object) -> bytes | None:
        """Give the content of a small buffer that the database holds. Not verified here."""
        return self._run(self._client.get_buffer(checksum))

    def fetch_buffer(self, checksum: object) -> bytes | None:
        """Give the content of a buffer of any size that the server has. Not verified here."""
        return self._run(self._client.fetch_buffer(checksum))

    def send_buffer(self, checksum: object, content: bytes) -> None:
        """Bring the server a buffer of any size, which it verifies."""
        self._run(self._client.send_buffer(checksum, content))

    def have_buffers(self, checksums: Iterable[object]) -> set[str]:
        """Give those of some checksums (hex) whose buffers the server has now."""
        return self._run(self._client.have_buffers(checksums))

    def put_buffer(self, checksum: object, content: bytes) -> None:
        """Keep a small buffer in the database, which verifies its checksum."""
        self._run(self._client.put_buffer(checksum, content))
