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
        self._kept = Metadata()
        self._saved = _NOTHING
        self._is_read = False

    @property
    def current(self) -> Metadata:
        """The metadata; read at the first access."""
        if not self._is_read:
            self.saved(self.read())
        return self._kept

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
        return self._is_read and dump_metadata(self._kept) != self._saved

    def refreshed(self, fresh: Metadata) -> Metadata:
        """Bring what was changed here and not saved into what the file holds now."""
        if not self.has_changes():
            return fresh
        return merged(load_metadata(self._saved, "what was read"), self._kept, fresh)

    def refresh(self) -> None:
        """Read anew, if it was read before, and keep what was changed here."""
        if self._is_read:
            fresh = self.read()
            on_disk = dump_metadata(fresh)
            self._kept.become(self.refreshed(fresh))
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

    def saved(self, meta: Mapping[str, object]) -> None:
        """Note what is in the file now."""
        self._kept.become(meta)
        self._saved = dump_metadata(self._kept)
        self._is_read = True

    def unknown(self) -> None:
        """Note that nobody knows what is in the file now: it is read at the next access."""
        self._is_read = False
