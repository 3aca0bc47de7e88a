"""The cache without a cluster: what calling a ``@cached`` function here uses."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from seamless_dask_cache._version import __version__
from seamless_dask_cache.buffer_cache import get_buffer_cache
from seamless_dask_cache.buffer_costs import LOCAL
from seamless_dask_cache.config import Settings
from seamless_dask_cache.database import DatabaseClient
from seamless_dask_cache.embedded import default_cache_dir, ensure_server
from seamless_dask_cache.errors import DatabaseError, DatabaseUnavailableError, StoreError
from seamless_dask_cache.explaining.notes import collect_notes
from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.graph import GraphIdentity
from seamless_dask_cache.identity.recipe import Identity
from seamless_dask_cache.observation import Observation, current, unchanged, uncovered, watch
from seamless_dask_cache.observation.memos import caches_reached, memos
from seamless_dask_cache.results import dump_result, load_result
from seamless_dask_cache.storage import BufferStore, open_store

logger = logging.getLogger(__name__)

T = TypeVar("T")

INLINE_BYTES = 4096
PATIENCE_SECONDS = 10.0
RETRY_SECONDS = 30.0

_lock = threading.Lock()
_caches: dict[tuple[Any, ...], LocalCache] = {}
_enabled: list[Settings] = []


def use(settings: Settings) -> None:
    """Make calls in this process share the database that a cluster was given."""
    _enabled[:] = [settings]


def reset() -> None:
    """Forget what was enabled in this process, and disconnect."""
    _enabled.clear()
    with _lock:
        caches = list(_caches.values())
        _caches.clear()
    for cache in caches:
        cache.close()


def local_cache() -> LocalCache:
    """Return the cache that calls in this process use: the last enabled one, else as configured."""
    return cache_of(settings_in_force())


def settings_in_force() -> Settings:
    """Return the settings that calls in this process go by.

    Raises
    ------
    ConfigurationError
        When the configuration makes no sense.
    """
    return _enabled[0] if _enabled else Settings.from_arguments()


def cache_of(settings: Settings, *, kind: type[LocalCache] | None = None) -> LocalCache:
    """Return the cache of this process that has these settings.

    Parameters
    ----------
    settings : Settings
    kind : type, optional
        `LocalCache`, or a class derived from it.
    """
    chosen = kind or LocalCache
    place = (settings.database, str(settings.cache_dir), repr(settings.buffers), settings.token)
    name = (chosen, *place, settings.versions)
    with _lock:
        if name not in _caches:
            _caches[name] = chosen(settings)
        return _caches[name]


class LocalCache:
    """Look up, compute, store, in the calling thread.

    Parameters
    ----------
    settings : Settings
        Where the database and the buffers are.

    Notes
    -----
    Thread-safe. No fault of the database or of the buffer store reaches the caller: a database that
    does not answer is left alone for 30 s, one that refuses to be written to is not written to for
    as long, and what cannot be written is only not stored.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self._lock = threading.Lock()
        self._link: tuple[DatabaseClient, BufferStore] | None = None
        self._away_until = 0.0
        self._read_only_until = 0.0
        # Whose buffers were not found: their records may be good for others, until there are new.
        self._without_buffer: set[str] = set()
        self._noted: set[str] = set()

    def call(self, call: Any) -> Any:
        """Return the result of a bound call, stored or computed."""
        from seamless_dask_cache.transformation import identify_call

        try:
            identifier = Identifier(versions=self.settings.versions)
            caches = caches_reached(identifier)
            identity = identify_call(call, identifier=identifier)
        except Exception as error:
            # Hashing runs code of users' classes; whatever it raises, the call is only not cached.
            logger.info("%r is not cached: %s", call, error)
            return call.compute()
        outer = current()
        if outer is not None:
            outer.note_files(identity.covers)
        found, value = self._restored(identity, identity.expires, outer)
        if found:
            return value
        seen = _observation()
        before = memos.begin(caches, seen)
        started = time.perf_counter()
        try:
            value = seen.run(call.compute)
        finally:
            memos.end(before, seen)
        seconds = time.perf_counter() - started
        self._store(call, identity, value, seconds, seen, identifier)
        return value

    def close(self) -> None:
        """Disconnect; the next call connects anew."""
        with self._lock:
            link, self._link = self._link, None
        if link is not None:
            link[0].close()

    def has_database(self) -> bool:
        """Tell whether there is a database, which may have to be started yet."""
        return self.settings.database is not None or (self._folder() / "cache.db").is_file()

    def ask(self, question: Callable[[DatabaseClient], T]) -> T | None:
        """Ask the database something; None if there is none.

        Parameters
        ----------
        question : callable
            Gets a client.

        Raises
        ------
        DatabaseError
            When it does not answer, or did not within the last 30 s.
        """
        if not self.has_database():
            return None
        if time.monotonic() < self._away_until:
            raise DatabaseUnavailableError("the database did not answer lately")
        try:
            return question(self._connected()[0])
        except DatabaseUnavailableError as error:
            self._failed(error)
            raise

    def known_store(self) -> BufferStore | None:
        """Give the buffer store, without starting or making anything; None if there is none yet."""
        link = self._link
        if link is not None:
            return link[1]
        if self.settings.buffers is not None:
            return open_store(self.settings.buffers)
        folder = self._folder() / "buffers"
        return open_store(folder) if folder.is_dir() else None

    def _folder(self) -> Path:
        return Path(self.settings.cache_dir) if self.settings.cache_dir else default_cache_dir()

    def _connected(self) -> tuple[DatabaseClient, BufferStore]:
        with self._lock:
            if self._link is None:
                self._link = self._connect()
            return self._link

    def _connect(self) -> tuple[DatabaseClient, BufferStore]:
        settings = self.settings
        if settings.database is not None:
            client = _client(settings.database, settings.token)
            return client, self._store_of(client)
        endpoint = ensure_server(self._folder())
        client = _client(endpoint.url, endpoint.token)
        return client, open_store(settings.buffers or endpoint.buffers)

    def _store_of(self, client: DatabaseClient) -> BufferStore:
        """Give the buffers of a database that was named."""
        return open_store(self.settings.buffers or self._folder() / "buffers")

    def _restored(
        self, identity: Identity, expires: float | None, outer: Observation | None
    ) -> tuple[bool, Any]:
        if time.monotonic() < self._away_until:
            return False, None
        try:
            client, store = self._connected()
            answer = client.lookup([identity.checksum]).get(identity.checksum)
            if answer is None:
                return False, None
            expired = expires is not None and (answer.created or 0) + expires < time.time()
            changed = bool(answer.files) and not unchanged(answer.files or {})
            buffer = answer.content if answer.content is not None else store.get(answer.result)
            if buffer is None:
                self._without_buffer.add(identity.checksum)
                return False, None
            if expired or changed:
                self._forget(client, identity.checksum)
                return False, None
            value = load_result(buffer)
            if outer is not None:
                outer.note_files((answer.files or {}).items())
            return True, value
        except (DatabaseError, OSError) as error:
            self._failed(error)
        except Exception as error:
            logger.warning("the stored result of %s is unusable: %s", identity.function, error)
            self._heal(identity)
        return False, None

    def _forget(self, client: DatabaseClient, transformation: str) -> None:
        try:
            client.forget([transformation])
        except DatabaseUnavailableError:
            raise
        except DatabaseError as error:
            self._refused(error)

    def _heal(self, identity: Identity) -> None:
        try:
            client, store = self._connected()
            answer = client.lookup([identity.checksum]).get(identity.checksum)
            client.forget([identity.checksum])
            if answer is not None:
                store.delete(answer.result)
        except (DatabaseError, StoreError, OSError) as error:
            self._failed(error)

    def _notes(self, call: Any, identity: Identity, identifier: Identifier) -> dict[str, Any]:
        known = GraphIdentity({"call": identity})
        notes = collect_notes({"call": call.task()}, known, identifier, self._noted)
        self._noted.update(notes)
        return notes

    def _store(
        self,
        call: Any,
        identity: Identity,
        value: Any,
        seconds: float,
        seen: Observation,
        identifier: Identifier,
    ) -> None:
        if time.monotonic() < max(self._away_until, self._read_only_until):
            return
        try:
            seen.settle(identity.covers)
            if seen.unstable is not None:
                logger.info("the result of %s is not stored: %s", identity.function, seen.unstable)
                return
            reads = uncovered(seen.reads, identity.covers)
            client, store = self._connected()
            buffer = dump_result(value)
            inline = buffer.nbytes <= INLINE_BYTES
            if not inline:
                buffer.store_in(store)
            item = _item(identity, call.key_prefix, buffer, seconds, inline) | {"files": reads}
            if identity.checksum in self._without_buffer:
                client.forget([identity.checksum])
                self._without_buffer.discard(identity.checksum)
            client.store([item], notes=self._notes(call, identity, identifier))
            get_buffer_cache().set_cost(buffer.checksum, download=LOCAL, recomputation=seconds)
        except StoreError as error:  # which says nothing of what is smaller, or known
            logger.warning("the result of %s was not stored: %s", identity.function, error)
        except (DatabaseUnavailableError, OSError) as error:
            self._failed(error)
        except DatabaseError as error:
            self._refused(error)
        except Exception as error:
            logger.warning("the result of %s was not stored: %s", identity.function, error)

    def _refused(self, error: DatabaseError) -> None:
        logger.warning("the database cannot be written to (%s); results are not stored", error)
        self._read_only_until = time.monotonic() + RETRY_SECONDS

    def _failed(self, error: BaseException) -> None:
        logger.warning("the cache does not answer (%s); computing without it", error)
        self._away_until = time.monotonic() + RETRY_SECONDS
        self.close()


