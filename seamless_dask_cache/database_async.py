"""The asynchronous client of a Seamless database, and what requests and answers are made of.

Single requests work against any Seamless database and have the method names of seamless-remote;
`lookup`, `store`, `forget`, `entries`, `summary` and the buffers need the server of this project.

An unknown key is a return value (None), never an error. What is raised:

- `DatabaseUnavailableError`: nobody answered, or not in time; the same request may work later;
- `DatabaseConflictError`: the server refused a contradictory write (HTTP 409);
- `DatabaseError`: any other refusal, with the server's text.

Checksums are given as 64 hex digits, or as anything whose ``str`` is that, and come back as hex.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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

Record = dict[str, Any]


PASSING = frozenset({401, 502, 503, 504, 507})
"""Refusals that may be over soon: a server started anew (another token), or busy, or full."""


@dataclass(frozen=True, slots=True)
class LookupAnswer:
    """What a database knows about one transformation.

    Parameters
    ----------
    result : str
        Result checksum.
    content : bytes or None
        Content of the result's buffer, when it is small and was asked for. Not verified here.
    present : bool or None
        Whether the server knows the buffer to be there; None when it cannot tell.
    seconds : float or None
        How long the computation took.
    nbytes : int or None
        Size of the result.
    created : float or None
        When it was stored, in seconds since 1970.
    """

    result: str
    content: bytes | None = None
    present: bool | None = None
    seconds: float | None = None
    nbytes: int | None = None
    created: float | None = None


@dataclass(frozen=True, slots=True)
class StoreItem:
    """One result to write back.

    Parameters
    ----------
    transformation, result : str
        Checksums.
    record : dict, optional
        Execution record, with ``schema_version``, ``tf_checksum`` and ``result_checksum``.
    recipe : str, optional
        Text whose checksum is the transformation.
    content : bytes, optional
        Content of the result's buffer, to be kept in the database; for small ones.
    entry : dict, optional
        ``function``, ``key_prefix``, ``seconds``, ``nbytes``, ``created``, ``format``.
    """

    transformation: str
    result: str
    record: Mapping[str, Any] | None = None
    recipe: str | None = None
    content: bytes | None = None
    entry: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What became of a batch of write-backs.

    Parameters
    ----------
    stored, existing : int
        Items that were new, and items whose transformation had this result already.
    diverged : tuple of str
        Transformations that have another result already, which stays.
    forgotten : int
        Transformations that were removed.
    """

    stored: int
    existing: int
    diverged: tuple[str, ...]
    forgotten: int


