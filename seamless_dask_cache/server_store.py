"""A buffer store that is a database server: who reaches the database reaches the buffers, too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .checksum import Checksum, checksum_hex
from .database import DatabaseClient
from .errors import DatabaseError, DatabaseUnavailableError, StoreError
from .storage.base import BufferStore, Frames, Key, as_frames, refuse_corrupt, refuse_mismatch


class ServerStore(BufferStore):
    """Buffers that a database server keeps, over HTTP.

    Parameters
    ----------
    client : DatabaseClient
        Who asks the server; it is the caller's to close.
    verify : bool
        Whether `get` compares the content with the checksum.

    Notes
    -----
    Thread-safe, as the client is. A server that does not answer is a `DatabaseUnavailableError`
    everywhere. Buffers are neither deleted nor listed over HTTP.

    Examples
    --------
    >>> ServerStore(DatabaseClient("http://127.0.0.1:5522"))
    <ServerStore: http://127.0.0.1:5522>
    """

    def __init__(self, client: DatabaseClient, *, verify: bool = True):
        super().__init__(verify=verify)
        self.client = client

    def __repr__(self) -> str:
        return f"<ServerStore: {self.client.url}>"

    def get(self, checksum: Key) -> bytes | None:  # noqa: D102  (the interface says it)
        key = checksum_hex(checksum)
        content = self.client.fetch_buffer(key)
        if content is not None and self.verify:
            refuse_corrupt(Checksum.of(content).hex(), key, len(content), repr(self))
        return content

    def put(self, checksum: Key, frames: Frames) -> bool:  # noqa: D102
        key, views = checksum_hex(checksum), as_frames(frames)
        refuse_mismatch(Checksum.of_frames(views).hex(), key, repr(self))
        return self._send(key, views)

    def add(self, frames: Frames) -> str:  # noqa: D102
        views = as_frames(frames)
        key = Checksum.of_frames(views).hex()
        self._send(key, views)
        return key

    def _send(self, key: str, views: list[memoryview]) -> bool:
        if self.has(key):  # a question is cheaper than a large buffer that is thrown away
            return False
        try:
            self.client.send_buffer(key, b"".join(views))
        except DatabaseUnavailableError:
            raise
        except DatabaseError as error:
            raise StoreError(str(error)) from error
        return True

    def has(self, checksum: Key) -> bool:  # noqa: D102
        return bool(self.has_many([checksum]))

    def has_many(self, checksums: Iterable[Key]) -> set[str]:  # noqa: D102
        return self.client.have_buffers(map(checksum_hex, checksums))

    def delete(self, checksum: Key) -> bool:
        """Return False: others may need it, so a server lets nobody delete."""
        checksum_hex(checksum)
        return False

    def __iter__(self) -> Iterator[str]:
        raise StoreError(f"{self!r} does not list its buffers")

    def nbytes(self) -> int:  # noqa: D102
        raise StoreError(f"{self!r} does not tell the size of all its buffers")
