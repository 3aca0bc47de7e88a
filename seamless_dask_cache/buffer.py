"""A buffer: the bytes that a checksum names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from seamless_dask_cache.buffer_cache import get_buffer_cache
from seamless_dask_cache.celltypes import deserialize, serialize
from seamless_dask_cache.checksum import Checksum

if TYPE_CHECKING:
    import os

    from seamless_dask_cache.buffer_cache import TempRef


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
    def verified(cls, content: bytes | memoryview, checksum: Checksum) -> Buffer:
        """Make a buffer whose checksum was computed by somebody who can be trusted."""
        buffer = cls(content)
        buffer._checksum = checksum
        return buffer

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Buffer:
        """Read a buffer from a file."""
        return cls(Path(path).read_bytes())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the buffer to a file; there is the old one or the whole new one, at any moment."""
        from seamless_dask_cache.whole_files import write_whole

        write_whole(path, [self._content])

    @property
    def content(self) -> bytes:
        """The bytes; a memoryview if the buffer was made from one."""
        return cast(bytes, self._content)

    @property
    def checksum(self) -> Checksum:
        """The SHA-256 checksum, computed at the first access."""
        return self.get_checksum()

    def get_checksum(self) -> Checksum:
        """Return the SHA-256 checksum, computing it at the first call.

        From then on, as long as somebody holds the buffer, `Checksum.resolve` finds it, unless it
        is a view of memory that could change.
        """
        if self._checksum is None:
            self._checksum = Checksum.of(self._content)
            if self.is_fixed:
                get_buffer_cache().register(self)
        return self._checksum

    @property
    def is_fixed(self) -> bool:
        """Whether nobody can change the content: bytes, or a memoryview of bytes."""
        # A view that is read-only may be one of memory that others write to, or of a file.
        content = self._content
        return isinstance(content, bytes) or isinstance(content.obj, bytes)

    def fixed(self) -> Buffer:
        """Return a buffer whose content cannot change: this one, or a copy.

        Raises
        ------
        ValueError
            When the content has changed since the checksum was computed.
        """
        if self.is_fixed:
            return self
        copy = Buffer(bytes(self._content))
        if Checksum.of(copy._content) != self.get_checksum():
            raise ValueError(f"the memory of buffer {self.get_checksum()} has changed")
        return copy

    def incref(self) -> None:
        """Keep the buffer in memory, found by its checksum, until `decref`.

        A copy is kept if it is a view of memory that could change.
        """
        get_buffer_cache().incref(self.get_checksum(), self)

    def decref(self) -> None:
        """Take back one `incref`.

        Raises
        ------
        ReferenceCountError
            When there is none left.
        """
        get_buffer_cache().decref(self.get_checksum())

    def tempref(
        self, interest: float = 128.0, fade_factor: float = 2.0, fade_interval: float = 2.0
    ) -> TempRef:
        """Keep the buffer in memory for a while, 28 s by default.

        Parameters
        ----------
        interest, fade_factor, fade_interval : float
            As for `BufferCache.tempref`.
        """
        return get_buffer_cache().tempref(
            self.get_checksum(),
            self,
            interest=interest,
            fade_factor=fade_factor,
            fade_interval=fade_interval,
        )

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
        if not content.nbytes:
            return b""  # such a view may have no form that can be cast
        return content.cast("B") if content.c_contiguous else bytes(content)
    if isinstance(content, bytearray):
        return bytes(content)
    kind = type(content).__qualname__
    raise TypeError(f"a buffer is made from bytes, or a value and a cell type, not {kind}")
