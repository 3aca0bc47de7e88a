"""What the server counts, and how Prometheus reads it.

Counting is a few additions in plain dictionaries, as every request pays for it; the metrics are
made of them when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import Metric

PREFIX = "seamless_database_"

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper ends of the buckets in which requests are counted by what they took."""

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)
"""Upper ends of the buckets in which commits are counted by their writes."""


class Histogram:
    """How often values fell into each bucket.

    Parameters
    ----------
    ends : sequence of float
        Upper ends of the buckets, ascending; there is one more, without an end.
    """

    __slots__ = ("counts", "ends", "total")

    def __init__(self, ends: tuple[float, ...]):
        self.ends = ends
        self.counts = [0] * (len(ends) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.ends, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, int]]:
        """Give the end of each bucket, and how many values are not above it."""
        names = [*map(str, self.ends), "+Inf"]
        return list(zip(names, accumulate(self.counts), strict=True))


class Metrics:
    """What the server counts.

    Notes
    -----
    Belongs to the event loop.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        """By method, type and status."""
        self.seconds: dict[str, Histogram] = {}
        """What requests of each type took."""
        self.hits = 0
        """Transformations that were asked for and known, by single requests and batches."""
        self.misses = 0
        self.commits = Histogram(SIZES)
        self.connections = 0
        """Connections that are open."""

    def request(self, method: str, type_: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self.requests[method, type_, status] += 1
        histogram = self.seconds.get(type_)
        if histogram is None:
            histogram = self.seconds[type_] = Histogram(SECONDS)
        histogram.add(seconds)

    def looked_up(self, hits: int, misses: int) -> None:
        """Count transformations that were asked for."""
        self.hits += hits
        self.misses += misses

    def committed(self, writes: int) -> None:
        """Count a commit, by the writes that share it."""
        self.commits.add(writes)


GAUGES = {
    "connections": "Connections that are open",
    "requests_in_progress": "Requests that are being answered",
    "leases": "Transformations that somebody computes",
    "promises": "Buffers that were promised",
    "file_bytes": "Size of the database file",
    "log_bytes": "Size of the write-ahead log",
    "free_bytes": "Room on the disk of the database file",
    "small_buffer_bytes": "Buffers in the database file",
}
"""What can be said of a moment."""


def exposition(metrics: Metrics, gauges: Mapping[str, float], rows: Mapping[str, float]) -> bytes:
    """Write metrics in the text format of Prometheus.

    Parameters
    ----------
    metrics : Metrics
    gauges : mapping
        What can be said of this moment, by the names in `GAUGES`.
    rows : mapping
        Table -> number of rows.
    """
    # Imported with the first question: a server that nobody watches does without.
    from prometheus_client import CollectorRegistry, generate_latest

    class _Collector:
        def collect(self) -> Iterable[Metric]:
            yield from _families(metrics)
            yield from _gauges(gauges, rows)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector())
    return generate_latest(registry)


def _families(metrics: Metrics) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    requests = CounterMetricFamily(
        PREFIX + "requests", "Requests that were answered", labels=("method", "type", "status")
    )
    for (method, type_, status), count in metrics.requests.items():
        requests.add_metric((method, type_, str(status)), count)
    yield requests
    seconds = HistogramMetricFamily(
        PREFIX + "request_seconds", "What requests took", labels=("type",)
    )
    for type_, histogram in metrics.seconds.items():
        seconds.add_metric((type_,), histogram.buckets(), histogram.total)
    yield seconds
    lookups = CounterMetricFamily(
        PREFIX + "lookups", "Transformations that were asked for", labels=("outcome",)
    )
    for outcome, count in (("hit", metrics.hits), ("miss", metrics.misses)):
        lookups.add_metric((outcome,), count)
    yield lookups
    commits = HistogramMetricFamily(PREFIX + "commit_writes", "Writes that share a commit")
    commits.add_metric((), metrics.commits.buckets(), metrics.commits.total)
    yield commits


def _gauges(gauges: Mapping[str, float], rows: Mapping[str, float]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    for name, value in gauges.items():
        yield GaugeMetricFamily(PREFIX + name, GAUGES[name], value)
    family = GaugeMetricFamily(PREFIX + "rows", "Rows of a table", labels=("table",))
    for table, count in rows.items():
        family.add_metric((table,), count)
    yield family
