"""File state: how a task that is given a path is identified by what lies there.

The state of a file is its size and modification time in nanoseconds; of a folder, the states of
everything below it. A task that names a path which exists gets these states into its recipe, so
that a changed input is another transformation.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from seamless_dask_cache.errors import RefusedError

MAX_PATH_LENGTH = 4096
MAX_STRINGS = 10_000
MAX_FOLDER_ENTRIES = 100_000


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
                self._states[path] = file_state(path)
            state = self._states[path]
            if state is not None:
                found[path] = state
        return found


def file_state(path: str) -> str | None:
    """Return the state of a file or folder as text, or None where nothing exists.

    Raises
    ------
    RefusedError
        When a folder holds more than 100,000 entries.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    if os.path.isdir(path):
        return _folder_state(path)
    return f"{status.st_size}-{status.st_mtime_ns}"


def _folder_state(folder: str) -> str:
    digest = hashlib.sha256()
    entries = 0
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            entries += 1
            path = os.path.join(root, name)
            digest.update(f"{os.path.relpath(path, folder)}\0{_entry_state(path)}\0".encode())
        entries += len(folders)
        if entries > MAX_FOLDER_ENTRIES:
            raise RefusedError(f"the folder {folder!r} holds too many files to look through")
    return digest.hexdigest()


def _entry_state(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return "gone"
    return f"{status.st_size}-{status.st_mtime_ns}"


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
    return 0 < len(text) < MAX_PATH_LENGTH and "\n" not in text and "\0" not in text
