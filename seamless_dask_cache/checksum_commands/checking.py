"""``seamless-checksum --check``: are files what lists say that they are?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from seamless_dask_cache.checksum_commands.digests import (
    STANDARD_INPUT,
    SUFFIXES,
    checksum_of,
    compression_of,
)
from seamless_dask_cache.checksum_commands.failures import FileFailure, attempt, reason_of
from seamless_dask_cache.checksum_commands.lists import entry_in, is_checksum, verdict_of
from seamless_dask_cache.checksum_commands.ordered import in_order
from seamless_dask_cache.checksum_commands.printing import PROGRAM
from seamless_dask_cache.checksum_commands.terminal import Terminal

_LONGEST_LINE = 1 << 16
"""Bytes: no path is longer, and what is no list at all may have no line ends."""


class Options(NamedTuple):
    """How lists are checked.

    Attributes
    ----------
    raw : bool
        Whether compressed files count as they are.
    quiet : bool
        Whether to say nothing of files that are as they should be.
    status : bool
        Whether to say nothing of any file: the exit code tells.
    follow_links : bool
        Whether symbolic links to folders are followed where a folder is checked.
    jobs : int or None
        How many files are read at once; as many as processors by default.
    progress : bool or None
        As `Terminal` has it.
    """

    raw: bool
    quiet: bool
    status: bool
    follow_links: bool
    jobs: int | None
    progress: bool | None


def check_lists(lists: Sequence[str], options: Options) -> int:
    """Check every file that is named in lists, and print what came of it.

    Parameters
    ----------
    lists : sequence of str
        Paths of lists, or `STANDARD_INPUT`. A list that is called ``X.CHECKSUM`` may also hold the
        bare checksum of X, as ``seamless-checksum-file`` and ``seamless-checksum-index`` write it.
    options : Options

    Returns
    -------
    int
        The exit code: 1 when a file is not what it should be, or cannot be read, and when a list
        has no proper line.
    """
    with Terminal(PROGRAM, options.progress) as terminal:
        good = [_Check(name, options, terminal).run() for name in lists]
    return 0 if all(good) else 1


class _Entry(NamedTuple):
    name: str
    checksum: str
    is_bare: bool
    """Whether the name is that of the list, and stands for what is there."""


class _Check:
    """One list, and what was counted."""

    def __init__(self, list_name: str, options: Options, terminal: Terminal):
        self.list_name = list_name
        self.options = options
        self.terminal = terminal
        self.proper = self.improper = self.different = self.unreadable = 0

    def run(self) -> bool:
        """Check all entries; tell whether all is well."""
        try:
            with self._open() as file:
                entries = self._entries(file)
                for entry, outcome in in_order(self._outcome, entries, self.options.jobs):
                    self._tell(entry, outcome)
        except BrokenPipeError:  # of standard output
            raise
        except OSError as error:
            self.terminal.failure(self.list_name, reason_of(error))
            return False
        self._sum_up()
        return bool(self.proper) and not self.different and not self.unreadable

    def _open(self) -> IO[bytes]:
        if self.list_name == STANDARD_INPUT:
            return open(0, "rb", closefd=False)
        return open(self.list_name, "rb")

    def _entries(self, file: IO[bytes]) -> Iterator[_Entry]:
        for line in iter(lambda: file.readline(_LONGEST_LINE), b""):
            entry = self._entry(line)
            if entry is not None:
                self.proper += 1
                yield entry
            elif not line.startswith(b"#"):
                self.improper += 1

    def _entry(self, line: bytes) -> _Entry | None:
        subject = self.list_name.removesuffix(".CHECKSUM")
        if subject != self.list_name and is_checksum(digits := line.strip()):
            return _Entry(subject, digits.decode().lower(), True)
        found = entry_in(line)
        if found is None or found[1] == self.list_name == STANDARD_INPUT:
            return None
        return _Entry(found[1], found[0], False)

    def _outcome(self, entry: _Entry) -> str | FileFailure:
        return attempt(lambda: self._checksum(entry))

    def _checksum(self, entry: _Entry) -> str:
        if entry.is_bare:
            return self._checksum_of_subject(entry.name)
        return checksum_of(entry.name, raw=self.options.raw, note=self.terminal.note)

    def _checksum_of_subject(self, name: str) -> str:
        if os.path.isdir(name):
            return self._checksum_of_folder(name)
        # The commands drop the suffix of a compressed file, unless they take it as it is.
        raw = self.options.raw or compression_of(name) is not None
        others = [] if raw else [name + suffix for suffix in SUFFIXES]
        there = (path for path in (name, *others, f"{name}.INDEX") if os.path.lexists(path))
        return checksum_of(next(there, name), raw=raw, note=self.terminal.note)

    def _checksum_of_folder(self, name: str) -> str:
        # The cell types and JSON, which lists of files do without.
        from seamless_dask_cache.checksum import Checksum
        from seamless_dask_cache.checksum_commands.index import index_of

        index = index_of(
            name,
            self.terminal,
            raw=self.options.raw,
            follow_links=self.options.follow_links,
            jobs=self.options.jobs,
        )
        if index is None:
            raise FileFailure("not all of its files can be read")
        return Checksum.of(index).hex()

    def _tell(self, entry: _Entry, outcome: str | FileFailure) -> None:
        if isinstance(outcome, FileFailure):
            self.unreadable += 1
            self.terminal.failure(entry.name, outcome)
            self._say(entry.name, "FAILED open or read")
        elif outcome != entry.checksum:
            self.different += 1
            self._say(entry.name, "FAILED")
        elif not self.options.quiet:
            self._say(entry.name, "OK")

    def _say(self, name: str, verdict: str) -> None:
        if not self.options.status:
            self.terminal.result(verdict_of(name, verdict))

    def _sum_up(self) -> None:
        if not self.proper:
            self.terminal.failure(self.list_name, "no properly formatted checksum lines found")
        elif not self.options.status:
            self._warn(self.improper, "line is", "lines are", "improperly formatted")
            self._warn(self.unreadable, "listed file", "listed files", "could not be read")
            self._warn(self.different, "computed checksum", "computed checksums", "did NOT match")

    def _warn(self, count: int, one: str, many: str, what: str) -> None:
        if count:
            self.terminal.remark(f"WARNING: {count} {one if count == 1 else many} {what}")
