"""The files of one dataset, and the lock that guards them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from seamless_dask_cache.errors import CorruptDatasetError, MissingDatasetError
from seamless_dask_cache.stores.commits import Change, complete, journal_of
from seamless_dask_cache.stores.data_files import belongs, digest_of
from seamless_dask_cache.stores.metadata_file import MetadataFile
from seamless_dask_cache.stores.names import checked_name

_log = logging.getLogger(__name__)

_ATTEMPTS = 3
# A commit, which readers wait for, takes about as long.
_POLL_SECONDS = 0.005


class DatasetFiles:
    """Where the files of a dataset are, how they are changed, and whether they are whole.

    Parameters
    ----------
    folder : Path
    name : str
    timeout : float or None
        Seconds to wait for the lock; None for as long as it takes.

    Raises
    ------
    DatasetNameError
        When the name is no safe file name.
    """

    def __init__(self, folder: Path, name: str, timeout: float | None):
        self.folder = folder
        self.name = checked_name(name)
        self.timeout = timeout
        self.data = folder / f"{name}.pickle"
        self.meta = folder / f"{name}.json"
        self.mapped = folder / f"{name}.mmap"
        # Kept, as it would be let go of with the last reference to it.
        self.lock = FileLock(folder / f"{name}.lock", is_singleton=True)

    @contextlib.contextmanager
    def locked(self, timeout: float | None = None) -> Iterator[None]:
        """Hold the lock; what a writer that is no more had committed to is completed first."""
        seconds = self.timeout if timeout is None else timeout
        limit = -1 if seconds is None else seconds
        with self.lock.acquire(timeout=limit, poll_interval=_POLL_SECONDS):
            complete(self.folder, self.name)
            yield

    @contextlib.contextmanager
    def change(self) -> Iterator[Change]:
        """Hold the lock for a change."""
        with self.locked(), Change(self.folder, self.name) as change:
            yield change

    def complete(self) -> None:
        """Complete what a writer that is no more had committed to, if there was one."""
        if not journal_of(self.folder, self.name).exists():
            return
        try:
            with self.locked():
                pass
        except PermissionError as error:
            _log.warning(
                "data and metadata of %r may differ in age, and cannot be mended from here: %s",
                self.name,
                error,
            )

    def can_be_mapped(self) -> bool:
        """Tell whether there is a file to map that holds what the pickle holds."""
        return belongs(self.mapped, self.data)

    def verify(self, path: Path, key: str) -> None:
        """Compare a file with its checksum in the metadata.

        Raises
        ------
        CorruptDatasetError
            When they differ, or there is no checksum.
        """
        for _ in range(_ATTEMPTS):  # somebody may be replacing both
            found, expected = digest_of(path), MetadataFile(self.meta).read().get(key)
            if found == expected:
                return
        if expected is None:
            raise CorruptDatasetError(
                f"the metadata of {self.name!r} have no {key!r}: put_data(..., checksum=True)"
            )
        raise CorruptDatasetError(f"{path} has checksum {found}, not {expected} as meta.{key} says")

    @contextlib.contextmanager
    def present(self) -> Iterator[None]:
        """Say that there are no data, where a file turns out to be missing."""
        self.complete()
        try:
            yield
        except FileNotFoundError as error:
            raise self.missing() from error

    def missing(self) -> MissingDatasetError:
        """Make the error that says that there are no data."""
        return MissingDatasetError(f"there are no data of {self.name!r} in {self.folder}")
