"""Results of operations in a database, where other processes find them.

Ids are another in each process. So what is looked up and written is a call of the function with the
inputs themselves: a transformation, whose identity is made of the code, the content of the inputs,
the parameters and the name of the operation. It is the machinery of `cached` that does it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from seamless_dask_cache.config import Settings
from seamless_dask_cache.database import DatabaseClient
from seamless_dask_cache.decorator import BoundCall, CachedFunction
from seamless_dask_cache.local import LocalCache, cache_of, settings_in_force
from seamless_dask_cache.server_store import ServerStore
from seamless_dask_cache.storage import BufferStore
from seamless_dask_cache.stores.operations import Operation


class ServerCache(LocalCache):
    """A cache whose buffers are with the server: who reaches the database shares all of it.

    Parameters
    ----------
    settings : Settings
        With the URL of a database, and no place for buffers.

    Examples
    --------
    >>> ServerCache(Settings(database="http://127.0.0.1:5522")).has_database()
    True
    """

    def _store_of(self, client: DatabaseClient) -> BufferStore:
        return ServerStore(client)


def shared_result(operation: Operation, database: str | bool) -> Any:
    """Return the result of an operation, from a database or computed and left there.

    Parameters
    ----------
    operation : Operation
    database : str or True
        The URL of a server, or the database that is enabled or configured in this process.

    Raises
    ------
    ConfigurationError
        When the configuration makes no sense.

    Notes
    -----
    No fault of the database reaches the caller; neither does it when something has no certain
    identity: then the result is computed, and not stored.

    Examples
    --------
    >>> nobody = "http://127.0.0.1:9"
    >>> shared_result(Operation("add", lambda: 3, (), {}), nobody)
    3
    """
    return cache_for(database).call(as_call(operation))


def cache_for(database: str | bool) -> LocalCache:
    """Return the cache of this process that asks a database.

    Examples
    --------
    >>> cache_for("http://127.0.0.1:5522").settings.database
    'http://127.0.0.1:5522'
    """
    settings = (
        Settings.from_arguments(database=database)
        if isinstance(database, str)
        else settings_in_force()
    )
    is_with_server = settings.database is not None and settings.buffers is None
    return cache_of(settings, kind=ServerCache if is_with_server else LocalCache)


def as_call(operation: Operation) -> BoundCall:
    """Return an operation as a call of a cached function.

    Examples
    --------
    >>> def double(x):
    ...     return 2 * x
    >>> from seamless_dask_cache.stores.operations import operation_on
    >>> as_call(operation_on("times two", (), {"x": 3}, double)).compute()
    6
    """
    version: Any = operation.name
    if operation.takes_nothing:
        # What a closure holds is part of its code, but nobody says that it holds all inputs.
        version = (operation.name, operation.items, dict(operation.params))
    function = CachedFunction(_with_signature(operation.function), version=version)
    args, kwargs = operation.arguments
    return BoundCall(function, args, kwargs, key_prefix=operation.name)


def _with_signature(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function that tells itself what it takes.

    Some that are written in C do not, and what is decorated asks what it wraps.
    """
    try:
        inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return lambda *args, **kwargs: function(*args, **kwargs)
    return function
