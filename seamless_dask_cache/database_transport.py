"""How the asynchronous client of a database sends requests and reads answers: HTTP stands here."""

from __future__ import annotations

import asyncio
import itertools
import os
import ssl
from typing import TYPE_CHECKING, Any

from .errors import (
    ConfigurationError,
    DatabaseConflictError,
    DatabaseError,
    DatabaseUnavailableError,
)
from .json_text import read_json, write_json

if TYPE_CHECKING:
    import aiohttp

LARGE_BODY = 512 * 1024
"""Bodies above this size are written in pieces."""

SLOWEST = 10_000_000
"""Bytes per second of a large buffer that is still worth waiting for."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between sending a request and sending it again."""

DOCUMENTS = frozenset({"metadata", "bucket_probe"})
"""Requests that bring a document of the user's, in which NaN may stand."""

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
        Seconds that a request may take in all, each time that it is sent.
    retries : int
        How often a request is sent again when the connection could not be made, or broke: after a
        tenth of a second, then twice as long each time, up to `LONGEST_PAUSE`. Never after an
        answer, nor when there was none in time.
    ca_file : str or path, optional
        Certificates in PEM of those who sign the server's, for ``https``; those of the system by
        default.
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
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(f"url must start with http:// or https://, not {url!r}")
        self.url = url.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._timeout = timeout
        self._retries = retries
        self._tls = None if ca_file is None else _tls_context(ca_file)
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
        self,
        method: str,
        path: str,
        body: bytes,
        unless: int | None = None,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> bytes | None:
        """Give the content of the answer; None for the one status that is an answer too."""
        import aiohttp

        try:
            status, content = await self._answer(method, self.url + path, body, timeout)
        except aiohttp.InvalidURL as error:
            raise ConfigurationError(f"not a URL: {self.url}") from error
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            limit = self._timeout if timeout is None else timeout.total or self._timeout
            reason = str(error) or f"no answer within {limit:g} s"
            raise DatabaseUnavailableError(f"database {self.url}: {reason}") from error
        if status == unless:
            return None
        if status >= 400:
            raise _refusal(self.url, status, content.decode(errors="replace"))
        return content

    async def _answer(
        self, method: str, url: str, body: bytes, timeout: aiohttp.ClientTimeout | None
    ) -> tuple[int, bytes]:
        """Send a request, again if the connection fails."""
        import aiohttp

        limit = timeout or aiohttp.ClientTimeout(total=self._timeout)
        # Sent twice is as good as once: requests set, and add nothing but costs, which are rough.
        for attempt in itertools.count():
            try:
                request = self._open_session().request(method, url, data=_body(body), timeout=limit)
                async with request as response:
                    return response.status, await self._content(response, timeout)
            except aiohttp.ClientConnectorCertificateError:
                raise
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
                # One that took too long to connect is no failed connection, but has its class.
                if attempt >= self._retries or isinstance(error, asyncio.TimeoutError):
                    raise
            await asyncio.sleep(min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE))
        raise AssertionError("unreachable")

    async def _content(
        self, response: aiohttp.ClientResponse, timeout: aiohttp.ClientTimeout | None
    ) -> bytes:
        if timeout is None:
            return await response.read()
        # One that sends a byte now and then would never be too late.
        limit = self._timeout + (response.content_length or 0) / SLOWEST
        return await asyncio.wait_for(response.read(), limit)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            from .database_names import own_resolver

            tls = True if self._tls is None else self._tls
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                connector=aiohttp.TCPConnector(ssl=tls, resolver=own_resolver()),
            )
        return self._session


def _tls_context(ca_file: str | os.PathLike[str]) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigurationError(f"ca_file {str(ca_file)!r} cannot be used: {error}") from error


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
        return write_json(fields, exact=fields.get("type") in DOCUMENTS)
    except ValueError as error:
        raise DatabaseError(f"this cannot be written as JSON: {error}") from error


def encoded_list(items: list[str]) -> bytes:
    """Write a body that is a list of str."""
    return write_json(items)


def decoded(content: bytes) -> Any:
    """Read the body of an answer.

    Raises
    ------
    DatabaseUnavailableError
        It is not JSON, so who answered is no database.
    """
    try:
        return read_json(content)
    except ValueError as error:
        start = content[:60].decode(errors="replace")
        raise DatabaseUnavailableError(f"this is no database: it answers {start!r}") from error
