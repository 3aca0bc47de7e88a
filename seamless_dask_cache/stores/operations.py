"""One application of a function to stored items: how it is called, and where its result comes from.

Ids are random, and a provenance keeps them sorted. So the order of the inputs is one more
parameter, `ORDER`, wherever they are not given in sorted order: ``a - b`` is not ``b - a``.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from seamless_dask_cache.stores.parameters import Params, sorted_params
from seamless_dask_cache.stores.provenance import Provenance
from seamless_dask_cache.stores.records import Record

ORDER = "*order"
"""Parameter of a provenance: for each input as it was given, its place among the sorted ids."""


@dataclass(frozen=True)
class Operation:
    """A function, the records that it is applied to, and its parameters.

    Parameters
    ----------
    name : str
        What is done.
    function : callable
        Gets the stored items in the order of `inputs`, and the parameters by name. One that takes
        nothing at all is called without them.
    inputs : sequence of Record
    params : mapping of str to object
        As `Provenance` takes them.

    Examples
    --------
    >>> Operation("add", lambda: 3, (), {}).call()
    3
    """

    name: str
    function: Callable[..., Any]
    inputs: Sequence[Record]
    params: Mapping[str, Any]

    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the function is called with, by position and by name."""
        return ((), {}) if self.takes_nothing else (self.items, dict(self.params))

    @property
    def items(self) -> tuple[Any, ...]:
        """The stored items that it is applied to, in order."""
        return tuple(record.stored for record in self.inputs)

    @property
    def takes_nothing(self) -> bool:
        """Whether the function has no parameters: what it needs is in its closure."""
        return self._signature is not None and not self._signature.parameters

    @cached_property
    def _signature(self) -> inspect.Signature | None:
        """What the function takes; None for one that does not tell."""
        return signature_of(self.function)

    def call(self) -> Any:
        """Call the function."""
        args, kwargs = self.arguments
        return self.function(*args, **kwargs)

    def provenance(self) -> Provenance:
        """Return where the result comes from.

        Raises
        ------
        TypeError, ValueError
            As `Provenance` raises them.
        """
        ids = [record.id for record in self.inputs]
        order = places(ids)
        in_order = order == tuple(range(len(ids)))
        params = self.params if in_order else [*self.params.items(), (ORDER, order)]
        return Provenance(self.name, ids, params)

    def check_fit(self) -> None:
        """Make sure that the function can be called so.

        Raises
        ------
        TypeError
            When the inputs and parameters do not fit it, or it is no function that returns its
            result.
        """
        if not callable(self.function):
            raise TypeError(f"compute {self.name!r}: expected a function, not {self.function!r}")
        called = getattr(self.function, "__call__", None)  # noqa: B004  (of an object)
        if inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(called):
            raise TypeError(f"compute {self.name!r}: an async function returns no result")
        if self._signature is not None:
            self._check_arguments(self._signature)

    def _check_arguments(self, signature: inspect.Signature) -> None:
        args, kwargs = self.arguments
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"compute {self.name!r}: a function of {signature} cannot be called with"
                f" {len(args)} inputs and the parameters {sorted(kwargs)}: {error}"
            ) from None


def operation_on(
    name: str, inputs: Sequence[Record], params: Params, function: Callable[..., Any]
) -> Operation:
    """Make an operation whose parameters are checked.

    Raises
    ------
    TypeError, ValueError
        For parameters that no provenance can have, and ones that do not fit the function.

    Examples
    --------
    >>> operation_on("scale", (), {"by": 2}, lambda by: 10 * by).call()
    20
    >>> operation_on("scale", (), {"to": 2}, lambda by: 10 * by)
    Traceback (most recent call last):
    ...
    TypeError: compute 'scale': a function of (by) cannot be called with 0 inputs and the \
parameters ['to']: missing a required argument: 'by'
    """
    named = dict(sorted_params(params))
    if ORDER in named:
        raise ValueError(f"the parameter {ORDER!r} says in which order inputs are given: drop it")
    made = Operation(name, function, tuple(inputs), named)
    made.check_fit()
    return made


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return what a function takes; None for one that does not tell.

    What is decorated takes what its wrapper takes, unless that takes anything.

    Examples
    --------
    >>> signature_of(lambda a, b=1: a)
    <Signature (a, b=1)>
    """
    try:
        own = inspect.signature(function, follow_wrapped=False)
        takes_anything = all(
            p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in own.parameters.values()
        )
        return inspect.signature(function) if takes_anything else own
    except (TypeError, ValueError):
        return None


def places(ids: Sequence[str]) -> tuple[int, ...]:
    """Return for each id its place among the sorted ones; equal ids keep their order.

    Examples
    --------
    >>> places(["b", "a", "c"])
    (1, 0, 2)
    """
    order = sorted(range(len(ids)), key=lambda position: ids[position])
    found = [0] * len(ids)
    for place, position in enumerate(order):
        found[position] = place
    return tuple(found)


def given_order(made: Provenance) -> tuple[str, ...]:
    """Return the ids of the inputs in the order in which they were given, as far as is known.

    Examples
    --------
    >>> given_order(Provenance("subtract", ["b", "a"], {ORDER: (1, 0)}))
    ('b', 'a')
    >>> given_order(Provenance("subtract", ["b", "a"]))
    ('a', 'b')
    """
    order = dict(made.params).get(ORDER)
    # Who writes a provenance by hand may mean something else by that name.
    if not isinstance(order, tuple) or Counter(order) != Counter(range(len(made.input_ids))):
        return made.input_ids
    return tuple(made.input_ids[place] for place in order)
