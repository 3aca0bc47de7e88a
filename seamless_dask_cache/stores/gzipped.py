"""Files of text that may be compressed with gzip."""

from __future__ import annotations

import contextlib
import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from seamless_dask_cache.checksum import BytesLike
from seamless_dask_cache.whole_files import write_whole

_MAGIC = b"\x1f\x8b"
# Best compression takes five times as long for a few per cent.
_LEVEL = 6


@contextlib.contextmanager
def open_content(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open the content of a file, decompressed when it starts as gzip does, whatever its name.

    Several members, as bgzip writes them, are one content.

    Parameters
    ----------
    path : str or path-like

    Yields
    ------
    file
        Of bytes, to be read.

    Raises
    ------
    OSError
        When it cannot be read.
    ValueError
        While reading, for a damaged or truncated gzip file; the message names it.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "text")
    >>> _ = path.write_bytes(gzip.compress(b"a") + gzip.compress(b"b"))
    >>> with open_content(path) as file:
    ...     file.read()
    b'ab'
    """
    with Path(path).open("rb") as file:
        if file.peek(2)[:2] != _MAGIC:
            yield file
            return
        try:
            with gzip.GzipFile(fileobj=file) as content:
                yield content  # type: ignore[misc]
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{os.fspath(path)}: damaged gzip file: {error}") from error


def write_content(path: str | os.PathLike[str], frames: Iterable[BytesLike]) -> None:
    """Write a file as a whole or not at all, compressed when its name ends in ".gz".

    Equal content gives equal files: no time stands in them.

    Parameters
    ----------
    path : str or path-like
    frames : iterable of bytes
        One after the other, they are the content.

    Raises
    ------
    OSError
        When it cannot be written; the file that was there before is there.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "text.gz")
    >>> write_content(path, [b"a", b"b"])
    >>> gzip.decompress(path.read_bytes())
    b'ab'
    """
    compressed = os.fspath(path).lower().endswith(".gz")
    write_whole(path, _compressed(frames) if compressed else frames)


def _compressed(frames: Iterable[BytesLike]) -> Iterator[bytes]:
    compressor = zlib.compressobj(_LEVEL, wbits=zlib.MAX_WBITS | 16)
    for frame in frames:
        yield compressor.compress(frame)
    yield compressor.flush()


def encoded(text: str) -> bytes:
    """Return a text in UTF-8, for a file.

    Parameters
    ----------
    text : str

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        For half of a surrogate pair, which stands for no letter; the message shows the text.

    Examples
    --------
    >>> encoded("gene")
    b'gene'
    >>> encoded("\\ud800")
    Traceback (most recent call last):
        ...
    ValueError: a file has no room for half of a surrogate pair in '\\ud800'
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"a file has no room for half of a surrogate pair in {text!r:.80}"
        ) from None


def stem(path: str | os.PathLike[str]) -> str:
    """Return the name of a file without its folder and its endings.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    str

    Examples
    --------
    >>> stem("data/peaks.final.bed.gz")
    'peaks.final'
    """
    name = Path(path)
    return name.with_suffix("").stem if name.suffix.lower() == ".gz" else name.stem
