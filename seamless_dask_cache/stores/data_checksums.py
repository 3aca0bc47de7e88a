"""Checksums of data that stand in their metadata."""

from __future__ import annotations

import re

from seamless_dask_cache.stores.data_files import Written
from seamless_dask_cache.stores.metadata import Metadata

CHECKSUM, MMAP_CHECKSUM = "checksum", "mmap_checksum"
"""Where in the metadata the checksums of the two files of the data stand, if they do."""

_HEX = re.compile(r"[0-9a-f]{64}")


def is_checksum(value: object) -> bool:
    """Tell whether a value could be one that is kept here: 64 hex digits.

    Examples
    --------
    >>> is_checksum("a" * 64), is_checksum("mine")
    (True, False)
    """
    return isinstance(value, str) and _HEX.fullmatch(value) is not None


def add_checksums(meta: Metadata, written: Written) -> None:
    """Put the checksums of what was written into metadata.

    Examples
    --------
    >>> meta = Metadata(mmap_checksum="a" * 64)
    >>> add_checksums(meta, Written("b" * 64, None))
    >>> list(meta)
    ['checksum']
    """
    drop_checksums(meta)
    meta[CHECKSUM] = written.pickle
    if written.mmap is not None:
        meta[MMAP_CHECKSUM] = written.mmap


def drop_checksums(meta: Metadata) -> None:
    """Take the checksums of other data out of metadata.

    Examples
    --------
    >>> meta = Metadata(checksum="a" * 64, mmap_checksum="mine")
    >>> drop_checksums(meta)
    >>> meta
    {'mmap_checksum': 'mine'}
    """
    for key in (CHECKSUM, MMAP_CHECKSUM):
        if is_checksum(meta.get(key)):
            del meta[key]
