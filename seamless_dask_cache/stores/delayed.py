"""Datasets on a cluster: written where they are made, read where they are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seamless_dask_cache.errors import ConfigurationError
from seamless_dask_cache.identity import File
from seamless_dask_cache.stores.data_files import arrived, portable
from seamless_dask_cache.stores.directory import DirectoryStore
from seamless_dask_cache.stores.entry import DatasetEntry, existing


def put_delayed(entry: DatasetEntry, data: Any, meta: Mapping[str, Any] | None) -> Any:
    """Save a result where it is made; see `DirectoryStore.put_delayed`."""
    import dask
    from dask.base import is_dask_collection

    # The entry itself would be identified by the content that it is about to lose.
    place = entry.store.__reduce__()
    with dask.annotate(cache=False):
        if is_dask_collection(data):
            return dask.delayed(write_dataset, pure=False)(data, meta, place, entry.name)
        if hasattr(data, "client") and hasattr(data, "key"):
            return data.client.submit(write_dataset, data, meta, place, entry.name, pure=False)
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


def write_dataset(
    data: Any, meta: Mapping[str, Any] | None, place: tuple[Any, tuple[Any, ...]], name: str
) -> DatasetEntry:
    """Write a dataset, in a task."""
    make, arguments = place
    entry: DatasetEntry = make(*arguments)[name]
    entry.put_data(data, meta)
    return entry


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
