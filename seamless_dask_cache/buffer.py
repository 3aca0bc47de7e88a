"""A buffer: the bytes that a checksum names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from seamless_dask_cache.celltypes import deserialize, serialize
from seamless_dask_cache.checksum import Checksum

if TYPE_CHECKING:
    import os


class Buffer:
    """The bytes that a checksum names, from bytes or from a value and its cell type.

    Parameters
    ----------
    content : bytes-like, Buffer, or any value
        Without `celltype`: the bytes themselves. Bytes and memoryviews are kept without a copy, so
        memory behind a memoryview must not change any more; a bytearray is copied.
    celltype : str, optional
        Makes `content` a value, which is serialized as this cell type.

    Raises
    ------
    TypeError
        When there is no cell type and `content` is not bytes-like.
    CellTypeError
        When the value does not fit the cell type.

    Examples
    --------
    >>> Buffer({"b": 1, "a": [1, 2]}, "plain").get_value("plain")
    {'a': [1, 2], 'b': 1}
    """

    __slots__ = ("__weakref__", "_checksum", "_content")

    def __init__(self, content: Any, celltype: str | None = None):
        self._content = _raw(content) if celltype is None else serialize(content, celltype)
        self._checksum: Checksum | None = None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Buffer:
        """Read a buffer from a file."""
        return cls(Path(path).read_bytes())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the buffer to a file."""
        Path(path).write_bytes(self._content)

    @property
    def content(self) -> bytes:
        """The bytes; a memoryview if the buffer was made from one."""
        return cast(bytes, self._content)

    @property
    def checksum(self) -> Checksum:
        """The SHA-256 checksum, computed at the first access."""
        return self.get_checksum()

    def get_checksum(self) -> Checksum:
        """Return the SHA-256 checksum, computing it at the first call."""
        if self._checksum is None:
            self._checksum = Checksum.of(self._content)
        return self._checksum

    def get_value(self, celltype: str) -> Any:
        """Read the buffer as a cell type; the value is new at each call and shares no memory.

        Raises
        ------
        CellTypeError
            When the buffer is not of this cell type.
        """
        return deserialize(self._content, celltype)

    def __len__(self) -> int:
        return len(self._content)

    def __eq__(self, other: object) -> bool:
        return self._content == other._content if isinstance(other, Buffer) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.get_checksum())

    def __repr__(self) -> str:
        return f"<Buffer {self.get_checksum()}, {len(self)} bytes>"

    def __reduce__(self) -> tuple[type[Buffer], tuple[bytes]]:
        return type(self), (bytes(self._content),)


def _raw(content: Any) -> bytes | memoryview:
    if isinstance(content, Buffer):
        return content._content
    if isinstance(content, bytes):
        return content
    if isinstance(content, memoryview):
        return content.cast("B") if content.c_contiguous else bytes(content)
    if isinstance(content, bytearray):
        return bytes(content)
    kind = type(content).__qualname__
    raise TypeError(f"a buffer is made from bytes, or a value and a cell type, not {kind}")
