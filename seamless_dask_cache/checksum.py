"""A checksum names a buffer: SHA-256, 64 hex digits in text, 32 bytes in memory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from typing_extensions import Self

BytesLike = bytes | bytearray | memoryview
"""What a checksum can be computed from, without a copy."""

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
