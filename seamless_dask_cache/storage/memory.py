"""A buffer store in the memory of this process."""

from __future__ import annotations

from collections.abc import Iterator

from seamless_dask_cache.checksum import Checksum, checksum_hex
from seamless_dask_cache.errors import CorruptBufferError
from seamless_dask_cache.storage.base import (
    BufferStore,
    Frames,
    Key,
    as_frames,
    refuse_corrupt,
    refuse_mismatch,
)


class MemoryStore(BufferStore):
    """Buffers in a dict, for tests and for caches that need not outlive the process.

    Parameters
    ----------
    verify : bool
        Whether `get` compares the content with the checksum.

    Notes
    -----
    Thread-safe: each method is one operation on the dict. A pickled store takes its buffers along:
    the copy shares nothing with the original.
    """

    def __init__(self, *, verify: bool = True):
        super().__init__(verify=verify)
        self._buffers: dict[str, bytes] = {}

    def get(self, checksum: Key) -> bytes | None:  # noqa: D102  (the interface says it)
        key = checksum_hex(checksum)
        content = self._buffers.get(key)
        if content is not None and self.verify:
            self._verify(content, key)
        return content

    def put(self, checksum: Key, frames: Frames) -> bool:  # noqa: D102
        key = checksum_hex(checksum)
        views = as_frames(frames)
        found = self._buffers.get(key)
        if found is not None and len(found) == sum(map(len, views)):
            return False
        content = b"".join(views)
        refuse_mismatch(Checksum.of(content).hex(), key, "MemoryStore")
        return self._keep(key, content)

    def add(self, frames: Frames) -> str:  # noqa: D102
        content = b"".join(as_frames(frames))
        key = Checksum.of(content).hex()
        self._keep(key, content)
        return key

    def has(self, checksum: Key) -> bool:  # noqa: D102
        return checksum_hex(checksum) in self._buffers

    def delete(self, checksum: Key) -> bool:  # noqa: D102
        return self._buffers.pop(checksum_hex(checksum), None) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._buffers))

    def nbytes(self) -> int:  # noqa: D102
        return sum(map(len, list(self._buffers.values())))

    def __repr__(self) -> str:
        return f"<MemoryStore: {len(self._buffers)} buffers>"

    def _keep(self, key: str, content: bytes) -> bool:
        found = self._buffers.get(key)
        if found is not None and len(found) != len(content):
            self._buffers.pop(key, None)  # an accident
        # setdefault is atomic: of two threads that got here together, one has written.
        return self._buffers.setdefault(key, content) is content

    def _verify(self, content: bytes, key: str) -> None:
        try:
            refuse_corrupt(Checksum.of(content).hex(), key, len(content), "MemoryStore")
        except CorruptBufferError:
            self._buffers.pop(key, None)
            raise
