"""What the requests and answers of a database are made of, for both clients."""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MAX_FILES_BYTES = 1024 * 1024
"""What the files of one write-back may measure as JSON; a server refuses more."""

MAX_NOTE_BYTES = 256 * 1024
"""What one note may measure as JSON; a server refuses more."""

MAX_DOCUMENTS = 1_000
"""Recipes or notes that a server gives in one answer."""

MAX_LOOKUPS = 250_000
"""Lookups of one request; a server takes a million, whose answer takes much memory at once."""

MAX_CUTOFFS = 20_000
"""Cutoffs of one skeleton that a server gives in one answer."""

CutoffRow = (
    tuple[object, object, object, int | None, float | None]
    | tuple[object, object, object, int | None, float | None, object]
)
"""Skeleton, shallow transformation, result, bytes, seconds, and perhaps the deep transformation."""


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
    files : dict or None
        Path -> state of the files that the computation was seen to read: the result counts only
        while they are so.
    """

    result: str
    content: bytes | None = None
    present: bool | None = None
    seconds: float | None = None
    nbytes: int | None = None
    created: float | None = None
    files: dict[str, str] | None = None


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
    files : dict, optional
        Path -> state of the files that the computation was seen to read; at most
        `MAX_FILES_BYTES` as JSON.
    """

    transformation: str
    result: str
    record: Mapping[str, Any] | None = None
    recipe: str | None = None
    content: bytes | None = None
    entry: Mapping[str, Any] | None = None
    files: Mapping[str, str] | None = None


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
    touched : int
        Known ones among those that were used; 0 from an older server.
    """

    stored: int
    existing: int
    diverged: tuple[str, ...]
    forgotten: int
    touched: int = 0


class Cost(NamedTuple):
    """What running a code took so far: sums, over about the last thousand runs and loads."""

    runs: int
    seconds: float
    """In all runs together."""
    nbytes: float
    """Of the results of all runs together."""
    loads: int
    load_seconds: float
    """In all loads of results together."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a database knows about the transformations and codes of a graph.

    Parameters
    ----------
    answers : dict
        Known transformation -> `LookupAnswer`.
    costs : dict
        Known code -> `Cost`.
    irreproducible : set of str
        Transformations that an audit found to give different results; none from an older server.
    """

    answers: dict[str, LookupAnswer] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)
    irreproducible: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class LeaseAnswer:
    """Who may compute what.

    Parameters
    ----------
    granted : set of str
        Transformations that the holder may compute now, and nobody else.
    known : dict
        Transformation -> result that it has already.
    held : dict
        Transformation -> seconds for which another one holds it, if it is not renewed.
    """

    granted: set[str] = field(default_factory=set)
    known: dict[str, str] = field(default_factory=dict)
    held: dict[str, float] = field(default_factory=dict)


def cutoff_answers(
    found: Mapping[str, Mapping[str, list[Any]]],
) -> dict[str, dict[str, LookupAnswer]]:
    """Read the answer about cutoffs, without those whose content is damaged."""
    return {
        skeleton: {
            checksum: answer
            for checksum, row in rows.items()
            if (answer := _cutoff_answer(*row)) is not None
        }
        for skeleton, rows in found.items()
    }


def _cutoff_answer(
    result: str,
    content: str | None,
    present: bool | None,
    nbytes: int | None,
    seconds: float | None,
) -> LookupAnswer | None:
    if content is None:
        return LookupAnswer(result, None, present, seconds, nbytes)
    known = binascii.a2b_base64(content)
    if hashlib.sha256(known).hexdigest() != result:
        return None
    return LookupAnswer(result, known, present, seconds, nbytes)


def lookup_answer(found: Mapping[str, Any]) -> LookupAnswer:
    """Read one answer of a batch of lookups."""
    content = found["content"]
    return LookupAnswer(
        found["result"],
        None if content is None else binascii.a2b_base64(content),
        found["present"],
        found["seconds"],
        found["nbytes"],
        found["created"],
        found.get("files"),
    )


def store_request(item: StoreItem | Mapping[str, Any]) -> dict[str, Any]:
    """Write one item of a batch of write-backs."""
    if not isinstance(item, StoreItem):
        item = StoreItem(**item)
    return {
        "transformation": str(item.transformation),
        "result": str(item.result),
        "record": item.record,
        "recipe": item.recipe,
        "content": None if item.content is None else base64_text(item.content),
        "entry": item.entry,
        # JSON takes no subclass of str as a name.
        "files": None if item.files is None else {str(p): s for p, s in item.files.items()},
    }


def base64_text(content: bytes) -> str:
    """Write bytes as JSON has them."""
    return binascii.b2a_base64(content, newline=False).decode()
