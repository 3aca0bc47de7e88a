"""Datasets on a cluster: written where they are made, read where they are used."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seamless_dask_cache.errors import ConfigurationError, RefusedError
from seamless_dask_cache.identity import File
from seamless_dask_cache.stores.data_files import arrived, portable
from seamless_dask_cache.stores.directory import DirectoryStore
from seamless_dask_cache.stores.entry import DatasetEntry, existing


def put_delayed(
    entry: DatasetEntry, data: Any, meta: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> Any:
    """Save a result where it is made; see `DirectoryStore.put_delayed`."""
    import dask
    from dask.base import is_dask_collection

    write, key = Writing(entry.store, entry.name, options), f"put-{entry.name}-{uuid.uuid4().hex}"
    if is_dask_collection(data):
        return dask.delayed(write, pure=False)(data, meta, dask_key_name=key)
    if hasattr(data, "client") and hasattr(data, "key"):
        return data.client.submit(write, data, meta, key=key)
    raise ConfigurationError(
        f"put_delayed saves a Delayed, a Future or a Dask collection, not {data!r:.80}"
    )


def get_delayed(entry: DatasetEntry, mmap: bool) -> Any:
    """Give the data as a Delayed; see `DirectoryStore.get_delayed`."""
    import dask
    from dask.base import tokenize

    read, file = Reading(portable(entry.store.pickler), mmap), existing(entry).file
    # The path alone would be the same key for whatever lies there.
    key = f"read-{entry.name}-{tokenize(read, file.path, file.checksum)}"
    return dask.delayed(read, pure=True)(file, dask_key_name=key)


@dataclass(frozen=True)
class Writing:
    """Writes a dataset, in a task.

    Parameters
    ----------
    store : DirectoryStore
    name : str
    options : mapping
        Of `DatasetEntry.put_data`.
    """

    store: DirectoryStore
    name: str
    options: Mapping[str, Any]

    def __call__(self, data: Any, meta: Mapping[str, Any] | None) -> DatasetEntry:
        """Save data, and give the entry."""
        entry = self.store[self.name]
        entry.put_data(data, meta, **self.options)
        return entry

    def __seamless_identity__(self) -> Any:
        """Refuse: a task that writes is run each time, whoever vouches for it.

        Raises
        ------
        RefusedError
        """
        raise RefusedError(f"it writes the dataset {self.name!r}")

    def __dask_tokenize__(self) -> Any:
        # Not by the content of the store, which it is about to change.
        return type(self).__name__, str(self.store.path), self.name


@dataclass(frozen=True)
class Reading:
    """Reads a dataset, in a task.

    Parameters
    ----------
    pickler : module, str or object
        As `portable` gives it.
    mmap : bool
        As for `DatasetEntry.get_data`.
    """

    pickler: Any
    mmap: bool

    def __call__(self, file: File) -> Any:
        """Load the data of a file."""
        path = Path(file)
        store = DirectoryStore(path.parent, create_ok=False, pickler=arrived(self.pickler))
        return store[path.name.removesuffix(".pickle")].get_data(mmap=self.mmap)

    def __seamless_identity__(self) -> Any:
        """Give what the data depend on besides the file."""
        return self.pickler, self.mmap
