"""What instances of derived classes have beside what the library's own classes keep."""

from __future__ import annotations

from collections.abc import Container
from typing import Any


def own_state(instance: Any, kept: Container[str] = ()) -> dict[str, Any] | None:
    """Return the attributes that a pickle has to hold beside what a class puts there by itself.

    Parameters
    ----------
    instance : object
    kept : container of str
        The attributes that the class keeps by itself.

    Returns
    -------
    dict or None
        The others by name; None if there are none.

    Examples
    --------
    >>> from seamless_dask_cache.stores import SignalTrack
    >>> class Coverage(SignalTrack):
    ...     pass
    >>> coverage = Coverage("c", {})
    >>> coverage.depth = 30
    >>> own_state(coverage), own_state(SignalTrack("s", {}))
    ({'depth': 30}, None)
    """
    attributes = getattr(instance, "__dict__", {})
    return {name: value for name, value in attributes.items() if name not in kept} or None
