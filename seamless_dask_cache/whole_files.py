"""Files that are there as a whole: the old one or the new one, at any moment."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from seamless_dask_cache.checksum import BytesLike

if TYPE_CHECKING:
    from typing import BinaryIO, Literal


# Systems and file systems that do not know this, and folders that may be written and not read.
_CANNOT_FLUSH_FOLDERS = frozenset(
    {errno.EACCES, errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOSYS, errno.ENOTSUP}
    | {errno.EPERM, errno.EROFS}
)


def write_whole(path: str | os.PathLike[str], frames: Iterable[BytesLike]) -> None:
    """Write a file, or replace it, so that nobody ever sees a part of it.

    The content is brought to the disk before it gets its name. What is no regular file, such as
    ``/dev/stdout``, is written to as it is; a symbolic link stays one.

    Parameters
    ----------
    path : str or path-like
    frames : iterable of bytes-like
        Their concatenation is the content.

    Raises
    ------
    OSError
        When it cannot be written; the file that was there before is there, and nothing else.
    """
    if _is_special(path):
        with open(path, "wb") as file:
            file.writelines(frames)
        return
    with prepared(path, frames) as (target, new):
        os.replace(new, target)
        flush_folder(os.path.dirname(target))


@contextlib.contextmanager
def prepared(
    path: str | os.PathLike[str], frames: Iterable[BytesLike]
) -> Iterator[tuple[str, str]]:
    """Write a temporary file beside the one that it is to replace; it is gone in the end.

    Parameters
    ----------
    path : str or path-like
        Where it is a symbolic link, the file behind it is to be replaced.
    frames : iterable of bytes-like
        Their concatenation is the content, which is on the disk when the context begins.

    Yields
    ------
    (str, str)
        The path to replace, and that of the temporary file, which can be renamed to it.
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    # Not the whole name, to which this would add: names of up to 255 bytes are allowed.
    new = os.path.join(folder, f".{name[:50]}.{secrets.token_hex(8)}.part")
    try:
        _write_to_disk(new, frames)
        yield target, new
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)


@contextlib.contextmanager
def on_disk(path: str | os.PathLike[str], mode: Literal["wb", "xb"] = "wb") -> Iterator[BinaryIO]:
    """Open a file for writing, whose content is on the disk when the context ends.

    Parameters
    ----------
    path : str or path-like
    mode : {"wb", "xb"}
        Whether a file that is there is emptied, or an error.
    """
    with open(path, mode) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def read_start(path: str | os.PathLike[str], nbytes: int) -> bytes:
    """Read so many bytes of a file, or all if there are less."""
    with open(path, "rb") as file:
        return file.read(nbytes)


def flush_folder(folder: str | os.PathLike[str]) -> None:
    """Bring the names of a folder to the disk, where the system can do that.

    Raises
    ------
    OSError
        When the disk fails.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH_FOLDERS:
            raise


def _is_special(path: str | os.PathLike[str]) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _write_to_disk(path: str, frames: Iterable[BytesLike]) -> None:
    with on_disk(path, "xb") as file:
        file.writelines(frames)
