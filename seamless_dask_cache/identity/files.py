"""File state: how a task that is given a path is identified by what lies there.

The state of a file is its size and modification time in nanoseconds; of a folder, the states of
everything below it. A task that names a path which exists gets these states into its recipe, so
that a changed input is another transformation.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity.objects import register_identity

MAX_PATH_LENGTH = 4096
MAX_STRINGS = 10_000
MAX_FOLDER_ENTRIES = 20_000
REMOTE = frozenset(
    {"http", "https", "ftp", "sftp", "ssh", "smb", "s3", "s3a", "gs", "gcs", "abfs", "abfss"}
    | {"az", "adl", "wasb", "hdfs", "webhdfs", "memory"}
)


class FileStates:
    """File states as they were during one pass over a graph; each path is looked at once."""

    def __init__(self) -> None:
        self._states: dict[str, str | None] = {}

    def of(self, *paths: str) -> dict[str, str]:
        """Return the state of each path that exists; a path that does not is left out.

        Raises
        ------
        RefusedError
            When a folder is too large to be looked through.
        """
        found = {}
        for path in paths:
            if path not in self._states:
                self._states[path] = file_state(path) if could_be_path(path) else None
            state = self._states[path]
            if state is not None:
                found[path] = state
        return found


def file_state(path: str) -> str | None:
    """Return the state of a file or folder as text, or None where nothing exists.

    Parameters
    ----------
    path : str
        A path; ``~`` and ``file://`` are understood as pandas and fsspec do.

    Raises
    ------
    RefusedError
        When a folder holds more than 20,000 entries.
    """
    path = os.path.expanduser(path.removeprefix("file://"))
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            return _folder_state(path)
    except (OSError, ValueError):
        return None
    return f"{status.st_size}-{status.st_mtime_ns}"


def _folder_state(folder: str) -> str:
    digest = hashlib.sha256()
    seen: set[str] = set()
    entries = 0
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        entries += len(folders) + len(files)
        if entries > MAX_FOLDER_ENTRIES:
            raise RefusedError(f"the folder {folder!r} holds too many files to look through")
        digest.update(f"{os.path.relpath(root, folder)}\0{folders}\0".encode())
        for name in sorted(files):
            digest.update(f"{name}\0{_entry_state(os.path.join(root, name))}\0".encode())
    return digest.hexdigest()


def _entry_state(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return "gone"
    return f"{status.st_size}-{status.st_mtime_ns}"


def refuse_remote(strings: Iterable[str]) -> None:
    """Refuse a task that is given the address of something remote: its state is not known.

    Raises
    ------
    RefusedError
        Naming the first such address.
    """
    for text in strings:
        scheme = text[:16].partition("://")
        if scheme[1] and scheme[0].lower() in REMOTE:
            raise RefusedError(f"the state of the remote file {text!r} is not known")


def _open_file_identity(file: Any) -> Any:
    protocol = file.fs.protocol
    names = (protocol,) if isinstance(protocol, str) else tuple(protocol)
    if "file" not in names and "local" not in names:
        raise RefusedError(f"the state of the remote file {file.full_name!r} is not known")
    how = (file.mode, file.compression, file.encoding, file.errors, file.newline)
    return (file.path, file_state(file.path), *map(repr, how))


def identify_open_files() -> None:
    """Let fsspec's files that are not opened yet be identified by their state."""
    from fsspec.core import OpenFile

    register_identity(OpenFile, _open_file_identity)


def path_candidates(value: Any) -> Iterator[str]:
    """Yield the strings and paths inside nested builtin containers that could name a file."""
    stack = [value]
    seen = 0
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind is str:
            if could_be_path(item):
                yield item
        elif kind is list or kind is tuple or kind is set or kind is frozenset:
            seen += len(item)
            if seen <= MAX_STRINGS:
                stack.extend(item)
        elif isinstance(item, Mapping) and kind.__module__ in ("builtins", "collections"):
            seen += len(item)
            if seen <= MAX_STRINGS:
                stack.extend(item.values())
        elif isinstance(item, PurePath):
            yield str(item)


def could_be_path(text: str) -> bool:
    """Tell whether a string is worth asking the file system about."""
    if not 0 < len(text) < MAX_PATH_LENGTH or "\n" in text or "\0" in text:
        return False
    return any(map(str.isalnum, text[:64]))
