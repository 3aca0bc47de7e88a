"""Several files that change as one.

One file is replaced at once by renaming. Of several, each new one is first written in full beside
the one that it will replace, as ``.<file>.part``. Then a journal, ``.<name>.commit``, is put there
by renaming, and from this moment on the change is made: whoever finds a journal renames what is
left to rename, removes what is left to remove, and the journal in the end. So a writer may be
killed, or the power fail, at any moment; what is found is all of the old, or all of the new.

A journal is JSON: ``{"replace": ["x.pickle", "x.json"], "remove": ["x.mmap"]}``.

The lock of the entry is held by whoever calls what is here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import orjson

from seamless_dask_cache.errors import CorruptDatasetError
from seamless_dask_cache.whole_files import flush_folder, on_disk

_JOURNAL = ".commit"


class Change:
    """Files of a folder that are to be replaced or removed, all or none.

    Parameters
    ----------
    folder : Path
    name : str
        Names the journal.

    Notes
    -----
    Not thread-safe. Used as a context: what was written and not committed is removed in the end.
    """

    def __init__(self, folder: Path, name: str):
        self._folder = folder
        self._journal = journal_of(folder, name)
        self._replace: list[str] = []
        self._remove: list[str] = []

    def __enter__(self) -> Change:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._replace:
            _part_of(self._folder / file).unlink(missing_ok=True)

    @contextlib.contextmanager
    def replace(self, file: str) -> Iterator[BinaryIO]:
        """Open what will replace a file; it is on the disk when the context ends."""
        self._replace.append(file)
        with on_disk(_part_of(self._folder / file)) as opened:
            yield opened

    def part(self, file: str) -> Path:
        """Tell where what will replace a file is until then."""
        return _part_of(self._folder / file)

    def remove(self, file: str) -> None:
        """Remove a file, if it is there."""
        if os.path.lexists(self._folder / file):
            self._remove.append(file)

    def commit(self) -> None:
        """Make the change; it is on the disk in the end.

        Raises
        ------
        OSError
            When it could not be made. It is made later, by `complete`, if the journal is there.
        """
        replace, remove = self._replace, self._remove
        if len(replace) + len(remove) > 1:
            self._write_journal({"replace": replace, "remove": remove})
            # What was written belongs to the journal now, whatever happens here.
            self._replace = []
        _carry_out(self._folder, replace, remove)
        self._replace, self._remove = [], []
        _remove_journal(self._journal)

    def _write_journal(self, plan: dict[str, list[str]]) -> None:
        # Always under the same name, so that killed writers do not leave more and more of them.
        part = _part_of(self._journal)
        with on_disk(part) as file:
            file.write(orjson.dumps(plan))
        part.replace(self._journal)
        flush_folder(self._folder)


def journal_of(folder: Path, name: str) -> Path:
    """Tell where the journal of a change would be."""
    return folder / f".{name}{_JOURNAL}"


def name_of_journal(file: str) -> str | None:
    """Tell whose journal a file is; None if it is none."""
    if file.startswith(".") and file.endswith(_JOURNAL) and len(file) > len(_JOURNAL) + 1:
        return file[1 : -len(_JOURNAL)]
    return None


def complete(folder: Path, name: str) -> None:
    """Complete a change that somebody could not complete.

    Raises
    ------
    CorruptDatasetError
        When the journal is none; nothing is changed then.
    """
    journal = journal_of(folder, name)
    try:
        plan = journal.read_bytes()
    except FileNotFoundError:
        return
    _carry_out(folder, *_understood(plan, journal, name))
    _remove_journal(journal)


def _carry_out(folder: Path, replace: list[str], remove: list[str]) -> None:
    targets = [Path(os.path.realpath(folder / file)) for file in replace]
    for target in targets:
        # What was renamed before the power failed is not there any more.
        with contextlib.suppress(FileNotFoundError):
            _part_of(target).replace(target)
    for file in remove:
        (folder / file).unlink(missing_ok=True)
    for changed in {folder, *(target.parent for target in targets)}:
        flush_folder(changed)


def _remove_journal(journal: Path) -> None:
    if os.path.lexists(journal):
        journal.unlink()
        # Were it to come back, it would be applied to what the next writer has not finished.
        flush_folder(journal.parent)


def _part_of(path: Path) -> Path:
    """Name the file beside another one that will replace it; behind a symbolic link, there."""
    target = Path(os.path.realpath(path))
    return target.with_name(f".{target.name}.part")


def _understood(plan: bytes, journal: Path, name: str) -> tuple[list[str], list[str]]:
    try:
        found = orjson.loads(plan)
        replace, remove = found["replace"], found["remove"]
        files = [*replace, *remove]
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptDatasetError(f"{journal} is no journal: {error!r}") from error
    # A journal never reaches beyond the files of its own entry.
    if not all(isinstance(file, str) and file.rpartition(".")[0] == name for file in files):
        raise CorruptDatasetError(f"{journal} names files that are not those of {name!r}: {files}")
    return replace, remove
