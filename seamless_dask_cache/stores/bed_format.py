"""What the readers and the writer of BED files share."""

from __future__ import annotations

from typing import Any

EXTRAS = ("thickStart", "thickEnd", "itemRgb", "blockCount", "blockSizes", "blockStarts")
COLUMNS = ("chrom", "start", "end", "name", "score", "strand", *EXTRAS)
FEWEST = 3
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_FOR_BROWSERS = (b"track", b"browser")


def is_passed_over(line: bytes) -> bool:
    """Tell whether a line says nothing of an interval.

    Parameters
    ----------
    line : bytes
        With or without its end.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_passed_over(b"track name=peaks"), is_passed_over(b"tracks\\t1\\t2")
    (True, False)
    """
    words = line.split(None, 1)
    for_browsers = bool(words) and words[0] in _FOR_BROWSERS and line.startswith(words[0])
    return not words or line.startswith(b"#") or for_browsers


def import_arrow(name: str) -> Any:
    """Import a module of pyarrow.

    Parameters
    ----------
    name : str
        Within pyarrow; empty for pyarrow itself.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        When it is not installed; the message names the extra that brings it.

    Examples
    --------
    >>> import_arrow("csv").__name__
    'pyarrow.csv'
    """
    from importlib import import_module

    try:
        return import_module(f"pyarrow.{name}" if name else "pyarrow")
    except ImportError as error:
        raise ImportError(
            "BED files need pyarrow: pip install 'seamless-dask-cache[genomics]'"
        ) from error
