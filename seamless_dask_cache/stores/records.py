"""What a store keeps of each item."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from seamless_dask_cache.stores.provenance import Provenance

T = TypeVar("T")


class Record(ABC):
    """Base class of what stores keep: an item, its id and where it comes from. Never changed.

    Attributes
    ----------
    id : str
        A random UUID.
    created_at : datetime
        When it was put, in UTC; later than that of every earlier record of the store.
    provenance : Provenance or None
        Where it comes from; None where nobody said.
    temp_file : Path or None
        A file that goes with the record.

    Examples
    --------
    >>> issubclass(StoredItem, Record)
    True
    """

    id: str
    created_at: datetime
    provenance: Provenance | None
    temp_file: Path | None

    def __seamless_identity__(self) -> tuple[Any, ...]:
        return tuple(vars(self).items())

    @property
    @abstractmethod
    def stored(self) -> Any:
        """The item itself, as it was put."""


class Facts(NamedTuple):
    """What a store itself says of a record.

    Attributes
    ----------
    id, created_at, provenance, temp_file
        As those of every `Record`.

    Examples
    --------
    >>> Facts("an id", datetime(2026, 1, 1), None, None).id
    'an id'
    """

    id: str
    created_at: datetime
    provenance: Provenance | None
    temp_file: Path | None


# Compared by identity: items may be arrays, and no two records have the same id.
@dataclass(frozen=True, eq=False)
class StoredItem(Record):
    """What a `ProvenanceStore` keeps of an item.

    Parameters
    ----------
    id, created_at, provenance, temp_file
        As for every `Record`.
    item : object
        As it was put.

    Examples
    --------
    >>> from seamless_dask_cache.stores import ProvenanceStore
    >>> store = ProvenanceStore()
    >>> record = store[store.put("an item")]
    >>> record.item, record.provenance
    ('an item', None)
    """

    id: str
    item: Any
    created_at: datetime
    provenance: Provenance | None = None
    temp_file: Path | None = None

    @property
    def stored(self) -> Any:
        """The item itself, as it was put."""
        return self.item


def said(item: Any, name: str, kind: type[T]) -> T | None:
    """Return what an item says of itself; None where it is of another type, or an error.

    Items are anybody's: what they say is welcome, and no reason to refuse them.

    Examples
    --------
    >>> said(3, "real", int), said(3, "bit_length", int)
    (3, None)
    """
    try:
        found = getattr(item, name, None)
    except Exception:
        return None
    return found if isinstance(found, kind) else None
