"""What every buffer store can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from seamless_dask_cache.checksum import BytesLike, Checksum, checksum_hex
from seamless_dask_cache.errors import CorruptBufferError, StoreError

Key: TypeAlias = str | bytes | Checksum
"""A checksum in any of its forms."""

Frames: TypeAlias = BytesLike | Iterable[BytesLike]
"""The content of a buffer, whole or in parts."""


class BufferStore(ABC):
    """Where buffers live: a mapping from checksum to content.

    A miss is a return value (None, False); trouble is an error. A store trusts nobody: what is
    written must match its checksum, and what is read is verified unless `verify` is False.

    Parameters
    ----------
    verify : bool
        Whether `get` compares the content with the checksum.

    Notes
    -----
    All methods are synchronous, and safe to call from several threads at once. Stores can be
    pickled. A malformed checksum is a ValueError or TypeError, as `Checksum` raises it.
    """

    def __init__(self, *, verify: bool = True):
        self.verify = verify

    @abstractmethod
    def get(self, checksum: Key) -> bytes | memoryview | None:
        """Return the content of a buffer, or None if it is not here.

        A memoryview that is not read-only is private to the caller, who may write into it.

        Raises
        ------
        CorruptBufferError
            When the content does not match the checksum. The store has dropped it by then, if it
            could: the next `get` is a miss, the next `put` writes anew.
        StoreError
            When the content can't be read.
        """

    @abstractmethod
    def put(self, checksum: Key, frames: Frames) -> bool:
        """Store a buffer; return True if it was written, False if it was there already.

        Parameters
        ----------
        checksum : str, bytes or Checksum
        frames : bytes-like or iterable of bytes-like
            Their concatenation is the content. They are not copied by stores that write them out.

        Raises
        ------
        StoreError
            When the content can't be written, or does not match the checksum. Nothing of it is
            left in the store then.
        """

    def add(self, frames: Frames) -> str:
        """Store a buffer whose checksum is not known yet; return the checksum (hex).

        Stores that can, read the content once: they write while they compute the checksum.

        Parameters
        ----------
        frames : bytes-like or iterable of bytes-like
            As for `put`.

        Raises
        ------
        StoreError
            When the content can't be written. Nothing of it is left in the store then.
        """
        views = as_frames(frames)
        key = Checksum.of_frames(views).hex()
        self.put(key, views)
        return key

    @abstractmethod
    def has(self, checksum: Key) -> bool:
        """Tell whether a buffer is here, without reading it."""

    @abstractmethod
    def delete(self, checksum: Key) -> bool:
        """Remove a buffer; return whether it was there.

        Raises
        ------
        StoreError
            When it is there and can't be removed.
        """

    @abstractmethod
    def __iter__(self) -> Iterator[str]:
        """Iterate over the checksums (hex), in no particular order."""

    @abstractmethod
    def nbytes(self) -> int:
        """Return the total size of all buffers in bytes."""

    def has_many(self, checksums: Iterable[Key]) -> set[str]:
        """Return those of `checksums` (as hex) that are here."""
        return {checksum_hex(checksum) for checksum in checksums if self.has(checksum)}


def as_frames(frames: Frames) -> list[memoryview]:
    """Return the content of a buffer as views of bytes, none of them copied."""
    parts = [frames] if isinstance(frames, bytes | bytearray | memoryview) else frames
    return [memoryview(part).cast("B") for part in parts]


def refuse_corrupt(digest: str, key: str, nbytes: int, where: str) -> None:
    """Refuse to serve content under the name of another.

    Raises
    ------
    CorruptBufferError
    """
    if digest != key:
        raise CorruptBufferError(f"{where} holds {nbytes} bytes that are not buffer {key}")


def refuse_mismatch(digest: str, key: str, where: str) -> None:
    """Refuse to store content under the name of another.

    Raises
    ------
    StoreError
    """
    if digest != key:
        raise StoreError(f"{where}: the content to store has checksum {digest}, not {key}")
