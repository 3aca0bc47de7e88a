"""Records in the memory of this process, by id and by provenance."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from seamless_dask_cache.stores.provenance import Provenance
from seamless_dask_cache.stores.records import Facts, Record, StoredItem
from seamless_dask_cache.stores.temporary_files import TemporaryFiles, absolute

if TYPE_CHECKING:
    from typing import Self  # since Python 3.11; only type checkers come here

T = TypeVar("T", bound=Record)

_TICK = timedelta(microseconds=1)


class Registry(Generic[T]):
    """What a store knows, without computing anything: the base of `ProvenanceStore`.

    Notes
    -----
    Thread-safe.

    Examples
    --------
    >>> registry = Registry()
    >>> made = Provenance("read", params={"file": "genes.bed"})
    >>> first = registry.put(["the genes"], provenance=made)
    >>> registry.put(["the genes, read again"], provenance=made) == first
    True
    >>> registry.list_all()[0].item
    ['the genes']
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # finalizers of items may come in between
        self._records: dict[str, T] = {}
        self._ids: dict[Provenance, str] = {}
        self._files = TemporaryFiles()
        self._latest = datetime.min.replace(tzinfo=timezone.utc)

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} lives in its process: it cannot be copied or pickled")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} records>"

    def put(
        self,
        item: Any,
        *,
        provenance: Provenance | None = None,
        temp_file: str | os.PathLike[str] | None = None,
    ) -> str:
        """Keep an item, unless there is one of the same provenance.

        Parameters
        ----------
        item : object
        provenance : Provenance, optional
            Without one, the item is another one each time.
        temp_file : path, optional
            A file that goes with the item. The store removes it when it is closed, or the last
            record that has it is deleted. Where the provenance is known, the file is not taken: it
            stays the caller's.

        Returns
        -------
        str
            A random UUID; or the id of the record with this provenance, which stays as it is.

        Raises
        ------
        TypeError
            For something that is no provenance, or no path.
        ValueError
            For a `temp_file` that is a folder.

        Examples
        --------
        >>> store = Registry()
        >>> store.put("a") == store.put("a")
        False
        """

        def record(facts: Facts) -> Any:  # a subclass with another `T` has a `put` of its own
            return StoredItem(item=item, **facts._asdict())

        return self._put(record, provenance, temp_file)

    def _put(
        self,
        make: Callable[[Facts], T],
        provenance: Provenance | None,
        temp_file: str | os.PathLike[str] | None,
    ) -> str:
        if not isinstance(provenance, Provenance | None):
            raise TypeError(f"provenance must be a Provenance, not {provenance!r}")
        file = None if temp_file is None else absolute(temp_file)
        with self._lock:
            known = None if provenance is None else self._ids.get(provenance)
            return known or self._keep(make, provenance, file)

    def _keep(
        self, make: Callable[[Facts], T], provenance: Provenance | None, file: Path | None
    ) -> str:
        facts = Facts(str(uuid.uuid4()), self._now(), provenance, file)
        record = make(facts)  # may raise; nothing has been noted then
        self._records[facts.id] = record
        if provenance is not None:
            self._ids[provenance] = facts.id
        if file is not None:
            self._files.take(file, facts.id)
        return facts.id

    def _now(self) -> datetime:
        """Return a time that is later than every one before, also when the clock is set back."""
        self._latest = max(datetime.now(timezone.utc), self._latest + _TICK)
        return self._latest

    def get(self, id: str) -> T | None:
        """Return the record of an id.

        Parameters
        ----------
        id : str

        Returns
        -------
        Record or None
            None for an unknown id.

        Examples
        --------
        >>> Registry().get("nobody") is None
        True
        """
        return self._records.get(id)

    def __getitem__(self, id: str) -> T:
        record = self.get(id)
        if record is None:
            raise KeyError(f"no record has the id {id!r}")
        return record

    def __contains__(self, id: object) -> bool:
        return id in self._records

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the ids, in the order of creation."""
        return (record.id for record in self.list_all())

    def list_all(self) -> list[T]:
        """Return all records, in the order of their creation.

        Returns
        -------
        list of Record

        Examples
        --------
        >>> store = Registry()
        >>> ids = [store.put(item) for item in "ab"]
        >>> [record.item for record in store.list_all()]
        ['a', 'b']
        """
        with self._lock:
            return list(self._records.values())  # a dict keeps the order in which they came

    def find(self, provenance: Provenance) -> str | None:
        """Return the id of the record with a provenance.

        Parameters
        ----------
        provenance : Provenance

        Returns
        -------
        str or None
            None where there is no such record.

        Examples
        --------
        >>> Registry().find(Provenance("read")) is None
        True
        """
        return self._ids.get(provenance)

    def delete(self, id: str) -> bool:
        """Forget a record with its provenance, and remove its temporary file.

        Returns
        -------
        bool
            Whether there was such a record.

        Raises
        ------
        OSError
            When the file is there and cannot be removed; the record is gone all the same.

        Notes
        -----
        What was computed from it stays, and so does what `compute` left in a database.

        Examples
        --------
        >>> Registry().delete("nobody")
        False
        """
        with self._lock:
            record = self._records.pop(id, None)
            if record is None:
                return False
            if record.provenance is not None:
                del self._ids[record.provenance]
            if record.temp_file is not None:
                self._files.drop(record.temp_file, id)
            return True

    def close(self) -> None:
        """Remove the temporary files of all records. The records stay, and so does the store.

        Raises
        ------
        OSError
            When one cannot be removed, after the others are.

        Examples
        --------
        >>> with Registry() as store:
        ...     id = store.put("an item")
        >>> id in store
        True
        """
        with self._lock:
            self._files.remove_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
