"""A cache that is off, as the installed Dask is not supported; programs go on without one.

Imports nothing of Dask's internals, nor what imports them: it stands in where they are gone.
"""

from __future__ import annotations

import html
import logging
from collections.abc import Iterable
from typing import Any

logger = logging.getLogger(__name__)

FAULTS = (ImportError, AttributeError)
"""What importing the plugin raises where Dask has moved or dropped something."""


def reason_of(error: BaseException) -> str:
    """Say in words why the cache cannot be used, given what importing it raised."""
    import dask

    return f"dask {dask.__version__} is not supported yet, or incompletely installed ({error})"


def warn(reason: str) -> None:
    """Say once that there is no cache."""
    logger.warning("The cache is off: %s", reason)


def answer(action: str, reason: str, arguments: dict[str, Any] | None = None) -> Any:
    """Answer what a `Cache` asks of a scheduler that has none.

    Parameters
    ----------
    action : str
        The name of a method of `Cache`.
    reason : str
        Why there is none.
    arguments : dict, optional
        Of the action.
    """
    if action == "explain":
        return explained((arguments or {}).get("keys", ()), reason)
    return {
        "stats": {"disabled": reason},
        "report": {"disabled": reason},
        "flush": True,
        "audit": {"eligible": 0, "same": 0, "different": [], "failed": [], "not_checkable": []},
    }.get(action)


def explained(keys: Iterable[Any], reason: str) -> list[dict[str, Any]]:
    """Return a row that says that the cache is off, for each of some keys."""
    empty = {"function": "", "transformation": None, "result": None, "seconds": None}
    reason = f"the cache is off: {reason}"
    return [{"key": key, "status": "refused", "reason": reason, **empty} for key in keys]


def page(reason: str) -> str:
    """Return a report that says that the cache is off."""
    title = "seamless-dask-cache"
    text = html.escape(f"The cache is off: {reason}")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"</head><body><h1>{title}</h1><p>{text}</p></body></html>\n"
    )
