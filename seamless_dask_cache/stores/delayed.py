"""Datasets on a cluster: written where they are made, read where they are used."""

from __future__ import annotations

from collections.abc import Mapping
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

    file, pickler = existing(entry).file, portable(entry.store.pickler)
    # The path alone would be the same key for whatever lies there.
    key = f"read-{entry.name}-{tokenize(file.path, file.checksum, mmap)}"
    return dask.delayed(read_dataset, pure=True)(file, pickler, mmap, dask_key_name=key)


def write_dataset(
    data: Any, meta: Mapping[str, Any] | None, place: tuple[Any, tuple[Any, ...]], name: str
) -> DatasetEntry:
    """Write a dataset, in a task."""
    make, arguments = place
    entry: DatasetEntry = make(*arguments)[name]
    entry.put_data(data, meta)
    return entry


def read_dataset(file: File, pickler: Any, mmap: bool) -> Any:
    """Read a dataset, in a task."""
    path = Path(file)
    store = DirectoryStore(path.parent, create_ok=False, pickler=arrived(pickler))
    return store[path.name.removesuffix(".pickle")].get_data(mmap=mmap)
