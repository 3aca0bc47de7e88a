"""What the cache tells on Dask's event log, under the topic ``seamless-dask-cache``.

``client.get_events("seamless-dask-cache")`` returns them, and ``client.subscribe_topic`` hears them
as they come. Every event is a dictionary; its ``action`` is one of

``graph``
    What became of one submitted graph: ``tasks``, ``hits``, ``pruned``, ``misses``, ``refused``,
    ``seconds_saved``, ``bytes_saved``. ``prefixes`` has the same numbers for the 20 task prefixes
    with the most tasks, ``refusals`` the 5 most frequent reasons with their number of tasks.
``database-away``
    The database does not answer, for the ``reason``; computations go on without it.
``database-back``
    It answers again.
``healed``
    The buffer of ``result`` was missing or unreadable; ``key`` is recomputed.
``diverged``
    A second run of ``transformation`` gave ``second`` instead of ``first``.
``quarantined``
    ``transformation`` is not served any more, for the ``reason``.
"""

from __future__ import annotations

from typing import Any

from ..history import Amounts
from .counting import GraphCounts

TOPIC = "seamless-dask-cache"
MAX_PREFIXES = 20
MAX_REASONS = 5
OF_A_GRAPH = ("hits", "pruned", "misses", "refused", "seconds_saved", "bytes_saved")


def graph_event(counts: GraphCounts) -> dict[str, Any]:
    """Return the event that tells what became of one graph.

    Parameters
    ----------
    counts : GraphCounts
        Of that graph.
    """
    total = Amounts()
    for amounts in counts.by_prefix.values():
        total.merge(amounts)
    largest = sorted(counts.by_prefix.items(), key=lambda item: -_tasks(item[1]))[:MAX_PREFIXES]
    reasons = sorted(counts.refusals.items(), key=lambda item: -item[1])[:MAX_REASONS]
    return {
        "action": "graph",
        **_numbers(total),
        "prefixes": {prefix: _numbers(amounts) for prefix, amounts in largest},
        "refusals": dict(reasons),
    }


def lifecycle_event(action: str, **details: object) -> dict[str, Any]:
    """Return any other event; details that are not plain become text, as keys may be tuples.

    Parameters
    ----------
    action : str
        One of the actions above.
    **details
        Its further fields.
    """
    return {"action": action, **{name: _plain(value) for name, value in details.items()}}


def _tasks(amounts: Amounts) -> int:
    return amounts.hits + amounts.misses + amounts.refused


def _numbers(amounts: Amounts) -> dict[str, Any]:
    numbers = {name: getattr(amounts, name) for name in OF_A_GRAPH}
    return {"tasks": _tasks(amounts), **numbers}


def _plain(value: object) -> Any:
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
