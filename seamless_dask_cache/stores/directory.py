"""A folder of named datasets, as dirdb 0.1.0 has it.

For each dataset there are ``<name>.pickle``, ``<name>.json`` with its metadata if it has some,
``<name>.lock``, and ``<name>.mmap`` if somebody asked for a file to map. What begins with a dot
and ends with ``.part`` or ``.commit`` is under construction (`seamless_dask_cache.stores.commits`).

Pickles run code when they are loaded: open only folders whose writers you trust.
"""

from __future__ import annotations

import contextlib
import fnmatch
import logging
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import Timeout

from seamless_dask_cache.errors import ConfigurationError
from seamless_dask_cache.stores.commits import name_of_journal, name_of_part
from seamless_dask_cache.stores.data_files import Pickler, arrived, portable
from seamless_dask_cache.stores.dataset_files import checked_timeout
from seamless_dask_cache.stores.entry import DatasetEntry
from seamless_dask_cache.stores.names import is_safe
from seamless_dask_cache.stores.sorting import order_of

_log = logging.getLogger(__name__)

_DATA = ".pickle"


class DirectoryStore:
    """A dict-like folder of datasets.

    Parameters
    ----------
    path : str or path-like
        The folder; ``~`` is understood.
    create_ok : bool
        Make it if it is missing.
    pickler : module or object, optional
        Has ``dump(obj, file, protocol)`` and ``load(file)``; by default the module ``pickle``.
    timeout : float, optional
        Seconds to wait for the lock of a dataset; by default as long as it takes.

    Raises
    ------
    ConfigurationError
        When the path is no folder, or the pickler none.

    Notes
    -----
    For any number of threads and processes. Iterating gives entries, in the order of their names;
    what is added or removed meanwhile may be among them or not. As an argument of a Dask task, a
    store is identified by the names and contents of all its datasets.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> db = DirectoryStore(folder.name)
    >>> db["b"] = [1, 2]
    >>> db["a"].put_data("text", meta={"rank": 3})
    >>> "a" in db, len(db), db.names("[b-z]*")
    (True, 2, ['b'])
    >>> [entry.name for entry in db.sort("rank")]
    ['a', 'b']
    >>> del db["b"]
    >>> list(db)  # doctest: +ELLIPSIS
    [<dataset 'a' in ...>]
    >>> folder.cleanup()
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        create_ok: bool = True,
        pickler: Pickler | None = None,
        *,
        timeout: float | None = None,
    ):
        self.path = Path(path).expanduser().absolute()
        self.directory = self.path  # as dirdb calls it
        self._told: set[str] = set()
        self.pickler: Pickler = pickle if pickler is None else pickler
        self.timeout = checked_timeout(timeout)
        if not (hasattr(self.pickler, "dump") and hasattr(self.pickler, "load")):
            raise ConfigurationError(f"a pickler has dump and load, which {pickler!r} has not")
        if create_ok and not self.path.exists():
            self.path.mkdir(parents=True, exist_ok=True)
        if not self.path.is_dir():
            raise ConfigurationError(f"{str(path)!r} is no folder")

    def __repr__(self) -> str:
        return f"<DirectoryStore {self.path}>"

    def __eq__(self, other: object) -> bool:
        return self.path == other.path if isinstance(other, DirectoryStore) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.path)

    def __reduce__(self) -> Any:
        return _opened, (type(self), str(self.path), portable(self.pickler), self.timeout)

    def __seamless_identity__(self) -> Any:
        """Tell what identifies a store as an input: names and contents of all datasets."""
        return str(self.path), portable(self.pickler), [e.__seamless_identity__() for e in self]

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, str(self.path), [entry.__dask_tokenize__() for entry in self]

    # As a dict ------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> DatasetEntry:
        """Give the entry of a name, which is false while it has no data.

        Raises
        ------
        DatasetNameError
            When the name is no safe file name.
        """
        return DatasetEntry(self, name)

    def __setitem__(self, name: str, data: Any) -> None:
        self[name].put_data(data)

    def __delitem__(self, name: str) -> None:
        self[name].delete()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and is_safe(name) and bool(self[name])

    def __len__(self) -> int:
        return len(self.names())

    def __iter__(self) -> Iterator[DatasetEntry]:
        return self.entries()

    def __bool__(self) -> bool:
        return True

    # Names and order ------------------------------------------------------------------------------

    def names(self, pattern: str | None = None) -> list[str]:
        """Give the names of the datasets, sorted.

        Parameters
        ----------
        pattern : str, optional
            As in a shell, such as ``"run-*"``; upper and lower case differ.
        """
        found, committed = set(), set()
        for file in os.scandir(self.path):
            if file.name.endswith(_DATA) and file.is_file():
                found.add(file.name.removesuffix(_DATA))
            elif (changing := name_of_journal(file.name)) is not None:
                committed.add(changing)
        # What is committed counts, although it may not be in its place yet.
        for name in filter(is_safe, committed):
            (found.add if self[name] else found.discard)(name)
        names = sorted(filter(self._is_reachable, found))
        return [name for name in names if pattern is None or fnmatch.fnmatchcase(name, pattern)]

    def _is_reachable(self, name: str) -> bool:
        if not is_safe(name) and name not in self._told and name:
            self._told.add(name)
            _log.warning("%s has a dataset %r, which is no name here: rename its files", self, name)
        return is_safe(name)

    def clean(self) -> list[str]:
        """Remove what killed writers have left under construction, unless somebody has the lock.

        Returns
        -------
        list of str
            The names of the datasets; they themselves stay as they are.

        Notes
        -----
        The next writer of a dataset does this for it, too.
        """
        parts = {name_of_part(file.name) for file in self.path.iterdir()}
        cleaned = []
        for name in sorted(part for part in parts if part and is_safe(part)):
            with contextlib.suppress(Timeout), self[name].locked(timeout=0) as entry:
                entry.clean()
                cleaned.append(name)
        return cleaned

    def entries(self, pattern: str | None = None) -> Iterator[DatasetEntry]:
        """Yield the entries of the datasets in the order of their names.

        Parameters
        ----------
        pattern : str, optional
            As for `names`.
        """
        return map(self.__getitem__, self.names(pattern))

    def sort(
        self, by: str | Callable[[DatasetEntry], Any] = "name", *, reverse: bool = False
    ) -> list[DatasetEntry]:
        """Give the entries in another order.

        Parameters
        ----------
        by : str or callable
            ``"name"``, ``"size"`` of the data, ``"time"`` of their last change; a field of the
            metadata, such as ``"stats.mean"`` (``"meta.size"`` for one that is called as the three
            are); or a function of an entry.
        reverse : bool
            From the largest to the smallest.

        Returns
        -------
        list of DatasetEntry
            Those without the field come last, by name.

        Raises
        ------
        TypeError
            When the values cannot be compared.
        """
        return order_of(self.entries(), by, reverse)

    # Directly -------------------------------------------------------------------------------------

    def save_data(self, name: str, data: Any, meta: Mapping[str, Any] | None = None) -> None:
        """Save data under a name; as ``db[name].put_data(data, meta)``."""
        self[name].put_data(data, meta)

    def get_data(self, name: str, *, mmap: bool = False, verify: bool = False) -> Any:
        """Load the data of a name; as ``db[name].get_data()``."""
        return self[name].get_data(mmap=mmap, verify=verify)

    def update_meta(self, name: str, meta: Mapping[str, Any]) -> None:
        """Change some of the metadata of a name, and save them."""
        with self[name] as entry:
            entry.meta.update(meta)

    def subdb(self, name: str, **options: Any) -> DirectoryStore:
        """Open a folder below this one as a store; it is made if it is missing."""
        options = {"pickler": self.pickler, "timeout": self.timeout, **options}
        return type(self)(self.path / self[name].name, **options)

    def subdirs(self) -> Iterator[DirectoryStore]:
        """Yield the folders below this one as stores, in the order of their names."""
        names = sorted(path.name for path in self.path.iterdir() if path.is_dir())
        return map(self.subdb, filter(is_safe, names))

    # On a cluster ---------------------------------------------------------------------------------

    def put_delayed(
        self,
        name: str,
        data: Any,
        meta: Mapping[str, Any] | None = None,
        *,
        mmap: bool = False,
        checksum: bool | None = None,
    ) -> Any:
        """Save the result of a Dask computation where it is made, without bringing it here.

        Parameters
        ----------
        name : str
        data : Delayed, Future or Dask collection
        meta, mmap, checksum
            As for `DatasetEntry.put_data`.

        Returns
        -------
        Delayed or Future
            A Future for a Future, else a Delayed; its result is the entry. Workers must reach the
            folder under the same path.

        Notes
        -----
        What writes is never taken from the cache. As with all futures of Dask, a Future that nobody
        keeps is not computed.

        Examples
        --------
        >>> import dask, tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> db = DirectoryStore(folder.name)
        >>> writing = db.put_delayed("six", dask.delayed(sum)([1, 2, 3]))
        >>> writing.compute(scheduler="sync").get_data()
        6
        >>> folder.cleanup()
        """
        from seamless_dask_cache.stores.delayed import put_delayed

        return put_delayed(self[name], data, meta, {"mmap": mmap, "checksum": checksum})

    def get_delayed(self, name: str, *, mmap: bool = False) -> Any:
        """Give the data of a name as a Delayed, identified by the content of its file.

        Metadata do not count: what is computed from it is not computed again when only they change.

        Parameters
        ----------
        name : str
        mmap : bool
            As for `DatasetEntry.get_data`.

        Raises
        ------
        MissingDatasetError
            When there are no data.

        Examples
        --------
        >>> import dask, tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> db = DirectoryStore(folder.name)
        >>> db["numbers"] = [1, 2, 3]
        >>> dask.delayed(sum)(db.get_delayed("numbers")).compute(scheduler="sync")
        6
        >>> folder.cleanup()
        """
        from seamless_dask_cache.stores.delayed import get_delayed

        return get_delayed(self[name], mmap)


dirdb = DirectoryStore
"""The name that dirdb 0.1.0 has for it."""


def _opened(
    kind: type[DirectoryStore], path: str, pickler: Pickler | str, timeout: float | None
) -> DirectoryStore:
    # Not made anew: where it is missing, it may be the folder of another machine.
    return kind(path, False, arrived(pickler), timeout=timeout)
