"""The asynchronous client of a Seamless database.

Single requests work against any Seamless database and have the method names of seamless-remote;
`lookup`, `store`, `forget`, `recipes`, `notes`, `entries`, `summary` and the buffers need the
server of this project.

An unknown key is a return value (None), never an error. What is raised:

- `DatabaseUnavailableError`: nobody answered, or not in time; the same request may work later;
- `DatabaseConflictError`: the server refused a contradictory write (HTTP 409);
- `DatabaseError`: any other refusal, with the server's text.

Checksums are given as 64 hex digits, or as anything whose ``str`` is that, and come back as hex.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from .database_messages import (
    MAX_DOCUMENTS,
    LookupAnswer,
    StoreItem,
    StoreReport,
    base64_text,
    lookup_answer,
    store_request,
)
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
        self._keeps_files = False

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
        return {key: lookup_answer(found) for key, found in _decoded(body)["results"].items()}

    async def store(
        self,
        items: Iterable[StoreItem | Mapping[str, Any]],
        forget: Iterable[object] = (),
        recipes: Iterable[Mapping[str, str]] = (),
        notes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> StoreReport:
        """Write many results back in one transaction, whole or not at all.

        Parameters
        ----------
        items : iterable of StoreItem or dict
            A dict has the fields of `StoreItem`.
        forget : iterable of checksums
            Transformations to remove first.
        recipes : iterable of dict
            Recipes of transformations that may have no result: ``function`` (a name, or an empty
            text) and ``content``.
        notes : dict, optional
            Checksum -> JSON object of at most `MAX_NOTE_BYTES`; the first note about a checksum
            stays.

        Raises
        ------
        DatabaseError
            Also when an item has files and the server is too old to keep them.
        """
        prepared = [store_request(item) for item in items]
        if any(item["files"] for item in prepared):
            await self._require_files()
        body = await self._request(
            "PUT",
            type="batch",
            store=prepared,
            forget=list(map(str, forget)),
            recipes=list(map(dict, recipes)),
            notes={str(name): dict(document) for name, document in (notes or {}).items()},
        )
        report = _decoded(body)
        return StoreReport(**{**report, "diverged": tuple(report["diverged"])})

    async def _require_files(self) -> None:
        """Make sure that the server keeps files: one of version 0.1 would drop them silently."""
        if self._keeps_files:
            return
        if await self._send("GET", "/", _encoded(type="notes", checksums=[]), unless=400) is None:
            raise DatabaseError(f"database {self.url} is too old to keep what a task has read")
        self._keeps_files = True

    async def forget(self, transformations: Iterable[object]) -> int:
        """Remove transformations with all that describes them; give how many there were."""
        return (await self.store((), forget=transformations)).forgotten

    async def recipes(
        self,
        function: str | None = None,
        *,
        checksums: Iterable[object] | None = None,
        limit: int = 50,
    ) -> list[Record]:
        """List recipes, the one that was last stored or seen first.

        Parameters
        ----------
        function : str, optional
            Only recipes of the function of this name.
        checksums : iterable of checksums, optional
            Only these transformations, however many; excludes `function`.
        limit : int
            How many at most, up to 1,000; does not count for `checksums`.

        Returns
        -------
        list of dict
            ``checksum``, ``function``, ``created`` (seconds since 1970), ``recipe`` (its text) and
            ``result`` (a checksum, or None for a transformation that has none).
        """
        if checksums is None:
            return list(await self._get(type="recipes", function=function, limit=limit))
        found: list[Record] = []
        for part in _parts(checksums):
            found += await self._get(type="recipes", function=function, checksums=part)
        return sorted(found, key=lambda recipe: recipe["created"], reverse=True)

    async def notes(self, checksums: Iterable[object]) -> dict[str, Record]:
        """Give what is noted about some checksums, however many: known checksum -> document."""
        found: dict[str, Record] = {}
        for part in _parts(checksums):
            found |= await self._get(type="notes", checksums=part)
        return found

    async def entries(
        self, prefix: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[Record]:
        """List cache entries, newest first; only those whose key prefix starts with `prefix`."""
        return list(await self._get(type="entries", prefix=prefix, limit=limit, offset=offset))

    async def summary(self) -> dict[str, float]:
        """Give counts and bytes of what the database holds."""
        return dict(await self._get(type="summary"))

    async def get_buffer(self, checksum: object) -> bytes | None:
        """Give the content of a small buffer that the database holds. Not verified here."""
        text = await self._find_json(type="buffer", checksum=str(checksum))
        return None if text is None else base64.b64decode(text)

    async def put_buffer(self, checksum: object, content: bytes) -> None:
        """Keep a small buffer in the database, which verifies its checksum."""
        await self._request(
            "PUT", type="buffer", checksum=str(checksum), value=base64_text(content)
        )

    async def _find_json(self, **fields: object) -> Any:
        body = await self._find(**fields)
        return None if body is None else _decoded(body)

    async def _find(self, **fields: object) -> bytes | None:
        return await self._send("GET", "/", _encoded(**fields), unless=404)

    async def _get(self, **fields: object) -> Any:
        return _decoded(await self._request("GET", **fields))

    async def _request(self, method: str, **fields: object) -> bytes:
        return await self._send(method, "/", _encoded(**fields)) or b""

    async def _send(
        self, method: str, path: str, body: bytes, unless: int | None = None
    ) -> bytes | None:
        """Give the content of the answer; None for the one status that is an answer too."""
        import aiohttp

        try:
            async with self._open_session().request(method, self.url + path, data=body) as response:
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


def _refusal(url: str, status: int, text: str) -> DatabaseError:
    kind: type[DatabaseError] = DatabaseConflictError if status == 409 else DatabaseError
    if status in PASSING:
        kind = DatabaseUnavailableError
    return kind(f"database {url} answered {status}: {text.removeprefix('ERROR: ')}")


def _parts(checksums: Iterable[object]) -> Iterator[list[str]]:
    wanted = list(dict.fromkeys(map(str, checksums)))
    return (wanted[start : start + MAX_DOCUMENTS] for start in range(0, len(wanted), MAX_DOCUMENTS))


def _encoded(**fields: object) -> bytes:
    try:
        return orjson.dumps(fields)
    except TypeError as error:  # such as a file name that is not UTF-8
        raise DatabaseError(f"this cannot be written as JSON: {error}") from error


def _decoded(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        start = content[:60].decode(errors="replace")
        raise DatabaseUnavailableError(f"this is no database: it answers {start!r}") from error
