"""Transformation checksums for people: of a collection, a delayed value, a decorated call."""

from __future__ import annotations

from typing import Any

from seamless_dask_cache.config import Settings
from seamless_dask_cache.dask_internals import Key, expression_of, materialize
from seamless_dask_cache.errors import ConfigurationError, RefusedError
from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.describer import Describer
from seamless_dask_cache.identity.graph import Refusal, identify_graph
from seamless_dask_cache.identity.recipe import Identity


def transformation_checksum(x: Any) -> str | dict[Key, str]:
    """Return the identity under which the result of a computation is known.

    Parameters
    ----------
    x : Dask collection, Delayed or bound call
        What would be computed; ``train.bind(...)`` makes a bound call of a cached function.

    Returns
    -------
    str or dict
        64 hex digits; for a collection of several keys, a dict from key to hex digits.

    Raises
    ------
    RefusedError
        When it has no certain identity, with the path to the offending object.
    ConfigurationError
        For anything that is none of these.
    """
    from dask.base import is_dask_collection

    from seamless_dask_cache.decorator import BoundCall

    if isinstance(x, BoundCall):
        return identify_call(x, Settings.from_arguments().versions).checksum
    if not is_dask_collection(x):
        raise ConfigurationError(f"expected a Dask collection or a bound call, not {type(x)}")
    expression, keys = expression_of((x,), finalize=False)
    graph, _ = materialize(expression, set(keys))
    identifier = Identifier(versions=Settings.from_arguments().versions)
    identities = identify_graph(graph, _no_external, identifier=identifier)
    found = {}
    for key in keys:
        if key in identities.refused:
            refusal = identities.refused[key]
            raise RefusedError(refusal.reason, f"task {refusal.origin!r}")
        found[key] = identities.known[key].checksum
    return found[keys[0]] if len(keys) == 1 else found


def identify_call(
    call: Any, versions: str = "exact", *, identifier: Identifier | None = None
) -> Identity:
    """Return the identity of a bound call of a cached function.

    Parameters
    ----------
    call : BoundCall
        The call.
    versions : str
        How far versions of installed distributions count.
    identifier : Identifier, optional
        Memo tables to use, with versions of their own.

    Raises
    ------
    RefusedError
        When the function or an argument has no certain identity.
    """
    describer = Describer(identifier or Identifier(versions=versions))
    return describer.identify(call.task(), _no_input)


def _no_input(key: Key) -> Identity:
    raise RefusedError("the argument is the result of another task", f"key {key!r}")


def _no_external(key: Key) -> Refusal:
    return Refusal("a future is known to its scheduler only", key)
