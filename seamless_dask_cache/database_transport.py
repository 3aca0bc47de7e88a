"""How the asynchronous client of a database sends requests and reads answers: HTTP stands here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from .errors import (
    ConfigurationError,
    DatabaseConflictError,
    DatabaseError,
    DatabaseUnavailableError,
)

if TYPE_CHECKING:
    import aiohttp

LARGE_BODY = 512 * 1024
"""Bodies above this size are written in pieces."""

PASSING = frozenset({401, 502, 503, 504, 507})
"""Refusals that may be over soon: a server started anew (another token), or busy, or full."""


class DatabaseTransport:
    """Sends requests to a database; belongs to the event loop that first uses it.

    Parameters
    ----------
    url : str
        Such as ``http://127.0.0.1:5522``.
    token : str, optional
        Presented with every request.
    timeout : float
        Seconds that a request may take in all.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 10.0):
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(f"url must start with http:// or https://, not {url!r}")
        self.url = url.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _find_json(self, **fields: object) -> Any:
        body = await self._find(**fields)
        return None if body is None else decoded(body)

    async def _find(self, **fields: object) -> bytes | None:
        return await self._send("GET", "/", encoded(**fields), unless=404)

    async def _get(self, **fields: object) -> Any:
        return decoded(await self._request("GET", **fields))

    async def _put(self, **fields: object) -> Any:
        return decoded(await self._request("PUT", **fields))

    async def _request(self, method: str, **fields: object) -> bytes:
        return await self._send(method, "/", encoded(**fields)) or b""

    async def _send(
        self, method: str, path: str, body: bytes, unless: int | None = None
    ) -> bytes | None:
        """Give the content of the answer; None for the one status that is an answer too."""
        import aiohttp

        try:
            sending = self._open_session().request(method, self.url + path, data=_body(body))
            async with sending as response:
                content, status = await response.read(), response.status
        except aiohttp.InvalidURL as error:
            raise ConfigurationError(f"not a URL: {self.url}") from error
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            reason = str(error) or f"no answer within {self._timeout:g} s"
            raise DatabaseUnavailableError(f"database {self.url}: {reason}") from error
        if status == unless:
            return None
        if status >= 400:
            raise _refusal(self.url, status, content.decode(errors="replace"))
        return content

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(
                headers=self._headers, timeout=aiohttp.ClientTimeout(total=self._timeout)
            )
        return self._session


def _body(content: bytes) -> object:
    if len(content) <= LARGE_BODY:
        return content
    from .database_body import LargeBody

    return LargeBody(content)


def _refusal(url: str, status: int, text: str) -> DatabaseError:
    kind: type[DatabaseError] = DatabaseConflictError if status == 409 else DatabaseError
    if status in PASSING:
        kind = DatabaseUnavailableError
    return kind(f"database {url} answered {status}: {text.removeprefix('ERROR: ')}")


def encoded(**fields: object) -> bytes:
    """Write the body of a request.

    Raises
    ------
    DatabaseError
        A field cannot be written as JSON.
    """
    try:
        return orjson.dumps(fields)
    except TypeError as error:  # such as a file name that is not UTF-8
        raise DatabaseError(f"this cannot be written as JSON: {error}") from error


def decoded(content: bytes) -> Any:
    """Read the body of an answer.

    Raises
    ------
    DatabaseUnavailableError
        It is not JSON, so who answered is no database.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        start = content[:60].decode(errors="replace")
        raise DatabaseUnavailableError(f"this is no database: it answers {start!r}") from error
