"""Files that were handed over to a store, until the last record that has them goes."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from pathlib import Path


class TemporaryFiles:
    """Counts who has a file, and removes those that nobody has any more.

    Notes
    -----
    Not thread-safe: a store uses it under its lock, so that no file is removed that is just handed
    over again.

    Examples
    --------
    >>> import tempfile
    >>> handle, name = tempfile.mkstemp()
    >>> os.close(handle)
    >>> files = TemporaryFiles()
    >>> path = files.take(files.take(name))
    >>> files.drop(path), path.exists()
    (None, True)
    >>> files.drop(path), path.exists()
    (None, False)
    """

    def __init__(self) -> None:
        self._owners: Counter[Path] = Counter()

    def take(self, file: str | os.PathLike[str]) -> Path:
        """Take a file over; it need not exist yet.

        Returns
        -------
        Path
            Absolute, so that it is the same when the working folder is another.
        """
        path = absolute(file)
        self._owners[path] += 1
        return path

    def drop(self, path: Path) -> None:
        """Let one owner go; with the last one, the file is removed if it is there.

        Raises
        ------
        OSError
            When it cannot be removed. Nobody has it then.
        """
        self._owners[path] -= 1
        if self._owners[path] <= 0:
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
    """Return the path of a file that can be handed over.

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
    path = Path(file).absolute()
    if path.is_dir():
        raise ValueError(f"temp_file must be a file, not the folder {path}")
    return path
