"""Buffers of any size over HTTP, as the hashserver of Seamless serves them beside the database."""

from __future__ import annotations

from collections.abc import Iterable

from .database_transport import SLOWEST, DatabaseTransport, decoded, encoded_list


class BufferRequests(DatabaseTransport):
    """Asks a server for buffers, and brings it some.

    Parameters
    ----------
    url, token, timeout, retries, ca_file
        As for `DatabaseTransport`.

    Notes
    -----
    The server keeps what is larger than a megabyte only if it has a folder for it (``--buffers``).
    A large buffer takes longer than `timeout`; that is the time for which nothing may arrive, and
    what is added to a second per `SLOWEST` bytes, which all of it may take.
    """

    async def fetch_buffer(self, checksum: object) -> bytes | None:
        """Give the content of a buffer; None when the server does not have it. Not verified here.

        Notes
        -----
        The server waits for a buffer that somebody promised it, and so does this.
        """
        import aiohttp

        idle = aiohttp.ClientTimeout(
            total=None, sock_connect=self._timeout, sock_read=self._timeout
        )
        return await self._send("GET", f"/{checksum}", b"", unless=404, timeout=idle)

    async def send_buffer(self, checksum: object, content: bytes) -> None:
        """Bring a buffer, which the server verifies and has on its disk when this returns.

        Raises
        ------
        DatabaseError
            When the server refuses it: it is another one, or too large for that server.
        """
        import aiohttp

        limit = aiohttp.ClientTimeout(total=self._timeout + len(content) / SLOWEST)
        await self._send("PUT", f"/{checksum}", content, timeout=limit)

    async def have_buffers(self, checksums: Iterable[object]) -> set[str]:
        """Give those of some checksums (hex) whose buffers the server has now."""
        wanted = list(dict.fromkeys(map(str, checksums)))
        answer = await self._send("GET", "/has-now", encoded_list(wanted))
        are_there = decoded(answer or b"")
        return {name for name, is_there in zip(wanted, are_there, strict=True) if is_there}
