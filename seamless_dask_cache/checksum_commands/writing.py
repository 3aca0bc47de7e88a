"""Files that are there as a whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from seamless_dask_cache.checksum_commands.failures import FileFailure, reason_of
from seamless_dask_cache.whole_files import flush_folder, prepared


def write_whole(path: str, content: bytes) -> None:
    """Write a file, in one step for everybody else; what was there is replaced.

    Parameters
    ----------
    path : str
        Where it is a symbolic link, the file behind it is written.
    content : bytes

    Raises
    ------
    FileFailure
        When it cannot be written; then what was there is as it was.
    """
    with _prepared(path, content) as (target, new), _named(path):
        os.replace(new, target)
        flush_folder(os.path.dirname(target))


def write_pair(path: str, content: bytes, checksum_path: str, checksum: bytes) -> None:
    """Write a file and the file with its checksum.

    Whenever this ends, also by a crash, there is no checksum beside a file that it does not fit:
    the old one is gone before the file is replaced, and the new one comes after it.

    Raises
    ------
    FileFailure
        When they cannot be written; then both are as they were, unless renaming failed halfway,
        after which there is no checksum.
    """
    with (
        _prepared(path, content) as (target, new),
        _prepared(checksum_path, checksum) as (checksum_target, new_checksum),
        _undisturbed(),
    ):
        with _named(path), _set_aside(checksum_target):
            os.replace(new, target)
        with _named(checksum_path):
            os.replace(new_checksum, checksum_target)
        flush_folder(os.path.dirname(target))


@contextmanager
def _prepared(path: str, content: bytes) -> Iterator[tuple[str, str]]:
    """Do as `prepared`, with failures that name the file that the user knows."""
    with contextlib.ExitStack() as stack:
        with _named(path):
            if os.path.isdir(path):
                raise FileFailure("a folder is in the way", path)
            names = stack.enter_context(prepared(path, [content]))
        yield names


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Name the file that the user knows, not the temporary one, when something fails."""
    try:
        yield
    except OSError as error:
        raise FileFailure(f"cannot be written: {reason_of(error)}", path) from error


@contextmanager
def _set_aside(path: str) -> Iterator[None]:
    """Take a file away; for good when the block ends well, else it comes back."""
    aside = os.path.join(os.path.dirname(path), f".checksum-{secrets.token_hex(8)}.old")
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        yield
        return
    try:
        yield
    except BaseException:
        os.rename(aside, path)
        raise
    os.unlink(aside)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no request to stop come between a few renames; afterwards there is nothing to stop."""
    numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if os.name == "posix" else [])]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
