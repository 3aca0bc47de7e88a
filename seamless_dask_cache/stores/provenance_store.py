"""A store of results, which computes what it does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from seamless_dask_cache.errors import ConfigurationError
from seamless_dask_cache.stores.operations import Operation, operation_on
from seamless_dask_cache.stores.parameters import Params, shown
from seamless_dask_cache.stores.records import Record
from seamless_dask_cache.stores.registry import Registry, T
from seamless_dask_cache.stores.turns import TURNS

if TYPE_CHECKING:
    from seamless_dask_cache.stores.lineage import Lineage


class ProvenanceStore(Registry[T]):
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
    >>> from seamless_dask_cache.stores import Provenance
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
        super().__init__()
        self.linked = _checked_stores(linked)
        self.database = _checked_database(database)

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
            When the function needs its own result, also by way of other stores and threads; not
            where it hands that to a thread of its own, and waits for ever.

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
        key = provenance.cache_key()
        with TURNS.of(f"{id(self)} {key}", f"{operation!r} ({key[:8]})"):
            known = self.find(provenance)
            return known or self.put(_computed(made, chosen), provenance=provenance)

    def lookup(self, id: str) -> Record | None:
        """Return the record of an id in this store or a linked one.

        Parameters
        ----------
        id : str

        Returns
        -------
        Record or None
            None where nobody knows it.

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

        Parameters
        ----------
        id : str

        Returns
        -------
        Lineage
            Printed, it is a tree.

        Raises
        ------
        KeyError
            When no store knows the id.

        Examples
        --------
        >>> from seamless_dask_cache.stores import Provenance
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
            raise TypeError(f"inputs must be several ids or records, not {shown(inputs)}")
        if isinstance(inputs, set | frozenset):
            raise TypeError(f"inputs in a set have no order: give sorted({shown(inputs)})")
        return [self._input(one) for one in inputs]

    def _input(self, one: str | Record) -> Record:
        if isinstance(one, Record):
            return one
        if not isinstance(one, str):
            raise TypeError(f"an input is an id or a record, not {shown(one)}")
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


def _computed(made: Operation, database: str | bool) -> Any:
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
    if database is None or isinstance(database, bool):
        return bool(database)
    if not (isinstance(database, str) and _is_url(database)):
        raise ConfigurationError(
            "database must be a URL such as http://127.0.0.1:5522, or True for the one in force,"
            f" not {database!r}"
        )
    return database


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # such a port
        return False
