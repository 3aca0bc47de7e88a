"""Effects that depend on an argument: an unseeded generator where the seed is None."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from seamless_dask_cache.identity.effects import Effect


def applying(
    conditional: Iterable[Effect], function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[Effect]:
    """Return those conditional effects that one call has.

    Parameters
    ----------
    conditional : iterable of Effect
        Effects that a call has when the parameter that they name is None.
    function : callable
        What is called.
    args, kwargs
        With what; inputs that other tasks make may stand for themselves.

    Returns
    -------
    list of Effect
        All of them where the arguments cannot be told apart.
    """
    try:
        # The names are those of the function's own parameters, not of one that it wraps.
        bound = inspect.signature(function, follow_wrapped=False).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return list(conditional)
    bound.apply_defaults()
    return [effect for effect in conditional if bound.arguments.get(effect.parameter or "") is None]
