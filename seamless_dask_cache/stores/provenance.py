"""Where a result comes from: an operation, its inputs, its parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity import value_checksum
from seamless_dask_cache.stores.parameters import Params, shown, sorted_params

_SCHEME = "seamless-dask-cache provenance 1"
"""Enters every key: a provenance and a tuple of the same values are two things."""


@dataclass(frozen=True, eq=False, repr=False)
class Provenance:
    """What was done to make something: two results with the same provenance are one result.

    Parameters
    ----------
    operation : str
        Name of what was done; not empty.
    input_ids : iterable of str
        Ids of what it was done to; kept as a sorted tuple, in which an id may occur twice.
    params : mapping, or iterable of (str, object)
        How it was done; kept as a tuple of pairs, sorted by name. Values are hashable and ordered,
        and so is what lies in them: numbers, str, bytes, None, and tuples, frozen dataclasses,
        members of enumerations, dates and paths.

    Raises
    ------
    RefusedError
        For params that cannot be hashed (lists, dicts, arrays), have no order (sets), or have no
        certain identity (open files, bare objects); it is a TypeError. It names the parameter, the
        value, and what to give instead.
    TypeError
        For an operation, an id or a name of a parameter that is no str.
    ValueError
        For an empty operation, and a parameter that is there twice.

    Notes
    -----
    The order of the inputs is not kept. Where it matters, it belongs into the parameters, as
    `ProvenanceStore.compute` puts it there.

    Equality and hash are those of `cache_key`, which tells apart what Python takes for equal: 1,
    1.0 and True, 0.0 and -0.0, and numpy's numbers from Python's. Two results whose parameters
    differ so are never one.

    Examples
    --------
    >>> made = Provenance("intersect", ["b", "a"], {"slop": 5, "by": ("chr1", "chr2")})
    >>> made
    Provenance('intersect', ('a', 'b'), (('by', ('chr1', 'chr2')), ('slop', 5)))
    >>> made == Provenance("intersect", ["a", "b"], [("slop", 5), ("by", ("chr1", "chr2"))])
    True
    >>> Provenance("smooth", params={"width": 1}) == Provenance("smooth", params={"width": True})
    False
    >>> Provenance("smooth", params={"widths": [1, 2]})
    Traceback (most recent call last):
    ...
    seamless_dask_cache.errors.RefusedError: parameter 'widths' is a list, [1, 2], which cannot be \
hashed; give a tuple instead
    """

    operation: str
    input_ids: tuple[str, ...]
    params: tuple[tuple[str, Any], ...]
    _key: str = field(init=False)

    # Written out for type checkers: what is given may be less strict than what is kept.
    def __init__(self, operation: str, input_ids: Iterable[str] = (), params: Params = ()):
        keep = object.__setattr__
        keep(self, "operation", _checked_operation(operation))
        keep(self, "input_ids", _sorted_ids(input_ids))
        keep(self, "params", sorted_params(params))
        keep(self, "_key", _key_of(self))

    def cache_key(self) -> str:
        """Return the identity of this provenance.

        Returns
        -------
        str
            64 hex digits, equal in every process. It was computed when this object was made.

        Examples
        --------
        >>> Provenance("demo").cache_key()
        '7ec41a64ededabb16d5d3af564dfe79cb42d2bbd526bede81d2367220b6cf67f'
        """
        return self._key

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Provenance) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        try:
            params = repr(self.params)
        except Exception:  # a number of very many digits, or code of the user
            params = f"({', '.join(f'({name!r}, {shown(value)})' for name, value in self.params)})"
        return f"Provenance({self.operation!r}, {self.input_ids!r}, {params})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Classes and functions among the parameters may be others where it is read.
        return type(self), (self.operation, self.input_ids, self.params)

    def __seamless_identity__(self) -> tuple[Any, ...]:
        return self.operation, self.input_ids, self.params


def _checked_operation(operation: object) -> str:
    if not isinstance(operation, str):
        raise TypeError(f"operation must be a str, not {shown(operation)}")
    if not operation:
        raise ValueError("operation must not be empty")
    return str.__str__(operation)


def _sorted_ids(ids: object) -> tuple[str, ...]:
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise TypeError(f"input_ids must be several ids, such as a list of them, not {shown(ids)}")
    found = list(ids)
    for one in found:
        if not isinstance(one, str):
            raise TypeError(f"an input id must be a str, not {shown(one)}")
    return tuple(sorted(map(str.__str__, found)))


def _key_of(made: Provenance) -> str:
    try:
        return value_checksum((_SCHEME, made.operation, made.input_ids, made.params))
    except RefusedError:
        for name, value in made.params:
            _check_identity(name, value)
        raise


def _check_identity(name: str, value: Any) -> None:
    try:
        value_checksum(value)
    except RefusedError as error:
        reason = f"parameter {name!r} has no certain identity: {error.reason}"
        raise RefusedError(reason, error.path) from None
