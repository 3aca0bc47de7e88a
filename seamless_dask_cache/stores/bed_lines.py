"""Lines of BED files, one by one, by the exact rules: what is unusual, and what is wrong."""

from __future__ import annotations

import io
import math
import re
from typing import Any

from seamless_dask_cache.stores.bed_format import COLUMNS, EXTRAS, FEWEST, is_passed_over
from seamless_dask_cache.stores.interval_checks import STRANDS, checked_columns
from seamless_dask_cache.stores.interval_sources import Rows, coded
from seamless_dask_cache.stores.ranges import LAST

_INTEGER = re.compile(r"\s*-?[0-9]+\s*")
_LONGEST_SHOWN = 200


def first_width(piece: bytes) -> int:
    """Return the number of columns of the first interval in a piece, 0 if there is none.

    Parameters
    ----------
    piece : bytes
        Whole lines.

    Returns
    -------
    int

    Examples
    --------
    >>> first_width(b"# peaks\\nchr1 1 2 a\\n")
    4
    """
    for line in io.BytesIO(piece):
        if not is_passed_over(line):
            return len(_split(line.rstrip(b"\r\n")))
    return 0


def parse_lines(piece: bytes, first_line: int, width: int) -> Rows:
    """Return the intervals in a piece of a BED file, line by line.

    Parameters
    ----------
    piece : bytes
        Whole lines.
    first_line : int
        The number of its first line, for messages.
    width : int
        The number of columns that all lines must have.

    Returns
    -------
    Rows
        In the order of the lines.

    Raises
    ------
    ValueError
        For a line that is not of the format; the message tells its number, what was expected and
        the line.

    Examples
    --------
    >>> parse_lines(b"chr1\\t9\\t5\\n", 7, 3)
    Traceback (most recent call last):
        ...
    ValueError: line 7: expected an end at or after the start 9, not 5: 'chr1\\t9\\t5'
    """
    rows = []
    for number, line in enumerate(io.BytesIO(piece), first_line):
        if not is_passed_over(line):
            content = line.removesuffix(b"\n").removesuffix(b"\r")
            try:
                rows.append(_row(content, width))
            except ValueError as error:
                shown = content[:_LONGEST_SHOWN].decode("utf-8", "backslashreplace")
                raise ValueError(f"line {number}: {error}: {shown!r}") from None
    chroms, starts, ends, *optional = zip(*rows, strict=True) if rows else [()] * max(width, FEWEST)
    names, scores, strands = [*optional[:3], None, None, None][:3]
    extras = dict(zip(EXTRAS, optional[3:], strict=False))
    return Rows(*coded(chroms), checked_columns(starts, ends, names, scores, strands, extras))


def _row(line: bytes, width: int) -> list[Any]:
    texts = _texts(line)
    if not FEWEST <= len(texts) <= len(COLUMNS):
        raise ValueError(f"expected {FEWEST} to {len(COLUMNS)} columns, not {len(texts)}")
    if len(texts) != width:
        raise ValueError(f"expected {width} columns as in the lines before, not {len(texts)}")
    if not texts[0]:
        raise ValueError("expected the name of a chromosome")
    start, end = _position("start", texts[1]), _position("end", texts[2])
    if end < start:
        raise ValueError(f"expected an end at or after the start {start}, not {end}")
    values: list[Any] = [texts[0], start, end, *texts[3:]]
    values[4:5] = map(_score, values[4:5])
    values[5:6] = map(_strand, values[5:6])
    return values


def _texts(line: bytes) -> list[str]:
    if b"\r" in line:
        raise ValueError("expected lines that end in LF or CR LF, and no other CR")
    try:
        return [field.decode("utf-8") for field in _split(line)]
    except UnicodeDecodeError as error:
        raise ValueError(f"expected UTF-8 ({error.reason})") from None


def _split(line: bytes) -> list[bytes]:
    return line.split(b"\t") if b"\t" in line else line.split()


def _position(name: str, text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"expected an integer as {name}, not {text!r:.80}")
    if not 0 <= int(text) <= LAST:
        raise ValueError(f"expected {name} from 0 to {LAST}, not {text.strip():.80}")
    return int(text)


def _score(text: str) -> float:
    if text in (".", ""):
        return math.nan
    try:
        if "_" in text:
            raise ValueError
        return float(text)
    except ValueError:
        raise ValueError(f"expected a number or '.' as score, not {text!r:.80}") from None


def _strand(text: str) -> str:
    if not text:
        return "."
    if text not in STRANDS:
        raise ValueError(f"expected '+', '-' or '.' as strand, not {text!r:.80}")
    return text
