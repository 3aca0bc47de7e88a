"""A checksum names a buffer: SHA-256, 64 hex digits in text, 32 bytes in memory."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from typing_extensions import Self

    from seamless_dask_cache.buffer_cache import TempRef

BytesLike = bytes | bytearray | memoryview
"""What a checksum can be computed from, without a copy."""

_SUFFIX = ".CHECKSUM"
_MOST_OF_A_FILE = 100

_HEX = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


class Checksum:
    """The SHA-256 checksum of a buffer.

    A checksum is immutable, hashable and ordered. It equals the string of its 64 lower-case hex
    digits and has the same hash, so both find each other in sets and dicts.

    Parameters
    ----------
    checksum : str, bytes or Checksum
        64 hex digits (of either case), 32 bytes, or another checksum.

    Raises
    ------
    TypeError
        For anything that is not str, bytes or Checksum (None included).
    ValueError
        For text that is not 64 hex digits, and for bytes that are not 32.

    Examples
    --------
    >>> Checksum.of(b"42\\n")
    Checksum('084c799cd551dd1d8d5c5f9a5d593b2e931f5e36122ee5c793c1d08a19839cc0')
    """

    __slots__ = ("_hex",)

    _hex: str

    def __init__(self, checksum: str | bytes | Checksum):
        object.__setattr__(self, "_hex", checksum_hex(checksum))

    @classmethod
    def of(cls, content: BytesLike) -> Self:
        """Compute the checksum of a buffer.

        Parameters
        ----------
        content : bytes-like
            The buffer; any contiguous object with the buffer protocol, read without a copy.
        """
        return cls(hashlib.sha256(content).digest())

    @classmethod
    def of_frames(cls, frames: Iterable[BytesLike]) -> Self:
        """Compute the checksum of the concatenation of `frames` without concatenating them."""
        digest = hashlib.sha256()
        for frame in frames:
            digest.update(frame)
        return cls(digest.digest())

    def hex(self) -> str:
        """Return the 64 lower-case hex digits."""
        return self._hex

    def bytes(self) -> bytes:
        """Return the 32 bytes."""
        return bytes.fromhex(self._hex)

    # Files ----------------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a checksum from a file.

        Parameters
        ----------
        path : str or path-like
            ``.CHECKSUM`` is added if it does not end so.

        Raises
        ------
        ValueError
            When the file holds something else; the message names it.
        OSError
            When it cannot be read.
        """
        from seamless_dask_cache.whole_files import read_start

        name = _file_name(path)
        content = read_start(name, _MOST_OF_A_FILE)
        try:
            return cls(content.decode("ascii").rstrip())
        except ValueError:
            raise ValueError(f"{name} holds no checksum, but {content[:80]!r}") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the checksum to a file that `load` and Seamless read: its hex digits in a line.

        Parameters
        ----------
        path : str or path-like
            ``.CHECKSUM`` is added if it does not end so.
        """
        from seamless_dask_cache.whole_files import write_whole

        write_whole(_file_name(path), [self._hex.encode() + b"\n"])

    # The buffer -----------------------------------------------------------------------------------

    def resolve(self, celltype: str | None = None) -> Any:
        """Return the buffer that the checksum names, or its value.

        It is looked for in the buffer cache of this process, then in the buffer stores and the
        database that are configured (or were enabled last). What a store gives is verified.

        Parameters
        ----------
        celltype : str, optional
            Return the value that the buffer has as this cell type instead.

        Returns
        -------
        Buffer or object

        Raises
        ------
        CacheMissError
            When nobody has it; the message names who was asked.
        CellTypeError
            When the buffer is not of the cell type.

        Notes
        -----
        This blocks while stores are read, also when an event loop runs in this thread; there, await
        `resolution` instead.
        """
        from seamless_dask_cache.resolving import resolve

        return _as_asked(resolve(self), celltype)

    async def resolution(self, celltype: str | None = None) -> Any:
        """Do as `resolve`, without blocking the event loop."""
        import asyncio

        return await asyncio.to_thread(self.resolve, celltype)

    async def fingertip(self, celltype: str | None = None) -> Any:
        """Return the buffer that the checksum names, or its value; compute it again if need be.

        Where `resolve` finds nothing, the database is asked which transformations gave this result.
        One whose code and inputs are at hand is run again, and counts if it gives this checksum.

        Parameters
        ----------
        celltype : str, optional
            Return the value that the buffer has as this cell type instead.

        Returns
        -------
        Buffer or object

        Raises
        ------
        CacheMissError
            When nobody has it, and no transformation gave it again; the message tells why.
        CellTypeError
            When the buffer is not of the cell type.

        Notes
        -----
        A coroutine that does not block the event loop; `fingertip_sync` is the same, blocking.
        What is computed again is kept in the buffer cache for a while, and stored nowhere.
        """
        import asyncio

        return await asyncio.to_thread(self.fingertip_sync, celltype)

    def fingertip_sync(self, celltype: str | None = None) -> Any:
        """Do as `fingertip`, in this thread, whether an event loop runs in it or not."""
        from seamless_dask_cache.recomputation import fingertip

        return _as_asked(fingertip(self), celltype)

    def incref(self) -> None:
        """Keep the buffer in memory until `decref`, as soon as this process has it."""
        from seamless_dask_cache.buffer_cache import get_buffer_cache

        get_buffer_cache().incref(self)

    def decref(self) -> None:
        """Take back one `incref`.

        Raises
        ------
        ReferenceCountError
            When there is none left.
        """
        from seamless_dask_cache.buffer_cache import get_buffer_cache

        get_buffer_cache().decref(self)

    def tempref(
        self, interest: float = 128.0, fade_factor: float = 2.0, fade_interval: float = 2.0
    ) -> TempRef:
        """Keep the buffer in memory for a while, 28 s by default.

        Parameters
        ----------
        interest, fade_factor, fade_interval : float
            As for `BufferCache.tempref`.
        """
        from seamless_dask_cache.buffer_cache import get_buffer_cache

        return get_buffer_cache().tempref(
            self, interest=interest, fade_factor=fade_factor, fade_interval=fade_interval
        )

    # Comparison -----------------------------------------------------------------------------------

    def __str__(self) -> str:
        return self._hex

    def __repr__(self) -> str:
        return f"Checksum({self._hex!r})"

    def __hash__(self) -> int:
        return hash(self._hex)

    def __eq__(self, other: object) -> bool:
        other_hex = _comparable(other)
        return NotImplemented if other_hex is None else self._hex == other_hex

    def __lt__(self, other: str | Checksum) -> bool:
        other_hex = _comparable(other)
        return NotImplemented if other_hex is None else self._hex < other_hex

    def __le__(self, other: str | Checksum) -> bool:
        other_hex = _comparable(other)
        return NotImplemented if other_hex is None else self._hex <= other_hex

    def __gt__(self, other: str | Checksum) -> bool:
        other_hex = _comparable(other)
        return NotImplemented if other_hex is None else self._hex > other_hex

    def __ge__(self, other: str | Checksum) -> bool:
        other_hex = _comparable(other)
        return NotImplemented if other_hex is None else self._hex >= other_hex

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Checksum is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Checksum is immutable: cannot delete {name!r}")

    def __reduce__(self) -> tuple[type[Checksum], tuple[str]]:
        return type(self), (self._hex,)


def checksum_hex(checksum: object) -> str:
    """Return the 64 lower-case hex digits of a checksum in any of its forms.

    Parameters
    ----------
    checksum : str, bytes or Checksum

    Raises
    ------
    TypeError, ValueError
        As `Checksum` does.
    """
    if isinstance(checksum, Checksum):
        return checksum._hex
    if isinstance(checksum, str):
        return _hex_from_text(checksum)
    if isinstance(checksum, bytes):
        return _hex_from_bytes(checksum)
    raise TypeError(f"a checksum is made from str, bytes or Checksum, not from {checksum!r:.80}")


def _hex_from_text(text: str) -> str:
    if not _HEX.fullmatch(text):
        raise ValueError(f"a checksum has 64 hex digits, not {text!r:.80} (length {len(text)})")
    return text.lower()


def _hex_from_bytes(digest: bytes) -> str:
    if len(digest) != 32:
        raise ValueError(f"a checksum has 32 bytes, not {digest!r:.80} (length {len(digest)})")
    return digest.hex()


def _comparable(other: object) -> str | None:
    # Only the lower-case spelling compares equal: an equal object must have an equal hash.
    if isinstance(other, Checksum):
        return other._hex
    return other if isinstance(other, str) else None


def _file_name(path: str | os.PathLike[str]) -> str:
    name = os.fspath(path)
    return name if name.endswith(_SUFFIX) else name + _SUFFIX


def _as_asked(buffer: Any, celltype: str | None) -> Any:
    return buffer if celltype is None else buffer.get_value(celltype)
