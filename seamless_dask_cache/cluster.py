"""``enable(client)``: switch the cache on for a Dask client's cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seamless_dask_cache import absent
from seamless_dask_cache.auditing import Audit, required_fraction
from seamless_dask_cache.errors import ConfigurationError
from seamless_dask_cache.explanation import Explanation

if TYPE_CHECKING:
    from distributed import Client

    from seamless_dask_cache.explaining.asked import Asked
    from seamless_dask_cache.storage import BufferStore


def enable(
    client: Client | None = None,
    database: str | None = None,
    buffers: str | Path | BufferStore | None = None,
    cache_dir: str | Path | None = None,
    *,
    token: str | None = None,
    **policy: Any,
) -> Cache:
    """Give everything that a Dask client's scheduler computes a persistent memory.

    Parameters
    ----------
    client : distributed.Client, optional
        The current client by default.
    database : str, optional
        URL of a database server. Without it, the embedded one under `cache_dir` is started or
        found, on the scheduler's machine.
    buffers : str, path or BufferStore, optional
        Where large results live; all workers must reach it.
    cache_dir : str or path, optional
        Home of the embedded database and buffers; the user's cache folder by default.
    token : str, optional
        Bearer token for `database`.
    **policy
        Settings such as ``min_seconds=0.1`` or ``allow_effects={"clock"}``; see
        `seamless_dask_cache.scheduler_plugin.policy.Policy`.

    Returns
    -------
    Cache
        Questions to the cache, and the switch to turn it off.

    Raises
    ------
    DatabaseError
        When the database does not answer.
    ConfigurationError
        For an unknown setting or one that makes no sense.

    Notes
    -----
    Enabling a second time replaces the first cache of that scheduler. On an asynchronous client,
    ``await`` the result.

    With a Dask that is not supported there is a warning, and a `Cache` that says that it is off.
    """
    if client is None:
        from distributed import get_client

        client = get_client()
    if not hasattr(client, "register_plugin"):
        raise ConfigurationError(f"client must be a distributed.Client, not {client!r}")
    try:
        from seamless_dask_cache import local
        from seamless_dask_cache.scheduler_plugin.plugin import CachePlugin
    except absent.FAULTS as error:
        return _absent(client, absent.reason_of(error))
    plugin = CachePlugin(database, buffers, cache_dir=cache_dir, token=token, **policy)
    cache = Cache(client)
    if client.asynchronous:
        return _enabled(client, plugin, cache)  # type: ignore[return-value]
    client.register_plugin(plugin)
    local.use(plugin.settings)
    return cache


def _absent(client: Any, reason: str) -> Cache:
    absent.warn(reason)
    cache = AbsentCache(client, reason)
    return _itself(cache) if client.asynchronous else cache  # type: ignore[return-value]


async def _itself(cache: Cache) -> Cache:
    return cache


async def _enabled(client: Any, plugin: Any, cache: Cache) -> Cache:
    from seamless_dask_cache import local

    await client.register_plugin(plugin)
    local.use(plugin.settings)
    return cache


class Cache:
    """The cache of one scheduler, as a client sees it.

    Parameters
    ----------
    client : distributed.Client
        A client of the scheduler.

    Notes
    -----
    On an asynchronous client every method returns an awaitable.
    """

    def __init__(self, client: Client):
        self.client = client

    def __repr__(self) -> str:
        return f"<Cache of {self.client!r}>"

    def _ask(self, action: str, **arguments: Any) -> Any:
        return self.client.sync(self._call, action, arguments)

    async def _call(self, action: str, arguments: dict[str, Any]) -> Any:
        return await self.client.scheduler.seamless_dask_cache(action=action, arguments=arguments)

    def stats(self) -> dict[str, Any]:
        """Return the counters since the cache was enabled, and what the database holds.

        Returns
        -------
        dict
            ``tasks``, ``hits``, ``misses``, ``refused``, ``computed``, ``restored``, ``stored``,
            ``bytes_stored``, ``seconds_saved`` and more; ``database`` holds the totals of the
            database.
        """
        return self._ask("stats")  # type: ignore[no-any-return]

    def explain(self, *collections: Any) -> Explanation:
        """Say of every task of some collections whether it is a hit, a miss or refused, and why.

        Parameters
        ----------
        *collections
            Dask collections, futures, or calls of cached functions (``function.bind(...)``), also
            in lists and dictionaries; nothing is computed.

        Raises
        ------
        TypeError
            For anything else.
        """
        return self.client.sync(self._explain, collections)  # type: ignore[no-any-return]

    async def _explain(self, collections: tuple[Any, ...]) -> Explanation:
        from seamless_dask_cache.explaining.asked import asked_for, names_of

        asked = asked_for(collections)
        arguments = _as_graph(asked)
        rows = await self._call("explain", arguments)
        return Explanation(rows, names_of(asked.collections, arguments.get("keys", ())))

    def audit(
        self,
        *collections: Any,
        fraction: float = 0.1,
        seed: int | None = None,
        timeout: float | None = None,
    ) -> Audit:
        """Compute a random part of what is on record once more, and compare.

        What gives another result is quarantined: it is neither served nor stored any more.

        Parameters
        ----------
        *collections
            Dask collections, futures, or calls of cached functions, also in lists and dictionaries,
            whose tasks are meant; by default all that the scheduler holds.
        fraction : float
            Of the transformations on record among them, above 0 and up to 1; at least one is drawn.
        seed : int, optional
            The same seed draws the same part of the same transformations.
        timeout : float, optional
            Seconds; what is not finished then is reported as not checkable.

        Returns
        -------
        Audit
            What is the same, what is different, and what could not be compared.

        Raises
        ------
        DatabaseError
            When the database cannot tell what is on record.
        ValueError
            For a fraction that is none.
        TypeError
            For anything that is neither collection nor future.
        """
        choice = {"fraction": required_fraction(fraction), "seed": seed, "timeout": timeout}
        return self.client.sync(self._audit, collections, choice)  # type: ignore[no-any-return]

    async def _audit(self, collections: tuple[Any, ...], choice: dict[str, Any]) -> Audit:
        from seamless_dask_cache.explaining.asked import asked_for

        graph = _as_graph(asked_for(collections)) if collections else {}
        return Audit.from_dict(await self._call("audit", {**graph, **choice}))

    def report(self, path: str | Path) -> Path:
        """Write what the cache did since it was enabled as one HTML file that needs nothing else.

        Parameters
        ----------
        path : str or Path
            Of the file, on the client's machine; an existing one is replaced in one step.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        return self.client.sync(self._report, path)  # type: ignore[no-any-return]

    async def _report(self, path: str | Path) -> Path:
        data = await self._call("report", {})
        if "disabled" in data:
            return await asyncio.to_thread(_written, path, absent.page(data["disabled"]))
        from seamless_dask_cache.scheduler_plugin.seeing.report import report, write_report

        return await asyncio.to_thread(lambda: write_report(path, report(data)))

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything stored so far is acknowledged by the database.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.

        Returns
        -------
        bool
            False when the time ran out.
        """
        return self._ask("flush", timeout=timeout)  # type: ignore[no-any-return]

    def disable(self) -> None:
        """Flush, then leave the scheduler and its workers as they were."""
        return self.client.sync(self._disable)  # type: ignore[no-any-return]

    async def _disable(self) -> None:
        from seamless_dask_cache.scheduler_plugin.worker import NAME

        await self._call("disable", {})
        await self.client.scheduler.unregister_scheduler_plugin(name=NAME)


class AbsentCache(Cache):
    """The cache of a program whose Dask is not supported: every call says that it is off.

    Parameters
    ----------
    client : distributed.Client
        A client of the scheduler, which knows nothing of it.
    reason : str
        Why there is no cache.
    """

    def __init__(self, client: Client, reason: str):
        super().__init__(client)
        self.reason = reason

    def __repr__(self) -> str:
        return f"<Cache of {self.client!r}, off: {self.reason}>"

    async def _call(self, action: str, arguments: dict[str, Any]) -> Any:
        return absent.answer(action, self.reason, arguments)

    async def _explain(self, collections: tuple[Any, ...]) -> Explanation:
        keys = [key for thing in collections for key in _names(thing)]
        return Explanation(absent.explained(keys, self.reason))

    async def _audit(self, collections: tuple[Any, ...], choice: dict[str, Any]) -> Audit:
        return Audit.from_dict(await self._call("audit", {}))

    async def _disable(self) -> None:
        """Leave everything as it is."""


def _names(thing: Any) -> list[Any]:
    from seamless_dask_cache.explaining.asked import keys_of

    if hasattr(thing, "__dask_keys__"):
        return list(keys_of(thing))
    return [getattr(thing, "key", repr(thing))]


def _written(path: str | Path, text: str) -> Path:
    path = Path(path)
    path.write_text(text, encoding="utf-8")
    return path


def _as_graph(asked: Asked) -> dict[str, Any]:
    """Return what the plugin is to be told of collections and futures."""
    from seamless_dask_cache.dask_internals import expression_of, pack

    arguments: dict[str, Any] = {"futures": list(asked.futures)}
    if asked.collections:
        expression, keys = expression_of(asked.collections, finalize=True)
        arguments |= {"expr_ser": pack(expression), "keys": keys}
    return arguments
