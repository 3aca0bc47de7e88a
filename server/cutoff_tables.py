"""SQL on cutoffs: results of computations whose inputs are named by their content.

Here checksums are bytes, other than in the tables that are shared with the published server.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .tables import Row, irreproducible_among, transformation_results


class Cutoff(NamedTuple):
    """One cutoff to write, checked."""

    skeleton: bytes
    checksum: bytes
    result: bytes
    nbytes: int | None
    seconds: float | None
    transformation: str | None
    """The transformation whose computation this was, where that is told."""


_PUT = (
    "INSERT INTO cutoff (skeleton, checksum, result, nbytes, seconds) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (skeleton, checksum) DO UPDATE SET result = NULL"
    " WHERE result IS NOT NULL AND result IS NOT excluded.result"
)


def put_cutoffs(connection: sqlite3.Connection, cutoffs: Sequence[Cutoff]) -> None:
    """Keep cutoffs; one that comes again with another result is uncertain for ever.

    So is one whose transformation is irreproducible, or has another result in force.
    """
    contested = _contested(connection, [c for c in cutoffs if c.transformation is not None])
    connection.executemany(
        _PUT, [(c[0], c[1], None if c in contested else c.result, c[3], c[4]) for c in cutoffs]
    )


def _contested(connection: sqlite3.Connection, cutoffs: Sequence[Cutoff]) -> set[Cutoff]:
    if not cutoffs:
        return set()
    names = list({str(cutoff.transformation) for cutoff in cutoffs})
    known = {
        **transformation_results(connection, names),
        **dict.fromkeys(irreproducible_among(connection, names), ""),
    }
    return {
        cutoff
        for cutoff in cutoffs
        if known.get(str(cutoff.transformation), cutoff.result.hex()) != cutoff.result.hex()
    }


def cutoffs_of(
    connection: sqlite3.Connection, skeleton: bytes, after: bytes, limit: int, inline: bool
) -> Iterator[Row]:
    """Give some cutoffs of a skeleton, in the order of their checksums.

    A result that was contested anywhere, also by a published client, is not among them.

    Parameters
    ----------
    connection : sqlite3.Connection
    skeleton : bytes
    after : bytes
        Only those whose checksum is larger.
    limit : int
    inline : bool
        Whether contents are wanted.

    Returns
    -------
    iterator of tuple
        Checksum (bytes), result (hex), content or None, whether the content is in this file,
        bytes, seconds.
    """
    query = (
        "SELECT c.checksum, lower(hex(c.result)) AS name, {content}, b.checksum IS NOT NULL,"
        " c.nbytes, c.seconds FROM cutoff AS c"
        " LEFT JOIN buffer AS b ON b.checksum = lower(hex(c.result))"
        " WHERE c.skeleton = ? AND c.checksum > ? AND c.result IS NOT NULL"
        " AND name NOT IN (SELECT result FROM irreproducible_transformation)"
        " ORDER BY c.checksum LIMIT ?"
    ).format(content="CAST(b.content AS BLOB)" if inline else "NULL")
    return connection.execute(query, (skeleton, after, limit))
