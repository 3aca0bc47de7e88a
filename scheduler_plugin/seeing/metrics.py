"""The counters of the cache on the scheduler's ``/metrics``.

``dask_scheduler_seamless_cache_<counter>_total`` for every counter of `Stats`, and the gauge
``dask_scheduler_seamless_cache_database_up``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from seamless_dask_cache.dask_internals.display import add_metrics

from ..worker import NAME

logger = logging.getLogger(__name__)


def install() -> bool:
    """Add the counters to the metrics of this process' schedulers; tell whether that was possible.

    Every request is answered from the plugin that the asked scheduler has at that moment, so this
    is done once per process, whatever is registered later.
    """
    return add_metrics(NAME, families)


def families(scheduler: Any, full_name: Callable[[str], str]) -> Iterable[Any]:
    """Return the metric families of one scheduler; none when it has no cache.

    Parameters
    ----------
    scheduler : Scheduler
        The one that is asked.
    full_name : callable
        Makes the name of a metric from its last part.
    """
    try:
        engine = getattr(scheduler.plugins.get(NAME), "engine", None)
        if engine is None:
            return []
        return list(_families(engine.stats.as_dict(), engine.link.away, full_name))
    except Exception:
        logger.debug("the metrics of the cache could not be told", exc_info=True)
        return []


def _families(
    counters: Mapping[str, Any], away: bool, full_name: Callable[[str], str]
) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for name, value in counters.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            text = f"Cache since it was enabled: {name.replace('_', ' ')}"
            yield CounterMetricFamily(full_name(f"seamless_cache_{name}"), text, value=value)
    yield GaugeMetricFamily(
        full_name("seamless_cache_database_up"),
        "Whether the database of the cache answers",
        value=int(not away),
    )
