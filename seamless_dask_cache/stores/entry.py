"""One dataset of a folder: its data, its metadata, its lock."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from seamless_dask_cache.errors import CorruptDatasetError
from seamless_dask_cache.stores.commits import Change
from seamless_dask_cache.stores.data_checksums import (
    CHECKSUM,
    MMAP_CHECKSUM,
    add_checksums,
    drop_checksums,
    is_checksum,
)
from seamless_dask_cache.stores.data_files import (
    portable,
    read_mapped,
    read_pickle,
    write_data,
)
from seamless_dask_cache.stores.dataset_files import DatasetFiles
from seamless_dask_cache.stores.facts import DatasetFacts, facts_of
from seamless_dask_cache.stores.metadata import Metadata, dump_metadata
from seamless_dask_cache.stores.metadata_file import MetadataFile
from seamless_dask_cache.stores.observed import note_times

if TYPE_CHECKING:
    from typing_extensions import Self

    from seamless_dask_cache.identity import File
    from seamless_dask_cache.stores.directory import DirectoryStore

_log = logging.getLogger(__name__)


@functools.total_ordering
class DatasetEntry:
    """A dataset, which may not be there yet; made by ``db[name]``.

    Parameters
    ----------
    store : DirectoryStore
    name : str

    Raises
    ------
    DatasetNameError
        When the name is no safe file name.

    Notes
    -----
    False while there are no data. In a ``with`` block it is locked, for other threads and processes
    too: the metadata are read anew when it begins, and saved when it ends, also by an error. The
    lock is let go of when its holder dies. What writes takes the lock by itself; a single read
    needs none, and waits at most two seconds for a change that somebody is making.

    An entry is not for several threads at a time, but each may have one of its own. A lock belongs
    to a thread: coroutines of one event loop do not exclude each other. In a forked process, locks
    are free.

    The items `checksum` and `mmap_checksum` of the metadata are those of the data where they are 64
    hex digits.

    As an argument of a Dask task, an entry is identified by the content of its files.

    Examples
    --------
    >>> import tempfile
    >>> from seamless_dask_cache import stores
    >>> folder = tempfile.TemporaryDirectory()
    >>> entry = stores.dirdb(folder.name)["run-1"]
    >>> bool(entry)
    False
    >>> entry.put_data([3, 4], meta={"unit": "m"})
    >>> with entry:
    ...     entry.meta.mean = 3.5
    >>> entry.get_data(), entry.meta
    ([3, 4], {'unit': 'm', 'mean': 3.5})
    >>> folder.cleanup()
    """

    def __init__(self, store: DirectoryStore, name: str):
        self.store = store
        self._files = DatasetFiles(store.path, name, store.timeout)
        self._meta = MetadataFile(self._files.meta)
        self._entered: list[contextlib.ExitStack] = []

    @property
    def name(self) -> str:
        """The name of the dataset."""
        return self._files.name

    @property
    def path(self) -> Path:
        """Where the pickle of the data is, or would be."""
        return self._files.data

    def __bool__(self) -> bool:
        return self._files.has_data()

    def has_data(self) -> bool:
        """Tell whether there are data."""
        return bool(self)

    def __repr__(self) -> str:
        return f"<dataset {self.name!r} in {self.store.path}>"

    def __eq__(self, other: object) -> bool:
        return self.path == other.path if isinstance(other, DatasetEntry) else NotImplemented

    def __lt__(self, other: DatasetEntry) -> bool:
        if not isinstance(other, DatasetEntry):
            return NotImplemented
        return (self.store.path, self.name) < (other.store.path, other.name)

    def __hash__(self) -> int:
        return hash(self.path)

    def __reduce__(self) -> Any:
        return type(self), (self.store, self.name)

    # Data -----------------------------------------------------------------------------------------

    def put_data(
        self,
        data: Any,
        meta: Mapping[str, Any] | None = None,
        *,
        mmap: bool = False,
        checksum: bool | None = None,
    ) -> None:
        """Save data, in place of what was there.

        Parameters
        ----------
        data : object
            Anything that can be pickled.
        meta : mapping, optional
            Metadata; those that are there stay if it is not given.
        mmap : bool
            Write a second file, from which ``get_data(mmap=True)`` loads arrays, frames and Arrow
            tables without reading them.
        checksum : bool, optional
            Keep the SHA-256 of the file as ``meta.checksum`` (that of the second one as
            ``meta.mmap_checksum``), or keep none. By default, one is kept where there was one
            before, unless `meta` has an item of that name.

        Raises
        ------
        Exception
            Whatever the pickler raises.
        TypeError
            For metadata that are no mapping, or that JSON cannot hold.
        CellTypeError
            For data that cannot be mapped.
        OSError
            When something cannot be written.
        filelock.Timeout
            When somebody else held the lock for longer than the store's `timeout`.

        Notes
        -----
        Data and metadata change together: when this fails, a process is killed or the power fails,
        at whatever moment, both are found old or both new. When this returns, they are on the disk.
        """
        given = None if meta is None else _checked_meta(meta)
        with self._files.change() as change:
            on_disk = self._meta.read() if given is None else self._known_or_empty()
            text = dump_metadata(on_disk)
            wanted = is_checksum(on_disk.get(CHECKSUM)) and CHECKSUM not in (given or ())
            new = self._meta.refreshed(on_disk) if given is None else given
            names = (self._files.data.name, self._files.mapped.name)
            written = write_data(change, data, names, self.store.pickler, mmap=mmap)
            if wanted if checksum is None else checksum:
                add_checksums(new, written)
            elif given is None:
                drop_checksums(new)
            if given is not None or dump_metadata(new) != text:
                self._meta.write(change, new)
            self._commit(change, new)

    def get_data(self, *, mmap: bool = False, verify: bool = False) -> Any:
        """Load the data.

        Parameters
        ----------
        mmap : bool
            Let arrays live in a memory map of their file if there is one to map, else load as ever.
            Writing into such an array does not change the file.
        verify : bool
            Compare the file with the checksum in the metadata before.

        Raises
        ------
        MissingDatasetError
            When there are no data.
        CorruptDatasetError
            When the file is damaged, does not have its checksum, or has none and `verify` is set.
        """
        files = self._files
        files.complete()
        if mmap and files.can_be_mapped():
            # It may go away just now, with the data that it belongs to.
            with contextlib.suppress(FileNotFoundError):
                if verify:
                    files.verify(files.mapped, MMAP_CHECKSUM)
                return read_mapped(files.mapped)
        if verify:
            with files.present():
                files.verify(files.data, CHECKSUM)
        with files.present():
            opened = files.data.open("rb")
        with opened:
            return read_pickle(opened, self.store.pickler)

    def stat(self) -> DatasetFacts:
        """Tell sizes, times and checksum.

        Raises
        ------
        MissingDatasetError
            When there are no data.

        Notes
        -----
        Reads the data once for the checksum, which is remembered while the file stays as it is.
        """
        files = self._files
        files.complete()
        note_times(self.name)
        with files.present():
            return facts_of(files.name, files.data, files.meta, files.mapped)

    def delete(self) -> None:
        """Remove data and metadata; the lock file stays, as somebody may be waiting for it.

        Raises
        ------
        MissingDatasetError
            When there are neither.
        """
        files = self._files
        with files.change() as change:
            if not (files.data.exists() or files.meta.exists()):
                raise files.missing()
            for file in (files.data, files.meta, files.mapped):
                change.remove(file.name)
            self._commit(change, {})

    def clean(self) -> None:
        """Remove what a killed writer has left under construction."""
        with self._files.change():
            pass

    # Metadata -------------------------------------------------------------------------------------

    @property
    def meta(self) -> Metadata:
        """The metadata: read at the first access, empty if there are none.

        Assigning saves them at once, and assigning None deletes them. What is changed in place is
        saved at the end of a ``with`` block, by `put_data`, or by `update_meta`.
        """
        self._files.complete()
        return self._meta.current

    @meta.setter
    def meta(self, meta: Mapping[str, Any] | None) -> None:
        new = None if meta is None else _checked_meta(meta)
        with self._files.change() as change:
            if new is None:
                change.remove(self._files.meta.name)
            else:
                self._meta.write(change, new)
            self._commit(change, new or {})

    def update_meta(self) -> None:
        """Save what was changed in the metadata, if anything was."""
        if self._meta.has_changes():
            with self._files.change() as change:
                new = self._meta.refreshed(self._meta.read())
                self._meta.write(change, new)
                self._commit(change, new)

    def _commit(self, change: Change, meta: Mapping[str, Any]) -> None:
        try:
            change.commit()
        except BaseException:
            self._meta.unknown()  # it may be made, or be about to be
            raise
        self._meta.saved(meta)

    def _known_or_empty(self) -> Metadata:
        try:
            return self._meta.read()
        except CorruptDatasetError:  # which are about to be replaced
            return Metadata()

    # The lock -------------------------------------------------------------------------------------

    @property
    def lock(self) -> FileLock:
        """The lock of the dataset, as filelock has it; a thread may hold it several times.

        Keep the entry while you hold it: a lock that nobody has any more is free.
        """
        return self._files.lock

    @contextlib.contextmanager
    def locked(self, timeout: float | None = None) -> Iterator[Self]:
        """Do as ``with entry:``, waiting for the lock as long as is said here.

        Parameters
        ----------
        timeout : float, optional
            Seconds; by default as for the store.

        Raises
        ------
        filelock.Timeout
            When it was not free in time.
        """
        with self._files.locked(timeout):
            self._meta.refresh()
            try:
                yield self
            except BaseException:
                self._save_in_spite_of_an_error()
                raise
            self.update_meta()

    def _save_in_spite_of_an_error(self) -> None:
        try:
            self.update_meta()
        except Exception:
            _log.exception("the metadata of %r could not be saved", self.name)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.locked())
            self._entered.append(stack.pop_all())
        return self

    def __exit__(self, *error: Any) -> None:
        self._entered.pop().__exit__(*error)

    # As an input ----------------------------------------------------------------------------------

    @property
    def file(self) -> File:
        """The file of the data, for tasks that depend on the data and not on the metadata."""
        from seamless_dask_cache.identity import File

        return File(self.path)

    def __seamless_identity__(self) -> Any:
        """Give what identifies a dataset as an input: the contents of its files, and who reads."""
        from seamless_dask_cache.identity import File

        self._files.complete()
        return self.file, File(self._files.meta), portable(self.store.pickler)

    def __dask_tokenize__(self) -> Any:
        *files, pickler = self.__seamless_identity__()
        return type(self).__name__, [(file.path, file.checksum) for file in files], pickler


def existing(entry: DatasetEntry) -> DatasetEntry:
    """Give an entry back that has data.

    Raises
    ------
    MissingDatasetError
    """
    if not entry:
        raise entry._files.missing()
    return entry


def _checked_meta(meta: object) -> Metadata:
    if not isinstance(meta, Mapping):
        raise TypeError(f"metadata are a mapping, not {meta!r:.80}")
    return Metadata(meta)
