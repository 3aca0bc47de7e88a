"""Several files that change as one.

One file is replaced at once by renaming. Of several, each new one is first written in full beside
the one that it will replace, as ``.<file>.part``. Then a journal, ``.<name>.commit``, is put there
by renaming, and from this moment on the change is made: whoever finds a journal renames what is
left to rename, removes what is left to remove, and the journal in the end. So a writer may be
killed, or the power fail, at any moment; what is found is all of the old, or all of the new.

A journal is JSON. It names the files to replace and to remove, each with size and modification time
(in nanoseconds) of what was there before, or null::

    {"replace": {"x.pickle": [81, 1796025605810800313], "x.json": null}, "remove": {}}

A file that is neither what was there before nor what was to replace it was written by somebody who
knows nothing of journals, and later: it stays.

The lock of the entry is held by whoever calls what is here, but for `will_exist`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from seamless_dask_cache.errors import CorruptDatasetError
from seamless_dask_cache.whole_files import flush_folder, on_disk

Mark: TypeAlias = list[int] | None
"""Size and modification time of a file; None where there is none."""

Plan: TypeAlias = dict[str, dict[str, Mark]]

_log = logging.getLogger(__name__)

_JOURNAL = ".commit"
_SUFFIXES = ("pickle", "json", "mmap", "commit")
_DEEDS = ("replace", "remove")


class Change:
    """Files of a folder that are to be replaced or removed, all or none.

    Parameters
    ----------
    folder : Path
    name : str
        Of the dataset.

    Notes
    -----
    Not thread-safe. Used as a context, at whose end nothing is left of what was not committed, be
    it of this writer or of one that was killed.
    """

    def __init__(self, folder: Path, name: str):
        self._folder = folder
        self._name = name
        self._journal = journal_of(folder, name)
        self._plan: Plan = {deed: {} for deed in _DEEDS}

    def __enter__(self) -> Change:
        return self

    def __exit__(self, *_: object) -> None:
        # With a journal, what was written is committed, although it may not be in its place yet.
        if not os.path.lexists(self._journal):
            self._clear()

    @contextlib.contextmanager
    def replace(self, file: str) -> Iterator[BinaryIO]:
        """Open what will replace a file; it is on the disk when the context ends.

        Raises
        ------
        OSError
            When there is a folder in its place, or it cannot be written.
        """
        target = self._folder / file
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "there is a folder of that name", str(target))
        part = _part_of(target)
        with on_disk(part) as opened:
            yield opened
        if part.parent != self._folder:
            flush_folder(part.parent)
        self._plan["replace"][file] = _mark_of(target)

    def part(self, file: str) -> Path:
        """Tell where what will replace a file is until then."""
        return _part_of(self._folder / file)

    def remove(self, file: str) -> None:
        """Remove a file, if it is there."""
        if os.path.lexists(self._folder / file):
            self._plan["remove"][file] = _mark_of(self._folder / file)

    def commit(self) -> None:
        """Make the change; it is on the disk in the end.

        Raises
        ------
        OSError
            When it could not be made. It is made later, by `complete`, if the journal is there.
        """
        if sum(map(len, self._plan.values())) > 1:
            self._write_journal()
        _carry_out(self._folder, self._plan)
        _remove_journal(self._journal)

    def _write_journal(self) -> None:
        part = _part_of(self._journal)
        with on_disk(part) as file:
            file.write(json.dumps(self._plan).encode())
        part.replace(self._journal)
        flush_folder(self._folder)

    def _clear(self) -> None:
        for suffix in _SUFFIXES[:-1]:
            _part_of(self._folder / f"{self._name}.{suffix}").unlink(missing_ok=True)
        _part_of(self._journal).unlink(missing_ok=True)


def journal_of(folder: Path, name: str) -> Path:
    """Tell where the journal of a change would be."""
    return folder / f".{name}{_JOURNAL}"


def name_of_journal(file: str) -> str | None:
    """Tell whose journal a file is; None if it is none.

    Examples
    --------
    >>> name_of_journal(".x.commit"), name_of_journal("x.commit")
    ('x', None)
    """
    if file.startswith(".") and file.endswith(_JOURNAL) and len(file) > len(_JOURNAL) + 1:
        return file[1 : -len(_JOURNAL)]
    return None


def name_of_part(file: str) -> str | None:
    """Tell of which dataset a file under construction is; None if it is none.

    Examples
    --------
    >>> name_of_part(".a.b.pickle.part"), name_of_part("..x.commit.part"), name_of_part("a.part")
    ('a.b', 'x', None)
    """
    inner = file[1:].removesuffix(".part")
    stem, dot, suffix = inner.rpartition(".")
    if not (file.startswith(".") and file.endswith(".part") and dot and suffix in _SUFFIXES):
        return None
    return name_of_journal(inner) if suffix == "commit" else stem


def will_exist(folder: Path, name: str, file: str) -> bool | None:
    """Tell whether a file is there once a change that was committed is made.

    Returns
    -------
    bool or None
        None when there is no journal, or it does not say.
    """
    try:
        plan = _read_plan(journal_of(folder, name), name)
    except CorruptDatasetError as error:
        _log.warning("%s", error)
        return None
    if plan is None:
        return None
    if file in plan["replace"]:
        return True
    return False if file in plan["remove"] else None


def complete(folder: Path, name: str) -> None:
    """Complete a change that somebody could not complete.

    Raises
    ------
    CorruptDatasetError
        When the journal is none; nothing is changed then.
    """
    journal = journal_of(folder, name)
    plan = _read_plan(journal, name)
    if plan is not None:
        _carry_out(folder, plan)
        _remove_journal(journal)


def _carry_out(folder: Path, plan: Plan) -> None:
    changed = {folder}
    for file, before in plan["replace"].items():
        target = Path(os.path.realpath(folder / file))
        changed.add(target.parent)
        part = _part_of(folder / file)
        # What was renamed before the power failed is not there any more.
        if part.exists() and _is_still(target, before):
            part.replace(target)
    for file, before in plan["remove"].items():
        if _is_still(folder / file, before):
            (folder / file).unlink(missing_ok=True)
    for each in changed:
        flush_folder(each)


def _is_still(path: Path, before: Mark) -> bool:
    now = _mark_of(path)
    if now != before and now is not None:
        _log.warning("%s was written after an interrupted change, and stays", path)
    return now is None or now == before


def _mark_of(path: Path) -> Mark:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _remove_journal(journal: Path) -> None:
    if os.path.lexists(journal):
        journal.unlink()
        # Were it to come back, it would be applied to what the next writer has not finished.
        flush_folder(journal.parent)


def _part_of(path: Path) -> Path:
    """Name the file that is to replace another; behind a symbolic link, it is there."""
    return Path(os.path.realpath(path)).with_name(f".{path.name}.part")


def _read_plan(journal: Path, name: str) -> Plan | None:
    try:
        found = json.loads(journal.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CorruptDatasetError(f"{journal} is no journal: {error}") from error
    if not _is_plan(found):
        raise CorruptDatasetError(f"{journal} is no journal: {found!r:.200}")
    # A journal never reaches beyond the files of its own entry.
    files = [file for deed in _DEEDS for file in found[deed]]
    if not all(file.rpartition(".")[0] == name for file in files):
        raise CorruptDatasetError(f"{journal} names files that are not those of {name!r}: {files}")
    plan: Plan = found
    return plan


def _is_plan(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and found.keys() == set(_DEEDS)
        and all(isinstance(files, dict) for files in found.values())
    )
