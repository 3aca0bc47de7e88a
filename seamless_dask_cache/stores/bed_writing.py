"""Writing BED files: the text of many lines is put together by pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from seamless_dask_cache.stores.bed_format import (
    BYTE_ORDER_MARK,
    EXTRAS,
    import_arrow,
    is_passed_over,
)
from seamless_dask_cache.stores.gzipped import encoded
from seamless_dask_cache.stores.interval_columns import Array, Columns
from seamless_dask_cache.stores.tracks import IntervalTrack

_LINES_AT_ONCE = 1 << 18


def lines_of(track: IntervalTrack) -> Iterator[memoryview]:
    """Yield the text of a BED file, many lines at once.

    Parameters
    ----------
    track : IntervalTrack

    Yields
    ------
    memoryview
        Whole lines.

    Raises
    ------
    ValueError, ImportError
        As `write_bed` does.

    Examples
    --------
    >>> track = IntervalTrack("t", [("chr1", 1, 2), ("chr1", 3, 4, "", None, "-")])
    >>> [bytes(frame) for frame in lines_of(track)]
    [b'chr1\\t1\\t2\\t.\\t.\\t.\\nchr1\\t3\\t4\\t.\\t.\\t-\\n']
    """
    arrow = import_arrow("")
    width = _width(track)
    for chrom in track.chroms:
        _check_chrom(chrom)
        intervals = track[chrom].columns
        for start in range(0, len(intervals), _LINES_AT_ONCE):
            some = intervals.select(slice(start, start + _LINES_AT_ONCE))
            columns = [arrow.scalar(chrom, arrow.large_string()), *_texts(arrow, some, width)]
            yield _joined(arrow, columns)


def _width(track: IntervalTrack) -> int:
    """Tell how many columns a file needs."""
    if track.extras != EXTRAS[: len(track.extras)]:
        raise ValueError(
            f"a BED file has room for the first of {', '.join(EXTRAS)}, not for "
            f"{', '.join(track.extras)}"
        )
    if track.extras:
        return 6 + len(track.extras)
    columns = track.columns
    optional = [columns.names, columns.scores, columns.strands]
    return max((4 + at for at, column in enumerate(optional) if column is not None), default=3)


def _check_chrom(chrom: str) -> None:
    line = encoded(f"{chrom}\t0\t0")
    if _has_breaks(chrom) or is_passed_over(line) or line.startswith(BYTE_ORDER_MARK):
        raise ValueError(f"a BED file cannot name a chromosome {chrom!r:.80}")


def _has_breaks(text: str) -> bool:
    return any(letter in text for letter in "\t\r\n")


def _texts(arrow: Any, columns: Columns, width: int) -> list[Any]:
    text = arrow.large_string()
    optional = [
        _named(arrow, columns.names),
        _scored(arrow, columns.scores),
        None if columns.strands is None else arrow.array(columns.strands.tolist(), text),
        *(_checked(arrow, column) for column in columns.extras.values()),
    ]
    nothing = arrow.scalar(".", text)
    return [
        arrow.array(columns.starts).cast(text),
        arrow.array(columns.ends).cast(text),
        *(nothing if column is None else column for column in optional),
    ][: width - 1]


def _named(arrow: Any, names: Array | None) -> Any:
    if names is None:
        return None
    compute = import_arrow("compute")
    column = _checked(arrow, names)
    nothing = arrow.scalar(".", column.type)
    return compute.if_else(compute.equal(column, arrow.scalar("", column.type)), nothing, column)


def _scored(arrow: Any, scores: Array | None) -> Any:
    if scores is None:
        return None
    # NaN becomes null; a number the shortest text that gives it back.
    return arrow.array(scores, from_pandas=True).cast(arrow.large_string()).fill_null(".")


def _checked(arrow: Any, texts: Array) -> Any:
    try:
        column = arrow.array(texts, arrow.large_string())
    except UnicodeEncodeError:
        # One of them is refused, and named.
        column = [encoded(text) for text in texts]
    compute = import_arrow("compute")
    if compute.any(compute.match_substring_regex(column, "[\t\r\n]")).as_py():
        wrong = next(text for text in texts if _has_breaks(text))
        raise ValueError(f"a BED file has no room for tabs and line breaks in {wrong!r:.80}")
    return column


def _joined(arrow: Any, columns: list[Any]) -> memoryview:
    compute = import_arrow("compute")
    tab, line_break, empty = (arrow.scalar(text, arrow.large_string()) for text in ("\t", "\n", ""))
    lines = compute.binary_join_element_wise(*columns, tab)
    lines = compute.binary_join_element_wise(lines, empty, line_break)
    # The texts of an Arrow array lie one after the other: they are the text of the file.
    return memoryview(lines.buffers()[2])
