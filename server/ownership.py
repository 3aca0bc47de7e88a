"""One writable server per file."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .failures import FileHeldError, StartupError


@contextmanager
def owning(file: Path) -> Iterator[None]:
    """Own a database file for writing, as long as the context lasts.

    The operating system frees the lock ``FILE.lock`` when its holder dies, in whatever way; who
    holds it stands in ``FILE.owner``, for people to read.

    Raises
    ------
    FileHeldError
        Another writable server holds the file; the text says which.
    StartupError
        The folder of the file is missing or cannot be written.
    """
    lock = FileLock(f"{file}.lock")
    owner = Path(f"{file}.owner")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise FileHeldError(f"{file} is held by another writable server: {_who(owner)}") from None
    except OSError as error:
        raise StartupError(f"cannot write beside {file}: {error}") from error
    try:
        owner.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}), "utf-8")
        yield
        owner.unlink(missing_ok=True)
    finally:
        lock.release()


def _who(owner: Path) -> str:
    try:
        holder = json.loads(owner.read_text("utf-8"))
        return f"process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "an unknown process"
