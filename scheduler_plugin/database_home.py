"""Where the database is, by the settings: somebody's server, or the embedded one of a folder."""

from __future__ import annotations

import asyncio
from pathlib import Path

from seamless_dask_cache.config import Settings
from seamless_dask_cache.database import AsyncDatabaseClient
from seamless_dask_cache.embedded import Endpoint, default_cache_dir, ensure_server
from seamless_dask_cache.errors import DatabaseError
from seamless_dask_cache.observation import apart

from .spool import Spool

REQUEST_SECONDS = 30.0


class DatabaseHome:
    """Finds, or starts, the database and connects to it.

    Parameters
    ----------
    settings : Settings
        With the URL of a server, or the folder of an embedded one.
    patience : float
        Seconds that a computation waits at most.
    """

    def __init__(self, settings: Settings, patience: float):
        self._settings = settings
        self._patience = patience
        given = settings.cache_dir
        self.folder = Path(given) if given else default_cache_dir()

    def spool(self) -> Spool:
        """Return what keeps records while the database is away."""
        folder = self.folder.expanduser().resolve()
        database = self._settings.database
        return Spool(folder / "spool", database.rstrip("/") if database else str(folder))

    async def first_endpoint(self, *, must_answer: bool) -> Endpoint:
        """Return where the database answers; where it does not, only the folder, unless it must."""
        try:
            return await self.endpoint()
        except (DatabaseError, OSError):
            if must_answer:
                raise
            return Endpoint("", "", self.folder / "buffers")

    async def endpoint(self) -> Endpoint:
        """Return where the database answers; an embedded one is started if need be."""
        settings = self._settings
        if settings.database is None:
            return await asyncio.to_thread(apart, ensure_server, self.folder)
        return Endpoint(settings.database, settings.token or "", self.folder / "buffers")

    async def connect(self) -> AsyncDatabaseClient:
        """Return a client that the database has answered."""
        endpoint = await self.endpoint()
        # The link sees to patience; what no computation waits for may take longer.
        client = AsyncDatabaseClient(
            endpoint.url,
            token=endpoint.token or None,
            timeout=max(REQUEST_SECONDS, self._patience),
            retries=0,  # the link has its own way to come back
        )
        try:
            await client.get_protocol()
        except BaseException:
            await client.close()
            raise
        return client
