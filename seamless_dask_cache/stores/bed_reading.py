"""Reading BED files: pieces of many lines, each parsed by pyarrow.

What pyarrow cannot take is parsed again, line by line, by the exact rules: either that works, or it
tells which line is wrong and why.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from seamless_dask_cache.stores.bed_format import (
    BYTE_ORDER_MARK,
    COLUMNS,
    EXTRAS,
    FEWEST,
    import_arrow,
    is_passed_over,
)
from seamless_dask_cache.stores.bed_lines import first_width, parse_lines
from seamless_dask_cache.stores.chromosomes import checked_chrom
from seamless_dask_cache.stores.gzipped import open_content
from seamless_dask_cache.stores.interval_checks import STRANDS
from seamless_dask_cache.stores.interval_columns import Array, Columns, concatenated
from seamless_dask_cache.stores.interval_sources import Rows

_PIECE_BYTES = 1 << 25
_PASSED_OVER = re.compile(rb"^(?:#|(?:track|browser)(?=\s|\Z))[^\n]*\n?", re.MULTILINE)
_UNUSUAL_WHITE = re.compile(rb" \n| \Z|[\v\f]")
_BEFORE_THEM = (b"\n#", b"\ntrack", b"\nbrowser")
"""One of these is in a piece with lines to pass over; finding that out costs next to nothing."""


def read_rows(path: str | os.PathLike[str]) -> Rows:
    """Return the intervals of a BED file, in its order.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Rows

    Raises
    ------
    OSError, ValueError, ImportError
        As `read_bed` does.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "peaks.bed")
    >>> _ = path.write_text("chr2 1 2\\nchr1 3 4\\n")
    >>> read_rows(path).codes
    array([0, 1], dtype=int32)
    """
    import_arrow("csv")
    with open_content(path) as file:
        try:
            return _joined(list(_parsed(file)))
        except _MalformedError as error:
            raise ValueError(f"{os.fspath(path)}, {error}") from None


class _MalformedError(Exception):
    """A line is not of the format."""


def _parsed(file: IO[bytes]) -> Iterator[Rows]:
    width, first_line = 0, 1
    for piece in _pieces(file):
        # The first interval tells how many columns there are.
        width = width or first_width(piece)
        if width:
            yield _rows_of(piece, first_line, width)
        first_line += piece.count(b"\n")


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Yield whole lines, many at once."""
    rest = file.read(len(BYTE_ORDER_MARK)).removeprefix(BYTE_ORDER_MARK)
    while block := file.read(_PIECE_BYTES):
        block = rest + block
        end = block.rfind(b"\n") + 1
        rest = block[end:]
        if end:
            yield block[:end]
    if rest:
        yield rest


def _rows_of(piece: bytes, first_line: int, width: int) -> Rows:
    try:
        return _parse_at_once(_only_intervals(piece), width)
    except _UnusualError:
        pass
    try:
        return parse_lines(piece, first_line, width)
    except ValueError as error:
        raise _MalformedError(str(error)) from None


def _joined(pieces: list[Rows]) -> Rows:
    numbers: dict[str, int] = {}
    codes = [np.empty(0, np.int32)]
    for piece in pieces:
        ours = [numbers.setdefault(chrom, len(numbers)) for chrom in piece.chroms]
        codes.append(np.array(ours, np.int32)[piece.codes])
    columns = concatenated([piece.columns for piece in pieces])
    return Rows(tuple(numbers), np.concatenate(codes), columns)


# Many lines at once -------------------------------------------------------------------------------


class _UnusualError(Exception):
    """Something may be wrong, or is only unusual."""


def _only_intervals(piece: bytes) -> bytes:
    """Take out lines to pass over, and make columns separated by tabs."""
    if b"\r" in piece:
        piece = piece.replace(b"\r\n", b"\n")
    if any(mark in piece for mark in _BEFORE_THEM) or is_passed_over(piece[:100]):
        piece = _PASSED_OVER.sub(b"", piece)
    if b"\t" not in piece:
        # A space at the end of a line is no empty column, and some white space is no space.
        if _UNUSUAL_WHITE.search(piece):
            raise _UnusualError
        piece = re.sub(rb" +", b"\t", piece)
    # What pyarrow would take otherwise: CR for an end of line, and hexadecimal numbers.
    if b"\r" in piece or b"\t0x" in piece or b"\t0X" in piece:
        raise _UnusualError
    return piece


def _parse_at_once(piece: bytes, width: int) -> Rows:
    arrow, csv = import_arrow(""), import_arrow("csv")
    if not FEWEST <= width <= len(COLUMNS):
        raise _UnusualError
    try:
        table = csv.read_csv(arrow.BufferReader(piece), **_options(arrow, csv, width))
    except arrow.ArrowInvalid:
        raise _UnusualError from None
    # One dictionary for each of the columns that have one.
    columns = [column.combine_chunks() for column in table.unify_dictionaries().columns]
    codes, chroms = _coded(columns[0])
    return Rows(_checked(chroms), codes, _columns(*columns[1:]))


def _options(arrow: Any, csv: Any, width: int) -> dict[str, Any]:
    names = COLUMNS[:width]
    types = dict.fromkeys(names, arrow.string())
    types.update(start=arrow.int64(), end=arrow.int64(), score=arrow.float64())
    coded = arrow.dictionary(arrow.int32(), arrow.string())
    types.update(chrom=coded, strand=coded)
    return {
        "read_options": csv.ReadOptions(column_names=names),
        "parse_options": csv.ParseOptions(delimiter="\t", quote_char=False),
        "convert_options": csv.ConvertOptions(
            column_types={name: types[name] for name in names}, null_values=[".", ""]
        ),
    }


def _coded(column: Any) -> tuple[Array, list[str]]:
    return column.indices.to_numpy(), column.dictionary.to_pylist()


def _checked(chroms: list[str]) -> tuple[str, ...]:
    try:
        return tuple(map(checked_chrom, chroms))
    except ValueError:
        raise _UnusualError from None


def _columns(
    starts: Any, ends: Any, name: Any = None, score: Any = None, strand: Any = None, *extras: Any
) -> Columns:
    columns = Columns(
        _positions(starts),
        _positions(ends),
        None if name is None else _names(name),
        None if score is None else _scores(score),
        None if strand is None else _strands(strand),
        dict(zip(EXTRAS, map(_texts, extras), strict=False)),
    )
    if (columns.starts < 0).any() or (columns.ends < columns.starts).any():
        raise _UnusualError
    return columns.told().map(lambda column: column)


def _positions(column: Any) -> Array:
    if column.null_count:
        raise _UnusualError
    positions: Array = column.to_numpy()
    return positions


def _texts(column: Any) -> Array:
    texts: Array = column.to_numpy(zero_copy_only=False)
    return texts


def _names(column: Any) -> Array:
    texts = _texts(column)
    texts[texts == "."] = ""
    return texts


def _scores(column: Any) -> Array:
    scores: Array = column.to_numpy(zero_copy_only=False) + 0.0
    scores[np.isnan(scores)] = math.nan
    return scores


def _strands(column: Any) -> Array:
    codes, known = _coded(column)
    if not set(known) <= {*STRANDS, ""}:
        raise _UnusualError
    return np.array([strand or "." for strand in known], "U1")[codes]
