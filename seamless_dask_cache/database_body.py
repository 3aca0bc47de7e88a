"""The body of a large request; imported with the first one, because it needs aiohttp."""

from __future__ import annotations

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

PIECE = 256 * 1024


class LargeBody(Payload):
    """Bytes that are written in pieces, so that others use the event loop in between.

    Parameters
    ----------
    content : bytes

    Notes
    -----
    aiohttp warns of bytes above a megabyte, and recommends a file object; when it repeats a request
    on a new connection, some of its versions send only what was not yet read of that.
    """

    def __init__(self, content: bytes):
        super().__init__(content)
        self._content = memoryview(content)

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self._content)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Give the body as a text."""
        return bytes(self._content).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write everything, from the start."""
        for start in range(0, len(self._content), PIECE):
            await writer.write(bytes(self._content[start : start + PIECE]))
