"""The files of one dataset, and the lock that guards them."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from seamless_dask_cache.errors import CorruptDatasetError, DatasetError, MissingDatasetError
from seamless_dask_cache.stores.commits import Change, complete, journal_of, will_exist
from seamless_dask_cache.stores.data_files import belongs, digest_of
from seamless_dask_cache.stores.locks import lock_of
from seamless_dask_cache.stores.metadata_file import MetadataFile
from seamless_dask_cache.stores.names import checked_name
from seamless_dask_cache.stores.observed import note_writing

_log = logging.getLogger(__name__)

_ATTEMPTS = 3
# A commit, which readers wait for, takes about as long.
_POLL_SECONDS = 0.005
# A commit takes milliseconds; who is stuck in one is not waited for by readers.
_READER_PATIENCE = 2.0
_CANNOT_WRITE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

_being_changed: set[Path] = set()


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
        self._lock_file = folder / f"{name}.lock"
        self._lock = lock_of(self._lock_file)

    @property
    def lock(self) -> FileLock:
        """The lock of the dataset, in this process."""
        # Kept, as it would be let go of with the last reference to it; looked up, as after a fork
        # it is another one.
        self._lock = lock_of(self._lock_file)
        return self._lock

    @contextlib.contextmanager
    def locked(self, timeout: float | None = None) -> Iterator[None]:
        """Hold the lock; what a writer that is no more had committed to is completed first."""
        if not self.folder.is_dir():
            # Taking the lock would make it, on a machine that has not mounted it maybe.
            raise DatasetError(f"the folder {self.folder} of {self.name!r} is not there")
        seconds = self.timeout if timeout is None else checked_timeout(timeout)
        limit = -1 if seconds is None else seconds
        with self.lock.acquire(timeout=limit, poll_interval=_POLL_SECONDS):
            complete(self.folder, self.name)
            yield

    @contextlib.contextmanager
    def change(self) -> Iterator[Change]:
        """Hold the lock for a change."""
        note_writing(self.name)
        with self.locked():
            if self.data in _being_changed:
                raise RuntimeError(f"writing {self.name!r} would change {self.name!r} meanwhile")
            _being_changed.add(self.data)
            try:
                with Change(self.folder, self.name) as change:
                    yield change
            finally:
                _being_changed.discard(self.data)

    def has_data(self) -> bool:
        """Tell whether there are data, or will be as soon as somebody completes a change."""
        committed = will_exist(self.folder, self.name, self.data.name)
        return self.data.is_file() if committed is None else committed

    def complete(self) -> None:
        """Complete what a writer that is no more had committed to, for somebody who reads.

        Where that cannot be done, a warning says so: data and metadata are read as they are.
        """
        if not journal_of(self.folder, self.name).exists():
            return
        try:
            with self.locked(_READER_PATIENCE):
                pass
        except Timeout:
            self._warn("somebody is changing them")
        except OSError as error:
            if error.errno not in _CANNOT_WRITE:
                raise
            self._warn(str(error))

    def _warn(self, reason: str) -> None:
        _log.warning("data and metadata of %r may differ in age: %s", self.name, reason)

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


def checked_timeout(timeout: float | None) -> float | None:
    """Return a time limit in seconds.

    Raises
    ------
    ValueError
        When it is neither None nor a number that is not negative.

    Examples
    --------
    >>> checked_timeout(1.5)
    1.5
    """
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if timeout is None or (is_number and timeout >= 0):
        return timeout
    raise ValueError(f"timeout is a number of seconds or None, not {timeout!r}")
