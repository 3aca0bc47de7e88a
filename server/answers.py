"""Short answers, written to the connection in one piece.

aiohttp puts a response together out of parts that any response may have; for the answers of a
database, which are a status, a type and a few bytes, that takes a third of the time of a lookup.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus

from aiohttp import web
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11

MOST = 16 * 1024
"""The longest body in bytes: what the system takes at once."""

TEXT = b"text/plain; charset=utf-8"
JSON = b"application/json"

_LINES: dict[int, bytes] = {
    status: f"HTTP/1.1 {status} {status.phrase}".encode() for status in HTTPStatus
}


class _Date:
    """The head's lines that are the same for all answers of a second."""

    def __init__(self) -> None:
        self._second = 0
        self._lines = b""

    def lines(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            date = formatdate(second, usegmt=True)
            self._lines = f"\r\nDate: {date}\r\nServer: {SERVER_SOFTWARE}\r\n".encode()
            self._second = second
        return self._lines


_date = _Date()


class ShortAnswer:
    """What aiohttp needs of a response, and no more.

    Parameters
    ----------
    status : int
    body : bytes
    content_type : bytes
    """

    __slots__ = ("_body", "_content_type", "keep_alive", "status")

    def __init__(self, status: int, body: bytes, content_type: bytes):
        self.status = status
        self.keep_alive = True
        self._body = body
        self._content_type = content_type

    def force_close(self) -> None:
        """Let the connection end with this answer."""
        self.keep_alive = False

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write all of it.

        Raises
        ------
        ConnectionResetError
            The client has gone.
        """
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        self.keep_alive = self.keep_alive and request.keep_alive
        transport.write(
            b"%b\r\nContent-Type: %b\r\nContent-Length: %d%b%b\r\n%b"
            % (
                _LINES[self.status],
                self._content_type,
                len(self._body),
                _date.lines(),
                b"" if self.keep_alive else b"Connection: close\r\n",
                self._body,
            )
        )

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: it is written."""


Response = web.StreamResponse | ShortAnswer


def answer(
    request: web.BaseRequest, status: int, body: bytes, content_type: bytes = TEXT
) -> Response:
    """Make an answer, of any length, to a request of any version of HTTP."""
    if len(body) <= MOST and request.version == HttpVersion11 and request.method != "HEAD":
        return ShortAnswer(status, body, content_type)
    headers = {"Content-Type": content_type.decode()}
    return web.Response(status=status, body=body, headers=headers)
