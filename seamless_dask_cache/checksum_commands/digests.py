"""The checksum of a file: streamed, with a buffer of fixed size."""

from __future__ import annotations

import os
import stat

from seamless_dask_cache.checksum_commands.failures import FileFailure, reason_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO
    from typing import Any

STANDARD_INPUT = "-"
"""The name that stands for standard input."""

CHUNK = 1 << 18
"""Bytes read at once: larger ones leave the second-level cache before they are hashed."""

SUFFIXES = (".gz", ".zst")
"""Ends of names whose content counts decompressed, as the published commands have it."""

_SMALL = 1 << 17
# OpenSSL has five times the speed of Python's own SHA-256, but takes 2 ms to load.


def checksum_of(
    name: str,
    *,
    raw: bool = False,
    settled: bool = False,
    note: Callable[[int], object] = lambda count: None,
) -> str:
    """Compute the checksum of a file.

    Parameters
    ----------
    name : str
        A path, or `STANDARD_INPUT`.
    raw : bool
        Whether a compressed file counts as it is; else its decompressed content does.
    settled : bool
        Whether it must be a regular file that does not change meanwhile.
    note : callable
        Told how many bytes were read, chunk by chunk.

    Returns
    -------
    str
        64 hex digits.

    Raises
    ------
    FileFailure
        When it cannot be read to its end.
    """
    try:
        with _opened(name, settled) as file:
            before = os.fstat(file.fileno())
            if settled:
                _require_regular(before)
            checksum = _checksum(file, before, None if raw else compression_of(name), note)
            if settled and _state(before) != _state(os.fstat(file.fileno())):
                raise FileFailure("changed while it was read")
            return checksum
    except (OSError, ValueError) as error:
        raise FileFailure(reason_of(error)) from error


def compression_of(name: str) -> str | None:
    """Return the suffix that says how a file is compressed, or None.

    A name that is nothing but the suffix, such as ``folder/.gz``, says nothing.
    """
    base = os.path.basename(name)
    return next((end for end in SUFFIXES if base.endswith(end) and base != end), None)


def without_compression(name: str) -> str:
    """Return the name that the decompressed file would have."""
    return name[: -len(compression_of(name) or "") or None]


def _opened(name: str, settled: bool) -> FileIO:
    if name == STANDARD_INPUT:
        return open(0, "rb", buffering=0, closefd=False)
    return open(name, "rb", buffering=0, opener=_open_regular if settled else None)


def _open_regular(name: str, flags: int) -> int:
    # Opening some devices has effects; and a pipe that takes the place of the file after the look
    # at it must not keep us waiting for a writer.
    _require_regular(os.stat(name))
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        is_folder = stat.S_ISDIR(status.st_mode)
        raise FileFailure("Is a directory" if is_folder else "not a regular file")


def _state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _checksum(
    file: FileIO, status: os.stat_result, suffix: str | None, note: Callable[[int], object]
) -> str:
    if suffix is not None:
        from seamless_dask_cache.checksum_commands.compressed import decompressed

        digest = _new_digest(small=False)
        for piece in decompressed(file, suffix, note):
            digest.update(piece)
        return str(digest.hexdigest())
    digest = _new_digest(small=stat.S_ISREG(status.st_mode) and status.st_size <= _SMALL)
    _feed(file, digest, note)
    return str(digest.hexdigest())


def _feed(file: FileIO, digest: Any, note: Callable[[int], object]) -> None:
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    while count := file.readinto(buffer):
        digest.update(view[:count])
        note(count)
    if count is None:  # nothing yet: not the end, and no checksum of what came so far
        raise FileFailure("Resource temporarily unavailable")


def _new_digest(small: bool) -> Any:
    if small:
        try:
            from _sha2 import sha256  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            try:
                from _sha256 import sha256  # type: ignore[import-not-found, unused-ignore]
            except ImportError:
                from hashlib import sha256
    else:
        from hashlib import sha256
    return sha256()
