"""A buffer on its way into a directory: a temporary file, sealed while it is written."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from seamless_dask_cache.checksum import BytesLike
from seamless_dask_cache.storage.seals import Seal, Sealing, pieces


class ArrivingBuffer:
    """A buffer that is written part by part, and hashed meanwhile.

    Parameters
    ----------
    path : Path
        Of a file that does not exist. Who made this removes it when it is not wanted.

    Notes
    -----
    Used by one thread at a time, not always the same one.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file = path.open("xb", buffering=0)
        self._sealing = Sealing()

    def __enter__(self) -> ArrivingBuffer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def nbytes(self) -> int:
        """How much has arrived."""
        return self._sealing.nbytes

    def write(self, part: BytesLike) -> None:
        """Add the next part.

        Raises
        ------
        OSError
        """
        for piece in pieces([memoryview(part).cast("B")], self.nbytes):
            self._sealing.add(piece)
            while piece:
                # A raw file may write less than it was given.
                piece = piece[self._file.write(piece) :]

    def seal(self) -> Seal:
        """Return checksum and seal of what has arrived."""
        return self._sealing.seal()

    def fileno(self) -> int:
        """Return the descriptor of the file."""
        return self._file.fileno()

    def flush(self) -> None:
        """Wait until what has arrived is on the disk."""
        os.fsync(self._file.fileno())
