"""A registry of results in the memory of this process, by id and by provenance."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from seamless_dask_cache.stores.operations import operation_on
from seamless_dask_cache.stores.parameters import Params
from seamless_dask_cache.stores.provenance import Provenance
from seamless_dask_cache.stores.records import Record, StoredItem
from seamless_dask_cache.stores.temporary_files import TemporaryFiles, absolute
from seamless_dask_cache.stores.turns import Turns

if TYPE_CHECKING:
    from typing import Self  # since Python 3.11; only type checkers come here

    from seamless_dask_cache.stores.lineage import Lineage

T = TypeVar("T", bound=Record)

_TICK = timedelta(microseconds=1)


class Facts(NamedTuple):
    """What a store itself says of a record.

    Attributes
    ----------
    id, created_at, provenance, temp_file
        As those of every `Record`.

    Examples
    --------
    >>> Facts("an id", datetime(2026, 1, 1, tzinfo=timezone.utc), None, None).id
    'an id'
    """

    id: str
    created_at: datetime
    provenance: Provenance | None
    temp_file: Path | None


class ProvenanceStore(Generic[T]):
    """Items by id, where what has one provenance is there once.

    `T` is the type of its records: `StoredItem`, unless a subclass makes others.

    Parameters
    ----------
    linked : iterable of ProvenanceStore
        Stores in which inputs may be, too.
    database : str or bool, optional
        Where `compute` looks for results and leaves them: the URL of a database server, or True for
        the database that is enabled or configured in this process. None or False for nowhere.

    Raises
    ------
    ConfigurationError
        For a `database` that is none.
    TypeError
        For something in `linked` that is no store.

    Notes
    -----
    Thread-safe. Records are kept until they are deleted; items are kept as they are, not copied,
    and are not to be changed. Nothing of a store outlives its process, but what `compute` left in a
    database.

    Examples
    --------
    >>> store = ProvenanceStore()
    >>> made = Provenance("read", params={"file": "genes.bed"})
    >>> first = store.put(["the genes"], provenance=made)
    >>> store.put(["the genes, read again"], provenance=made) == first
    True
    >>> store[first].item
    ['the genes']
    >>> count = store.compute("count", [first], {}, len)
    >>> store.compute("count", [first], {}, len) == count, store[count].item
    (True, 1)
    >>> store.delete(first), store.get(first), store.find(made)
    (True, None, None)
    """

    def __init__(
        self,
        *,
        linked: Iterable[ProvenanceStore[Any]] = (),
        database: str | bool | None = None,
    ):
        self.linked = _checked_stores(linked)
        self.database = _checked_database(database)
        self._lock = threading.Lock()
        self._records: dict[str, T] = {}
        self._ids: dict[Provenance, str] = {}
        self._files = TemporaryFiles()
        self._latest = datetime.min.replace(tzinfo=timezone.utc)
        self._turns = Turns()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} records>"

    # Records --------------------------------------------------------------------------------------

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
        >>> store = ProvenanceStore()
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
            self._files.take(file)
        return facts.id

    def _now(self) -> datetime:
        """Return a time that is later than every one before, also when the clock is set back."""
        self._latest = max(datetime.now(timezone.utc), self._latest + _TICK)
        return self._latest

    def get(self, id: str) -> T | None:
        """Return the record of an id, or None."""
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
        """Return all records, in the order of their creation."""
        with self._lock:
            return list(self._records.values())  # a dict keeps the order in which they came

    def find(self, provenance: Provenance) -> str | None:
        """Return the id of the record with a provenance, or None."""
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
        >>> ProvenanceStore().delete("nobody")
        False
        """
        with self._lock:
            record = self._records.pop(id, None)
            if record is None:
                return False
            if record.provenance is not None:
                del self._ids[record.provenance]
            if record.temp_file is not None:
                self._files.drop(record.temp_file)
            return True

    def close(self) -> None:
        """Remove the temporary files of all records. The records stay, and so does the store.

        Raises
        ------
        OSError
            When one cannot be removed, after the others are.

        Examples
        --------
        >>> with ProvenanceStore() as store:
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

    # Computing ------------------------------------------------------------------------------------

    def compute(
        self,
        operation: str,
        inputs: Iterable[str | Record],
        params: Params,
        function: Callable[..., Any],
        *,
        database: str | bool | None = None,
    ) -> str:
        """Return the id of a result; compute it if there is none of that provenance.

        Parameters
        ----------
        operation : str
            What is done.
        inputs : iterable of str or Record
            Ids of this store and of linked ones, or records.
        params : mapping, or iterable of (str, object)
            How it is done, as `Provenance` takes it.
        function : callable
            Called with the items of the inputs in the order given, and with the parameters by name.
            A function that takes nothing is called without; its inputs are in its closure. It must
            be pure.
        database : str or bool, optional
            As for the store; None for what was given there.

        Returns
        -------
        str
            Of the result. Its provenance is made of operation, ids and params; where the inputs are
            not given in the order of their ids, their order is one more parameter. Give
            ``sorted(ids)`` where it does not matter.

        Raises
        ------
        KeyError
            For an id that no store knows.
        TypeError
            For inputs and parameters that do not fit the function, and for parameters that no
            provenance can have. Nothing was run then.
        RuntimeError
            When the function needs its own result.

        Notes
        -----
        From many threads at once, the function runs once for each provenance. What it raises is
        raised to who ran it; the next one tries anew.

        Within a store, the provenance alone tells what is the same: another function under the same
        name is not looked at. In a database, the code of the function and the content of its inputs
        count, too: there a result is a record like those of `cached`, which any process finds, and
        which an edit of the function leaves behind. A database that does not answer is done
        without.

        Examples
        --------
        >>> store = ProvenanceStore()
        >>> five, two = store.put(5), store.put(2)
        >>> less = store.compute("subtract", [five, two], {}, lambda a, b: a - b)
        >>> more = store.compute("subtract", [two, five], {}, lambda a, b: a - b)
        >>> store[less].item, store[more].item
        (3, -3)
        """
        made = operation_on(operation, self._inputs(inputs), params, function)
        provenance = made.provenance()
        chosen = self.database if database is None else _checked_database(database)
        known = self.find(provenance)
        if known is not None:
            return known
        with self._turns.of(provenance.cache_key(), repr(provenance)):
            known = self.find(provenance)
            return known or self.put(_computed(made, chosen), provenance=provenance)

    def lookup(self, id: str) -> Record | None:
        """Return the record of an id in this store or a linked one, or None.

        Examples
        --------
        >>> numbers = ProvenanceStore()
        >>> one = numbers.put(1)
        >>> ProvenanceStore(linked=[numbers]).lookup(one).item
        1
        """
        found = (store.get(id) for store in self._reachable())
        return next((record for record in found if record is not None), None)

    def lineage(self, id: str) -> Lineage:
        """Return what a record was made of, back to the inputs, also in linked stores.

        Raises
        ------
        KeyError
            When no store knows the id.

        Examples
        --------
        >>> store = ProvenanceStore()
        >>> whole = store.put("abc", provenance=Provenance("read"))
        >>> print(store.lineage(store.compute("length", [whole], {}, len)))
        int = length() of
        str = read()
        """
        from seamless_dask_cache.stores.lineage import trace

        return trace(id, self.lookup)

    def _inputs(self, inputs: Iterable[str | Record]) -> list[Record]:
        if isinstance(inputs, str | Record) or not isinstance(inputs, Iterable):
            raise TypeError(f"inputs must be several ids or records, not {inputs!r}")
        return [self._input(one) for one in inputs]

    def _input(self, one: str | Record) -> Record:
        if isinstance(one, Record):
            return one
        if not isinstance(one, str):
            raise TypeError(f"an input is an id or a record, not {one!r}")
        record = self.lookup(one)
        if record is None:
            raise KeyError(f"no record has the id {one!r}, here or in a linked store")
        return record

    def _reachable(self) -> Iterator[ProvenanceStore[Any]]:
        """Yield this store and those that it is linked with, the nearest first, each once."""
        stores: dict[ProvenanceStore[Any], None] = {self: None}
        waiting = [self]
        for store in waiting:
            yield store
            new = [other for other in store.linked if other not in stores]
            stores.update(dict.fromkeys(new))
            waiting += new


def _computed(made: Any, database: str | bool) -> Any:
    if not database:
        return made.call()
    from seamless_dask_cache.stores.shared_results import shared_result

    return shared_result(made, database)


def _checked_stores(linked: Iterable[Any]) -> tuple[ProvenanceStore[Any], ...]:
    if isinstance(linked, ProvenanceStore):
        raise TypeError(f"linked must be several stores, such as [store], not {linked!r}")
    stores = tuple(linked)
    for store in stores:
        if not isinstance(store, ProvenanceStore):
            raise TypeError(f"only stores can be linked, not {store!r}")
    return stores


def _checked_database(database: str | bool | None) -> str | bool:
    from seamless_dask_cache.errors import ConfigurationError

    if database is None or isinstance(database, bool):
        return bool(database)
    if not isinstance(database, str) or not database.startswith(("http://", "https://")):
        raise ConfigurationError(
            "database must be a URL such as http://127.0.0.1:5522, or True for the one in force,"
            f" not {database!r}"
        )
    return database
