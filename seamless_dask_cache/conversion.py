"""Conversions between cell types, of buffers."""

from __future__ import annotations

from seamless_dask_cache.buffer import Buffer
from seamless_dask_cache.celltypes.conversion_rules import classify_conversion
from seamless_dask_cache.celltypes.conversions import convert_content
from seamless_dask_cache.checksum import BytesLike

__all__ = ["classify_conversion", "convert"]


def convert(buffer: Buffer | BytesLike, source: str, target: str) -> Buffer:
    """Turn a buffer of one cell type into one of another.

    Parameters
    ----------
    buffer : Buffer or bytes-like
        A valid buffer of the cell type `source`.
    source, target : str
        Two cell types, of `CELLTYPES`.

    Returns
    -------
    Buffer
        The same object, if it was a `Buffer` and its checksum stays. What `classify_conversion`
        says of the pair holds: a trivial conversion does not look at the content, one that
        reinterprets looks and changes nothing.

    Raises
    ------
    ConversionError
        The conversion is forbidden, or fails for this buffer; the message tells why.
    CellTypeError
        One of the cell types is unknown.

    Notes
    -----
    A conversion of the class *reformat* fails in few cases, for valid buffers for which there is no
    answer: an int beyond the range of float, as float; YAML that refers to itself, is nested a few
    hundred deep, holds half a surrogate pair, or expands to more than a million values, as plain.
    Text becomes code without being checked. Of bytes, NULs at the end survive; but an empty buffer
    and one NUL are the same byte string in numpy, and come back as one NUL.

    Examples
    --------
    >>> convert(b'"hi"\\n', "plain", "text").content
    b'hi\\n'
    >>> convert(b"hi\\n", "text", "plain").content
    b'"hi"\\n'
    """
    given = buffer if isinstance(buffer, Buffer) else Buffer(buffer)
    converted = convert_content(given.content, source, target)
    return given if converted is given.content else Buffer(converted)