class AsyncDatabaseClient:
    """Talks to a database; belongs to the event loop that first uses it.

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

    async def __aenter__(self) -> AsyncDatabaseClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def healthcheck(self) -> None:
        """Return when the server answers, else raise `DatabaseUnavailableError`."""
        await self._send("GET", "/healthcheck", b"")

    async def get_protocol(self) -> list[str]:
        """Give name, kind and version of the protocol; also tells whether the token is right."""
        return list(_decoded(await self._request("GET", type="protocol")))

    async def get_transformation_result(self, tf_checksum: object) -> str | None:
        """Give the result of a transformation."""
        text = await self._find(type="transformation", checksum=str(tf_checksum))
        return None if text is None else text.decode()

    async def set_transformation_result(self, tf_checksum: object, result_checksum: object) -> None:
        """Set the result of a transformation."""
        await self._request(
            "PUT", type="transformation", checksum=str(tf_checksum), value=str(result_checksum)
        )

    async def get_rev_transformations(self, result_checksum: object) -> list[str] | None:
        """Give the transformations that have this result."""
        found: list[str] | None = await self._find_json(
            type="rev_transformations", checksum=str(result_checksum)
        )
        return found

    async def get_execution_record(self, tf_checksum: object) -> Record | None:
        """Give the execution record of a transformation."""
        found: Record | None = await self._find_json(type="metadata", checksum=str(tf_checksum))
        return found

    async def set_execution_record(
        self, tf_checksum: object, result_checksum: object, record: Mapping[str, Any]
    ) -> None:
        """Record an execution and its result; the first record of a transformation stays."""
        checksum, result = str(tf_checksum), str(result_checksum)
        await self._request("PUT", type="metadata", checksum=checksum, result=result, value=record)

    async def undo_transformation_result(
        self, tf_checksum: object, result_checksum: object
    ) -> bool:
        """Contest a result: its transformation is irreproducible from now on."""
        checksum, result = str(tf_checksum), str(result_checksum)
        await self._request("PUT", type="irreproducible", checksum=checksum, result=result)
        return True

    async def get_irreproducible_records(
        self, tf_checksum: object, result_checksum: object = None
    ) -> list[Record] | None:
        """Give the contested results of a transformation, or one of them."""
        only = {} if result_checksum is None else {"result": str(result_checksum)}
        found: list[Record] | None = await self._find_json(
            type="irreproducible", checksum=str(tf_checksum), **only
        )
        return found

    async def get_bucket_probe(self, bucket_kind: str, label: str) -> Record | None:
        """Give the current probe of a bucket."""
        found: Record | None = await self._find_json(
            type="bucket_probe", bucket_kind=bucket_kind, label=label
        )
        return found

    async def set_bucket_probe(
        self,
        bucket_kind: str,
        label: str,
        bucket_checksum: object,
        freshness_tokens: Mapping[str, Any],
        captured_at: str,
    ) -> None:
        """Set the current probe of a bucket."""
        await self._request(
            "PUT",
            type="bucket_probe",
            bucket_kind=bucket_kind,
            label=label,
            bucket_checksum=str(bucket_checksum),
            freshness_tokens=freshness_tokens,
            captured_at=captured_at,
        )

    async def lookup(
        self, transformations: Iterable[object], inline: bool = True
    ) -> dict[str, LookupAnswer]:
        """Look up many transformations in one request.

        Parameters
        ----------
        transformations : iterable of checksums
        inline : bool
            Whether the contents of small results are wanted.

        Returns
        -------
        dict
            Known transformation (hex) -> `LookupAnswer`.
        """
        wanted = list(map(str, transformations))
        if not wanted:
            return {}
        body = await self._request("GET", type="batch", transformations=wanted, inline=inline)
        return {key: _answer(found) for key, found in _decoded(body)["results"].items()}

    async def store(
        self, items: Iterable[StoreItem | Mapping[str, Any]], forget: Iterable[object] = ()
    ) -> StoreReport:
        """Write many results back in one transaction, whole or not at all.

        Parameters
        ----------
        items : iterable of StoreItem or dict
            A dict has the fields of `StoreItem`.
        forget : iterable of checksums
            Transformations to remove first.
        """
        prepared = [_prepared(item) for item in items]
        body = await self._request(
            "PUT", type="batch", store=prepared, forget=list(map(str, forget))
        )
        report = _decoded(body)
        return StoreReport(**{**report, "diverged": tuple(report["diverged"])})

    async def forget(self, transformations: Iterable[object]) -> int:
        """Remove transformations with all that describes them; give how many there were."""
        return (await self.store((), forget=transformations)).forgotten

    async def entries(
        self, prefix: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[Record]:
        """List cache entries, newest first; only those whose key prefix starts with `prefix`."""
        body = await self._request("GET", type="entries", prefix=prefix, limit=limit, offset=offset)
        return list(_decoded(body))

    async def summary(self) -> dict[str, float]:
        """Give counts and bytes of what the database holds."""
        return dict(_decoded(await self._request("GET", type="summary")))

    async def get_buffer(self, checksum: object) -> bytes | None:
        """Give the content of a small buffer that the database holds. Not verified here."""
        text = await self._find_json(type="buffer", checksum=str(checksum))
        return None if text is None else base64.b64decode(text)

    async def put_buffer(self, checksum: object, content: bytes) -> None:
        """Keep a small buffer in the database, which verifies its checksum."""
        await self._request("PUT", type="buffer", checksum=str(checksum), value=_base64(content))

    async def _find_json(self, **fields: object) -> Any:
        body = await self._find(**fields)
        return None if body is None else _decoded(body)

    async def _find(self, **fields: object) -> bytes | None:
        return await self._send("GET", "/", orjson.dumps(fields), none_if_unknown=True)

    async def _request(self, method: str, **fields: object) -> bytes:
        return await self._send(method, "/", orjson.dumps(fields)) or b""

    async def _send(
        self, method: str, path: str, body: bytes, none_if_unknown: bool = False
    ) -> bytes | None:
        import aiohttp

        try:
            async with self._open_session().request(method, self.url + path, data=body) as response:
                content, status = await response.read(), response.status
        except aiohttp.InvalidURL as error:
            raise ConfigurationError(f"not a URL: {self.url}") from error
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            reason = str(error) or f"no answer within {self._timeout:g} s"
            raise DatabaseUnavailableError(f"database {self.url}: {reason}") from error
        if status == 404 and none_if_unknown:
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


def _refusal(url: str, status: int, text: str) -> DatabaseError:
    kind: type[DatabaseError] = DatabaseConflictError if status == 409 else DatabaseError
    if status in PASSING:
        kind = DatabaseUnavailableError
    return kind(f"database {url} answered {status}: {text.removeprefix('ERROR: ')}")


def _answer(found: dict[str, Any]) -> LookupAnswer:
    content = found["content"]
    return LookupAnswer(
        found["result"],
        None if content is None else binascii.a2b_base64(content),
        found["present"],
        found["seconds"],
        found["nbytes"],
        found["created"],
    )


def _prepared(item: StoreItem | Mapping[str, Any]) -> Record:
    if not isinstance(item, StoreItem):
        item = StoreItem(**item)
    return {
        "transformation": str(item.transformation),
        "result": str(item.result),
        "record": item.record,
        "recipe": item.recipe,
        "content": None if item.content is None else _base64(item.content),
        "entry": item.entry,
    }


def _base64(content: bytes) -> str:
    return binascii.b2a_base64(content, newline=False).decode()


def _decoded(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        start = content[:60].decode(errors="replace")
        raise DatabaseUnavailableError(f"this is no database: it answers {start!r}") from error
