"""The index of a folder: the plain buffer of the checksums of its files, by name."""

from __future__ import annotations

import os

from seamless_dask_cache.celltypes import serialize
from seamless_dask_cache.checksum import Checksum
from seamless_dask_cache.checksum_commands.bar import total_size
from seamless_dask_cache.checksum_commands.digests import checksum_of
from seamless_dask_cache.checksum_commands.failures import FileFailure, attempt
from seamless_dask_cache.checksum_commands.folders import files_by_name
from seamless_dask_cache.checksum_commands.ordered import in_order
from seamless_dask_cache.checksum_commands.terminal import Terminal
from seamless_dask_cache.checksum_commands.writing import write_pair

PROGRAM = "seamless-checksum-index"


def write_index(
    folder: str, *, raw: bool, follow_links: bool, jobs: int | None, progress: bool | None
) -> int:
    """Write the index of a folder, and its checksum, beside the folder.

    Nothing is written, and what was there stays, unless every file could be read.

    Parameters
    ----------
    folder : str
        What it is called is what the files are called, with ``.INDEX`` and ``.CHECKSUM``.
    raw, follow_links : bool
        As `index_of` has them.
    jobs : int, optional
        How many files are read at once; as many as processors by default.
    progress : bool, optional
        As `Terminal` has it.

    Returns
    -------
    int
        The exit code: 1 when something failed.
    """
    with Terminal(PROGRAM, progress) as terminal:
        try:
            home = home_of(folder)
            index = index_of(folder, terminal, raw=raw, follow_links=follow_links, jobs=jobs)
            if index is not None:
                checksum = f"{Checksum.of(index)}\n".encode()
                write_pair(f"{home}.INDEX", index, f"{home}.CHECKSUM", checksum)
        except FileFailure as failure:
            terminal.failure(failure.name or folder, failure)
    return int(terminal.failures > 0)


def home_of(folder: str) -> str:
    """Return the path that the names of the files beside a folder begin with.

    Raises
    ------
    FileFailure
        When it is no folder, or one that has nothing beside it.
    """
    separators = os.sep + (os.altsep or "")
    home = folder.rstrip(separators)
    if os.path.basename(home) in ("", os.curdir, os.pardir):
        home = os.path.realpath(folder)
    if not os.path.isdir(folder):
        raise FileFailure("not a folder" if os.path.exists(folder) else "no such folder")
    if os.path.dirname(home) == home:
        raise FileFailure("has no folder beside it for its index")
    return home


def index_of(
    folder: str, terminal: Terminal, *, raw: bool, follow_links: bool, jobs: int | None
) -> bytes | None:
    """Read all files of a folder.

    Parameters
    ----------
    folder : str
    terminal : Terminal
        To be told what fails.
    raw : bool
        Whether compressed files count as they are, under their full names.
    follow_links : bool
        Whether symbolic links to folders are followed.
    jobs : int, optional
        How many files are read at once.

    Returns
    -------
    bytes or None
        The plain buffer of the checksums by name; None when anything failed.
    """
    before = terminal.failures
    files = files_by_name(folder, terminal, raw=raw, follow_links=follow_links)
    terminal.expect(lambda: total_size(files.values()))

    def outcome(name: str) -> str | FileFailure:
        path = files[name]
        return attempt(lambda: checksum_of(path, raw=raw, settled=True, note=terminal.note))

    checksums: dict[str, str] = {}
    for name, found in in_order(outcome, files, jobs):
        if isinstance(found, FileFailure):
            terminal.failure(files[name], found)
        else:
            checksums[name] = found
    return serialize(checksums, "plain") if terminal.failures == before else None
