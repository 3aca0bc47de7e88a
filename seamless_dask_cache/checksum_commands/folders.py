"""The files of a folder, and the names that they have in its index."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from seamless_dask_cache.checksum_commands.digests import without_compression
from seamless_dask_cache.checksum_commands.failures import FileFailure, reason_of
from seamless_dask_cache.checksum_commands.terminal import one_line

if TYPE_CHECKING:
    from seamless_dask_cache.checksum_commands.terminal import Terminal


def files_by_name(
    folder: str, terminal: Terminal, *, raw: bool, follow_links: bool
) -> dict[str, str]:
    """Find all regular files below a folder.

    Whatever cannot stand in an index is told as a failure: other kinds of files, links to nothing
    or in circles, names that are not UTF-8, two files for one name.

    Parameters
    ----------
    folder : str
    terminal : Terminal
        To be told failures, and which links to folders are not followed.
    raw : bool
        Whether compressed files keep the suffixes of their names.
    follow_links : bool
        Whether symbolic links to folders are followed; links to files always are.

    Returns
    -------
    dict
        Path by name; names are relative to the folder, and have slashes.
    """
    found: dict[str, str] = {}
    for relative, path in _files(folder, terminal, follow_links):
        name = relative if raw else without_compression(relative)
        if not _is_utf8(name):
            terminal.failure(path, "the name is not UTF-8")
        elif name in found:
            terminal.failure(path, f"would have the same name in the index as {found[name]}")
        else:
            found[name] = path
    return found


class _Folder(NamedTuple):
    path: str
    prefix: str
    """What the names of its files begin with."""
    line: frozenset[tuple[int, int]]
    """Itself and the folders that it is in; kept only where links may lead back to one of them."""


def _files(top: str, terminal: Terminal, follow_links: bool) -> Iterator[tuple[str, str]]:
    """Yield relative and full path of every file, in the order of names within each folder."""
    # A stack of its own: folders may be nested deeper than calls of Python.
    waiting = [_Folder(top, "", _line(top, frozenset(), follow_links))]
    while waiting:
        folder, inner = waiting.pop(), []
        for entry in _entries(folder, terminal):
            try:
                kind = _kind(entry)
                if kind == "file":
                    yield folder.prefix + entry.name, entry.path
                elif kind == "link" and not follow_links:
                    terminal.remark(f"{one_line(entry.path)}: not followed, a link to a folder")
                else:
                    inner.append(_inner(folder, entry, follow_links))
            except (OSError, FileFailure) as error:
                terminal.failure(entry.path, reason_of(error))
        waiting += reversed(inner)


def _entries(folder: _Folder, terminal: Terminal) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder.path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        terminal.failure(folder.path, reason_of(error))
        return []


def _kind(entry: os.DirEntry[str]) -> str:
    """Return file, folder or link, which is one to a folder."""
    if entry.is_symlink():
        mode = _mode_behind(entry.path)
        if stat.S_ISDIR(mode):
            return "link"
        is_file = stat.S_ISREG(mode)
    elif entry.is_dir():
        return "folder"
    else:
        is_file = entry.is_file()
    if is_file:
        return "file"
    raise FileFailure("not a regular file")


def _mode_behind(link: str) -> int:
    try:
        return os.stat(link).st_mode
    except FileNotFoundError:
        raise FileFailure("a symbolic link to nothing") from None


def _inner(folder: _Folder, entry: os.DirEntry[str], follow_links: bool) -> _Folder:
    line = _line(entry.path, folder.line, follow_links)
    return _Folder(entry.path, f"{folder.prefix}{entry.name}/", line)


def _line(
    path: str, above: frozenset[tuple[int, int]], follow_links: bool
) -> frozenset[tuple[int, int]]:
    if not follow_links:
        return above
    status = os.stat(path)
    identity = status.st_dev, status.st_ino
    if identity in above:
        raise FileFailure("a symbolic link that leads back to a folder that it is in")
    return above | {identity}


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
