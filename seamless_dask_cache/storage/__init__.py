"""The buffer stores: one small interface, several backends."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from seamless_dask_cache.errors import ConfigurationError
from seamless_dask_cache.storage.base import BufferStore
from seamless_dask_cache.storage.directory import DirectoryStore
from seamless_dask_cache.storage.memory import MemoryStore

__all__ = ["BufferStore", "DirectoryStore", "MemoryStore", "open_store"]


def open_store(
    spec: str | PathLike[str] | BufferStore, *, durable: bool | Literal["soon"] = True
) -> BufferStore:
    """Return the buffer store that a setting names.

    Parameters
    ----------
    spec : str, path-like or BufferStore
        A directory, ``file:///a/directory``, ``memory://`` (a new, empty store), or a store, which
        is returned as it is.
    durable : bool or "soon"
        For a directory: whether writing waits for the disk, see `DirectoryStore`.

    Raises
    ------
    ConfigurationError
        For an unknown kind of store.

    Examples
    --------
    >>> open_store("memory://")
    <MemoryStore: 0 buffers>
    """
    if isinstance(spec, BufferStore):
        return spec
    if isinstance(spec, PathLike):
        return DirectoryStore(spec, durable=durable)
    if not isinstance(spec, str) or not spec:
        raise ConfigurationError(f"a buffer store is a directory or a URL, not {spec!r}")
    return _open_url(spec, durable) if "://" in spec else DirectoryStore(spec, durable=durable)


def _open_url(url: str, durable: bool | Literal["soon"]) -> BufferStore:
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return MemoryStore()
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        return DirectoryStore(Path(unquote(parts.path)), durable=durable)
    raise ConfigurationError(
        f"no buffer store is known for {url!r}; expected a directory, file:///directory or memory://"
    )
