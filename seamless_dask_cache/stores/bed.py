"""BED files: intervals as lines of text.

Source: the BED specification v1.0 (GA4GH) and the page on formats of the UCSC genome browser.
Three to twelve columns: chromosome, start, end, name, score, strand, and six more, which are kept
as text.
"""

from __future__ import annotations

import os

from seamless_dask_cache.stores.bed_reading import read_rows
from seamless_dask_cache.stores.bed_writing import lines_of
from seamless_dask_cache.stores.gzipped import stem, write_content
from seamless_dask_cache.stores.labels import TrackLabel
from seamless_dask_cache.stores.tracks import IntervalTrack


def read_bed(path: str | os.PathLike[str], label: TrackLabel | str | None = None) -> IntervalTrack:
    """Read a track from a BED file, plain or gzip.

    Parameters
    ----------
    path : str or path-like
        Whether it is compressed is told by its content.
    label : TrackLabel or str, optional
        The name of the file without its endings by default.

    Returns
    -------
    IntervalTrack
        Columns 7 to 12 are `extras`, under the names of the specification: thickStart, thickEnd,
        itemRgb, blockCount, blockSizes, blockStarts.

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        For a line that is not of the format, and for a damaged gzip file. The message names the
        file, the line, and what was expected.
    ImportError
        Without pyarrow, which the extra "genomics" brings.

    Notes
    -----
    Lines that are empty or start with "#", "track" or "browser" are passed over, wherever they are.
    All others have the same number of columns, separated by tabs; in a line without a tab, by any
    white space. "." or nothing stands for no name, no score, no strand. A score may be any number.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "peaks.bed")
    >>> _ = path.write_text("track name=peaks\\nchr1\\t10\\t20\\ta peak\\t7\\n")
    >>> list(read_bed(path))
    [Interval(chrom='chr1', start=10, end=20, name='a peak', score=7.0, strand='.')]
    """
    return IntervalTrack(stem(path) if label is None else label, read_rows(path))


def write_bed(track: IntervalTrack, path: str | os.PathLike[str]) -> None:
    """Write a track to a BED file, as a whole or not at all.

    There are as many columns as the track has something for. Reading the file gives an equal track;
    equal tracks give equal files.

    Parameters
    ----------
    track : IntervalTrack
    path : str or path-like
        Compressed when it ends in ".gz".

    Raises
    ------
    TypeError
        For what is no IntervalTrack.
    ValueError
        For what would not come back: a tab, a line break or half of a surrogate pair in a text, a
        chromosome that would make its line a comment, and `extras` other than the first of those
        that `read_bed` names.
    ImportError
        Without pyarrow, which the extra "genomics" brings.
    OSError
        When the file cannot be written; the one that was there before is there.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "peaks.bed")
    >>> write_bed(IntervalTrack("peaks", [("chr1", 10, 20, "", 0.5)]), path)
    >>> path.read_text()
    'chr1\\t10\\t20\\t.\\t0.5\\n'
    """
    if not isinstance(track, IntervalTrack):
        raise TypeError(f"a BED file is written of an IntervalTrack, not of {track!r:.80}")
    write_content(path, lines_of(track))
