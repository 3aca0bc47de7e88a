"""The metadata of one dataset, in memory and in their file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from seamless_dask_cache.stores.commits import Change
from seamless_dask_cache.stores.metadata import Metadata, dump_metadata, load_metadata, merged

_NOTHING = "{}"


class MetadataFile:
    """Metadata as they are in a file, and what was changed since they were read.

    Parameters
    ----------
    path : Path

    Notes
    -----
    Not thread-safe. Who writes, or reads anew, holds the lock of the dataset. The object that
    `current` gives stays the same one, so that nobody changes metadata that are not saved any more.
    """

    def __init__(self, path: Path):
        self.path = path
        self._current: Metadata | None = None
        self._saved = _NOTHING

    @property
    def current(self) -> Metadata:
        """The metadata; read at the first access."""
        if self._current is None:
            self._take(self.read())
        assert self._current is not None
        return self._current

    def read(self) -> Metadata:
        """Read the file; empty if there is none.

        Raises
        ------
        CorruptDatasetError
            When it holds no JSON object.
        """
        try:
            return load_metadata(self.path.read_bytes(), self.path)
        except FileNotFoundError:
            return Metadata()

    def has_changes(self) -> bool:
        """Tell whether `current` was changed since it was read or saved."""
        return self._current is not None and dump_metadata(self._current) != self._saved

    def refreshed(self) -> Metadata:
        """Read anew, and bring in what was changed here and not saved."""
        fresh = self.read()
        if self._current is None:
            return fresh
        return merged(load_metadata(self._saved, "what was read"), self._current, fresh)

    def refresh(self) -> None:
        """Make `current` what `refreshed` gives."""
        if self._current is not None:
            on_disk = dump_metadata(self.read())
            self._replace_items(self.refreshed())
            self._saved = on_disk

    def write(self, change: Change, meta: Mapping[str, object]) -> None:
        """Make other metadata a part of a change.

        Raises
        ------
        TypeError, ValueError
            When JSON cannot hold them.
        """
        text = dump_metadata(meta)
        with change.replace(self.path.name) as file:
            file.write(text.encode())

    def saved(self, meta: Metadata) -> None:
        """Note what is in the file now."""
        self._take(meta)

    def forget(self) -> None:
        """Note that there is no file any more."""
        self._current, self._saved = None, _NOTHING

    def _take(self, meta: Metadata) -> None:
        self._replace_items(meta)
        self._saved = dump_metadata(meta)

    def _replace_items(self, meta: Metadata) -> None:
        if self._current is None:
            self._current = meta
        elif self._current is not meta:
            items = dict(meta)
            self._current.clear()
            self._current.update(items)
