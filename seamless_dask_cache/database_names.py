"""How the clients of a database look up the names of servers."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, cast

import aiohttp

THREADS = "sdc-database-names"


class NameLookups:
    """Stands in for an event loop where aiohttp looks up names: in threads of the library's own.

    In those that an event loop has for everybody's work, the lookup would be taken for the work of
    any task that runs beside it, and their results would not be stored.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=THREADS)

    async def getaddrinfo(self, host: str, port: int, **options: Any) -> Any:
        """Look up the addresses of a host."""
        return await self._run(partial(socket.getaddrinfo, host, port, **options))

    async def getnameinfo(self, address: Any, flags: int = 0) -> Any:
        """Look up the name of an address."""
        return await self._run(partial(socket.getnameinfo, address, flags))

    async def _run(self, work: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def own_resolver() -> aiohttp.ThreadedResolver:
    """Return a resolver that looks up names in threads of the library's own."""
    return aiohttp.ThreadedResolver(loop=cast(asyncio.AbstractEventLoop, NameLookups()))
