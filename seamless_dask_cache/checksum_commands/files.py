"""``seamless-checksum-file FILE...``: the checksum of a file in a file beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from seamless_dask_cache.checksum_commands.bar import total_size
from seamless_dask_cache.checksum_commands.digests import (
    STANDARD_INPUT,
    checksum_of,
    without_compression,
)
from seamless_dask_cache.checksum_commands.failures import FileFailure, attempt
from seamless_dask_cache.checksum_commands.ordered import in_order
from seamless_dask_cache.checksum_commands.terminal import Terminal
from seamless_dask_cache.checksum_commands.writing import write_whole

PROGRAM = "seamless-checksum-file"


def write_checksums(
    names: Sequence[str], *, raw: bool, jobs: int | None, progress: bool | None
) -> int:
    """Write the checksum of every file into a file beside it, and tell what failed.

    Parameters
    ----------
    names : sequence of str
        Paths.
    raw : bool
        Whether compressed files count as they are, under their full names.
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
        targets = _targets(names, raw, terminal)
        terminal.expect(lambda: total_size(targets))
        for name, outcome in in_order(_outcome(raw, terminal.note), targets, jobs):
            try:
                if isinstance(outcome, FileFailure):
                    raise outcome
                write_whole(targets[name], f"{outcome}\n".encode())
            except FileFailure as failure:
                terminal.failure(failure.name or name, failure)
    return int(terminal.failures > 0)


def checksum_path(name: str, *, raw: bool) -> str:
    """Return where the checksum of a file is written.

    That of ``data.csv`` and of ``data.csv.gz`` in ``data.csv.CHECKSUM``, and that of an index in
    the file that also names the folder: ``data.INDEX`` in ``data.CHECKSUM``.
    """
    bare = name if raw else without_compression(name)
    return f"{bare.removesuffix('.INDEX')}.CHECKSUM"


def _targets(names: Sequence[str], raw: bool, terminal: Terminal) -> dict[str, str]:
    """Return where to write, by file; files that would overwrite each other's are failures."""
    targets: dict[str, str] = {}
    owners: dict[str, str] = {}
    for name in dict.fromkeys(names):
        target = checksum_path(name, raw=raw)
        if name == STANDARD_INPUT:
            terminal.failure(name, "standard input has no name for its checksum")
        elif (owner := owners.setdefault(target, name)) != name:
            terminal.failure(name, f"its checksum would replace that of {owner}")
        else:
            targets[name] = target
    return targets


def _outcome(raw: bool, note: Callable[[int], object]) -> Callable[[str], str | FileFailure]:
    return lambda name: attempt(lambda: checksum_of(name, raw=raw, settled=True, note=note))
