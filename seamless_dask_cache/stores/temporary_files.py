"""Files that were handed over to a store, until the last record that has them goes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class TemporaryFiles:
    """Knows who has a file, and removes those that nobody has any more.

    Notes
    -----
    Not thread-safe: a store uses it under its lock, so that no file is removed that is just handed
    over again.

    Examples
    --------
    >>> import tempfile
    >>> handle, name = tempfile.mkstemp()
    >>> os.close(handle)
    >>> files, path = TemporaryFiles(), absolute(name)
    >>> files.take(path, "one"), files.take(path, "other")
    (None, None)
    >>> files.drop(path, "one"), path.exists()
    (None, True)
    >>> files.drop(path, "other"), path.exists()
    (None, False)
    """

    def __init__(self) -> None:
        self._owners: dict[Path, set[str]] = {}

    def take(self, path: Path, owner: str) -> None:
        """Take a file over for an owner; it need not exist yet."""
        self._owners.setdefault(path, set()).add(owner)

    def drop(self, path: Path, owner: str) -> None:
        """Let an owner go; with the last one, the file is removed if it is there.

        Raises
        ------
        OSError
            When it cannot be removed. Nobody has it then.
        """
        owners = self._owners.get(path, set())
        if owner not in owners:
            return  # it was removed before; what lies there now is somebody else's
        owners.discard(owner)
        if not owners:
            del self._owners[path]
            path.unlink(missing_ok=True)

    def remove_all(self) -> None:
        """Remove all files, whoever has them.

        Raises
        ------
        OSError
            When one cannot be removed, after the others are.
        """
        paths = list(self._owners)
        self._owners.clear()
        with contextlib.ExitStack() as stack:
            for path in reversed(paths):
                stack.callback(path.unlink, missing_ok=True)


def absolute(file: str | os.PathLike[str]) -> Path:
    """Return the path of a file that can be handed over, always the same one.

    Raises
    ------
    TypeError
        For what is no path.
    ValueError
        For a folder.

    Examples
    --------
    >>> absolute("/tmp")
    Traceback (most recent call last):
    ...
    ValueError: temp_file must be a file, not the folder /tmp
    """
    if not isinstance(file, str | os.PathLike):
        raise TypeError(f"temp_file must be the path of a file, not {file!r}")
    given = Path(file)
    # One file, one path; a link itself is the file, and not what it leads to.
    path = given.parent.resolve() / given.name
    if path.is_dir():
        raise ValueError(f"temp_file must be a file, not the folder {path}")
    return path