def _client(url: str, token: str | None) -> DatabaseClient:
    # A call does not wait for a database that is away.
    return DatabaseClient(url, token, timeout=PATIENCE_SECONDS, retries=0)


def _observation() -> Observation:
    watch()
    return Observation()


def _item(
    identity: Identity, key_prefix: str | None, buffer: Any, seconds: float, inline: bool
) -> dict[str, Any]:
    return {
        "transformation": identity.checksum,
        "result": buffer.checksum,
        "record": execution_record(identity.checksum, buffer.checksum, seconds),
        "recipe": identity.recipe.decode() if identity.recipe else None,
        "content": buffer.tobytes() if inline else None,
        "entry": {
            "function": identity.function,
            "key_prefix": key_prefix or identity.function.rpartition(".")[2],
            "seconds": seconds,
            "nbytes": buffer.nbytes,
            "created": time.time(),
            "format": buffer.format,
        },
    }


def execution_record(transformation: str, result: str, seconds: float) -> dict[str, Any]:
    """Return the execution record of a computation in this process."""
    return {
        "schema_version": 1,
        "tf_checksum": transformation,
        "result_checksum": result,
        "seamless_version": f"seamless-dask-cache {__version__}",
        "execution_mode": "process",
        "remote_target": None,
        "wall_time_seconds": seconds,
        "cpu_time_user_seconds": 0.0,
        "cpu_time_system_seconds": 0.0,
        "memory_peak_bytes": 0,
        "gpu_memory_peak_bytes": None,
    }
