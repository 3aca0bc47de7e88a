"""Seals: what a buffer must look like, so that damage is noticed without computing SHA-256.

A seal holds a CRC-32 for each MiB of a buffer. It is made while the checksum is computed, of the
same bytes, and lives beside the buffer. Comparing a buffer with its seal takes a twentieth of the
time of SHA-256, less than reading the buffer does.

CRC-32 notices each change of one or two bits in a MiB and each burst of up to 32 bits; any other
damage goes unnoticed with a probability of 2**-32 for each MiB that it hits. Nobody is kept from
forging a seal: who may write to a store is trusted, and what comes from elsewhere is verified by
its checksum before it gets a seal.

The format (numbers are little-endian)::

    offset  0   8 bytes   b"SDCSEAL" and the version, b"\\x01"
    offset  8   32 bytes  checksum of the buffer
    offset 40   uint64    length of the buffer in bytes
    offset 48   uint32    for each MiB of the buffer (the last may be shorter): CRC-32 as in zlib
    at the end  uint32    CRC-32 of the seal up to here
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from seamless_dask_cache.checksum import BytesLike

try:
    # The same codes as those of zlib, several times as fast.
    from zlib_ng.zlib_ng import crc32
except ImportError:
    from zlib import crc32

PART = 1 << 20
"""Bytes that one code stands for."""

_MAGIC = b"SDCSEAL\x01"
_HEAD = struct.Struct("<8s32sQ")
_CODE = struct.Struct("<I")


class Seal(NamedTuple):
    """What a buffer must look like.

    Attributes
    ----------
    key : str
        Its checksum in hex.
    nbytes : int
        Its length.
    codes : tuple of int
        CRC-32 of each MiB.
    """

    key: str
    nbytes: int
    codes: tuple[int, ...]

    def fits(self, content: BytesLike) -> bool:
        """Tell whether a buffer looks like that."""
        return len(content) == self.nbytes and self.fits_parts(pieces([memoryview(content)]))

    def fits_parts(self, parts: Iterable[BytesLike]) -> bool:
        """Tell whether a buffer of this length looks like that, given in parts of a MiB."""
        return all(crc32(part) == code for part, code in zip(parts, self.codes, strict=True))

    def pack(self) -> bytes:
        """Return the seal as bytes."""
        head = _HEAD.pack(_MAGIC, bytes.fromhex(self.key), self.nbytes)
        packed = head + b"".join(map(_CODE.pack, self.codes))
        return packed + _CODE.pack(crc32(packed))


def unpack(packed: bytes) -> Seal | None:
    """Undo `Seal.pack`; return None for what is not a whole seal of this version."""
    body, end = packed[: -_CODE.size], packed[-_CODE.size :]
    if len(packed) < _HEAD.size + _CODE.size or end != _CODE.pack(crc32(body)):
        return None
    magic, digest, nbytes = _HEAD.unpack_from(body)
    codes = body[_HEAD.size :]
    if magic != _MAGIC or len(codes) != _CODE.size * -(-nbytes // PART):
        return None
    return Seal(digest.hex(), nbytes, tuple(code for (code,) in _CODE.iter_unpack(codes)))


class Sealing:
    """The seal of a buffer that passes by in the pieces that `pieces` cuts."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._codes: list[int] = []
        self._nbytes = 0

    def add(self, piece: memoryview) -> None:
        """Look at the next piece."""
        # The code comes first: should the memory change meanwhile, the code is not that of the
        # changed bytes, and the checksum decides when the buffer is read.
        if self._nbytes % PART == 0:
            self._codes.append(crc32(piece))
        else:
            self._codes[-1] = crc32(piece, self._codes[-1])
        self._digest.update(piece)
        self._nbytes += len(piece)

    @property
    def nbytes(self) -> int:
        """How long the buffer is so far."""
        return self._nbytes

    def seal(self) -> Seal:
        """Return the seal of what was added."""
        return Seal(self._digest.hexdigest(), self._nbytes, tuple(self._codes))


def seal_of(content: BytesLike) -> Seal:
    """Compute the checksum and the seal of a buffer."""
    sealing = Sealing()
    for piece in pieces([memoryview(content)]):
        sealing.add(piece)
    return sealing.seal()


def pieces(views: Iterable[memoryview], position: int = 0) -> Iterator[memoryview]:
    """Cut a buffer, given in parts, so that no piece reaches across the end of a MiB.

    Small pieces are also faster: what works on them one after the other finds them in the
    processor's cache.

    Parameters
    ----------
    views : iterable of memoryview
    position : int
        Where in the buffer the first of them starts, in bytes.
    """
    for view in views:
        start = 0
        while start < len(view):
            stop = min(len(view), start + PART - position % PART)
            yield view[start:stop]
            position += stop - start
            start = stop
