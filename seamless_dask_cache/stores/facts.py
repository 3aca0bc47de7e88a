"""What can be said of a dataset without loading it."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DatasetFacts:
    """Sizes, times and checksum of a dataset.

    Attributes
    ----------
    name : str
    size, meta_size, mmap_size : int
        Bytes of the data, of the metadata, and of the file to map; 0 where there is none.
    modified : datetime
        When the data were written last (UTC).
    meta_modified : datetime or None
        When the metadata were.
    checksum : str
        SHA-256 of the data's pickle, now, in 64 hex digits.

    Examples
    --------
    >>> import tempfile
    >>> from seamless_dask_cache import stores
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     entry = stores.dirdb(folder)["a"]
    ...     entry.put_data(b"abc")
    ...     facts = entry.stat()
    >>> facts.size, facts.meta_size, facts.checksum[:8]
    (18, 0, 'b4cd2f83')
    """

    name: str
    size: int
    meta_size: int
    mmap_size: int
    modified: datetime.datetime
    meta_modified: datetime.datetime | None
    checksum: str


def facts_of(name: str, data: Path, meta: Path, mapped: Path) -> DatasetFacts:
    """Look at the files of a dataset.

    Raises
    ------
    FileNotFoundError
        When there are no data.
    """
    from seamless_dask_cache.identity.content import content_of

    # Remembered for as long as the file stays as it is.
    checksum = content_of(str(data)).digest.hex()
    of_data, of_meta, of_mapped = data.stat(), _status(meta), _status(mapped)
    return DatasetFacts(
        name=name,
        size=of_data.st_size,
        meta_size=of_meta.st_size if of_meta else 0,
        mmap_size=of_mapped.st_size if of_mapped else 0,
        modified=_time(of_data),
        meta_modified=_time(of_meta) if of_meta else None,
        checksum=checksum,
    )


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _time(status: os.stat_result) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(status.st_mtime, datetime.timezone.utc)
