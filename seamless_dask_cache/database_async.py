"""The asynchronous client of a Seamless database.

Single requests work against any Seamless database and have the method names of seamless-remote;
`lookup`, `store`, `forget`, `recipes`, `notes`, `entries`, `summary` and the buffers need the
server of this project. One that is older than cutoffs, costs, leases and `divergences` ignores the
cutoffs and costs that `store` brings, knows no costs, and refuses the others (`DatabaseError`).

An unknown key is a return value (None), never an error. What is raised:

- `DatabaseUnavailableError`: nobody answered, or not in time; the same request may work later;
- `DatabaseConflictError`: the server refused a contradictory write (HTTP 409);
- `DatabaseError`: any other refusal, with the server's text.

Checksums are given as 64 hex digits, or as anything whose ``str`` is that, and come back as hex.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .database_buffers import BufferRequests
from .database_messages import (
    MAX_CUTOFFS,
    MAX_DOCUMENTS,
    MAX_LOOKUPS,
    Cost,
    CutoffRow,
    LeaseAnswer,
    Lookup,
    LookupAnswer,
    StoreItem,
    StoreReport,
    base64_text,
    cutoff_answers,
    lookup_answer,
    store_request,
)
from .database_published import PublishedRequests, Record
from .database_transport import decoded, encoded
from .errors import DatabaseError


class AsyncDatabaseClient(PublishedRequests, BufferRequests):
    """Talks to a database; belongs to the event loop that first uses it.

    Parameters
    ----------
    url, token, timeout, retries, ca_file
        As for `DatabaseTransport`.
    """

    _keeps_files = False

    async def __aenter__(self) -> AsyncDatabaseClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

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
        answers: dict[str, LookupAnswer] = {}
        for wanted in _parts(transformations, MAX_LOOKUPS):
            found = await self._get(type="batch", transformations=wanted, inline=inline)
            answers |= {key: lookup_answer(answer) for key, answer in found["results"].items()}
        return answers

    async def look_up(
        self,
        transformations: Iterable[object],
        codes: Iterable[object] = (),
        inputs: Iterable[object] = (),
    ) -> Lookup:
        """Look up many transformations, what some codes cost so far, and what is irreproducible.

        `inputs` are transformations of which only that is asked.
        """
        parts = (_parts(some, MAX_LOOKUPS) for some in (transformations, codes, inputs))
        lookup = Lookup()
        for wanted, named, watched in itertools.zip_longest(*parts, fillvalue=[]):
            found = await self._get(
                type="batch", transformations=wanted, codes=named, inputs=watched
            )
            results = found["results"]
            lookup.answers.update((key, lookup_answer(results[key])) for key in results)
            lookup.costs.update((key, Cost(*sums)) for key, sums in found.get("costs", {}).items())
            lookup.irreproducible.update(found.get("irreproducible", ()))
        return lookup

    async def cutoffs(
        self, skeletons: Iterable[object], inline: bool = True, limit: int = MAX_CUTOFFS
    ) -> dict[str, dict[str, LookupAnswer]]:
        """Give what is known about computations with these recipes, whatever their inputs.

        Parameters
        ----------
        skeletons : iterable of checksums
            Of recipes with blanked inputs; what is known about the first ones comes first, should
            it be more than a server gives in one answer (100,000 rows, 64 MiB of contents).
        inline : bool
            Whether the contents of small results are wanted. They are verified here, other than
            those of `lookup`, and what does not match its checksum is left out.
        limit : int
            Rows of one skeleton, at most `MAX_CUTOFFS`.

        Returns
        -------
        dict
            Known skeleton -> {shallow transformation checksum -> `LookupAnswer`}.
        """
        wanted = list(dict.fromkeys(map(str, skeletons)))
        if not wanted:
            return {}
        found = await self._request(
            "GET", type="cutoffs", skeletons=wanted, inline=inline, limit=limit
        )
        # Beside the event loop, which may be a scheduler's: an answer may have 100,000 rows.
        return await asyncio.to_thread(lambda: cutoff_answers(decoded(found)))

    async def store(
        self,
        items: Iterable[StoreItem | Mapping[str, Any]],
        forget: Iterable[object] = (),
        recipes: Iterable[Mapping[str, str]] = (),
        notes: Mapping[str, Mapping[str, Any]] | None = None,
        cutoffs: Iterable[CutoffRow] = (),
        costs: Mapping[str, Cost | tuple[int, float, float, int, float]] | None = None,
        touch: Iterable[object] = (),
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
        cutoffs : iterable of tuple
            Skeleton, shallow transformation checksum, result, bytes, seconds, and, if known, the
            deep transformation checksum: when that is irreproducible, or has another result, the
            cutoff will never be served. The same holds for one that comes with two results.
        costs : dict, optional
            Checksum of code -> what to add to its `Cost`.
        touch : iterable of checksums
            Transformations whose results were used now.

        Raises
        ------
        DatabaseError
            Also when an item has files and the server is too old to keep them.
        """
        prepared = [store_request(item) for item in items]
        if any(item["files"] for item in prepared):
            await self._require_files()
        used = list(map(str, touch))
        report = await self._put(
            type="batch",
            store=prepared,
            forget=list(map(str, forget)),
            recipes=list(map(dict, recipes)),
            notes={str(name): dict(document) for name, document in (notes or {}).items()},
            cutoffs=[(*map(str, row[:3]), *row[3:5], *map(str, row[5:])) for row in cutoffs],
            costs={str(code): tuple(sums) for code, sums in (costs or {}).items()},
            **({"touch": used} if used else {}),
        )
        return StoreReport(**{**report, "diverged": tuple(report["diverged"])})

    async def _require_files(self) -> None:
        """Make sure that the server keeps files: one of version 0.1 would drop them silently."""
        if self._keeps_files:
            return
        if await self._send("GET", "/", encoded(type="notes", checksums=[]), unless=400) is None:
            raise DatabaseError(f"database {self.url} is too old to keep what a task has read")
        self._keeps_files = True

    async def forget(self, transformations: Iterable[object]) -> int:
        """Remove transformations with all that describes them; give how many there were."""
        return (await self.store((), forget=transformations)).forgotten

    async def touch(self, transformations: Iterable[object]) -> int:
        """Note that results were used now; give how many of them are known."""
        return (await self.store((), touch=transformations)).touched

    async def acquire(
        self,
        holder: str,
        transformations: Iterable[object],
        seconds: float,
        release: Iterable[object] = (),
    ) -> LeaseAnswer:
        """Ask for the right to compute, so that nobody else computes the same meanwhile.

        Parameters
        ----------
        holder : str
            Who asks; at most 256 characters.
        transformations : iterable of checksums
        seconds : float
            How long the leases last from now, 1 to 3,600; `renew` them before. A result that is
            stored ends its lease.
        release : iterable of checksums
            Leases of this holder to end in the same step.

        Returns
        -------
        LeaseAnswer
            What is neither granted nor known nor held finds the server full: compute it.
        """
        wanted, ended = list(map(str, transformations)), list(map(str, release))
        if not (wanted or ended):
            return LeaseAnswer()
        found = await self._put(
            type="leases", holder=holder, acquire=wanted, release=ended, seconds=seconds
        )
        return LeaseAnswer(set(found["granted"]), found["known"], found["held"])

    async def renew(self, holder: str, seconds: float) -> int:
        """Let all leases of a holder last so long from now; give how many it still has."""
        found = await self._put(type="leases", holder=holder, renew=True, seconds=seconds)
        return int(found["renewed"])

    async def release_all(self, holder: str) -> int:
        """End all leases of a holder; give how many there were."""
        return int((await self._put(type="leases", holder=holder, release_all=True))["released"])

    async def leases(self, transformations: Iterable[object]) -> LeaseAnswer:
        """Tell which transformations have a result, and which somebody computes."""
        wanted = list(map(str, transformations))
        if not wanted:
            return LeaseAnswer()
        found = await self._get(type="leases", transformations=wanted)
        return LeaseAnswer(set(), found["known"], found["held"])

    async def divergences(self, limit: int = 1000) -> list[Record]:
        """List results that differ from the first one of their transformation, newest first.

        Returns
        -------
        list of dict
            ``checksum`` (the transformation), ``result`` (the later one), ``first`` (the one in
            force, or None), ``created`` (seconds since 1970), ``irreproducible``.
        """
        return list(await self._get(type="divergences", limit=limit))

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


def _parts(checksums: Iterable[object], most: int = MAX_DOCUMENTS) -> Iterator[list[str]]:
    wanted = list(dict.fromkeys(map(str, checksums)))
    return (wanted[start : start + most] for start in range(0, len(wanted), most))
