"""What it costs to have a buffer again that memory has let go of.

A buffer comes back from a store, by the download profile of that store, or is computed again, in
the seconds that were recorded; the faster way counts. What is known of neither is irreplaceable as
far as the cache can tell, and costs infinitely much.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from seamless_dask_cache.errors import ConfigurationError


class DownloadProfile(NamedTuple):
    """How long a store takes to give a buffer.

    Attributes
    ----------
    latency : float
        Seconds before the first byte.
    bytes_per_second : float
        Bytes per second from then on.
    """

    latency: float
    bytes_per_second: float

    def seconds(self, nbytes: int) -> float:
        """Give the time that a buffer of so many bytes takes."""
        return self.latency + nbytes / self.bytes_per_second


LOCAL = DownloadProfile(0.0005, 1e9)
"""A folder of this machine."""
REMOTE = DownloadProfile(0.005, 1e8)
"""A server on a network of a gigabit per second."""


class Cost(NamedTuple):
    """The ways in which a buffer can be had again.

    Attributes
    ----------
    download : DownloadProfile or None
        That of a store that holds it; None if none is known.
    recomputation : float or None
        Seconds that it took to compute; None if nobody knows how.
    """

    download: DownloadProfile | None = None
    recomputation: float | None = None

    def seconds(self, nbytes: int) -> float:
        """Give the time of the faster way; infinite if there is none."""
        download = math.inf if self.download is None else self.download.seconds(nbytes)
        return min(download, math.inf if self.recomputation is None else self.recomputation)


UNKNOWN = Cost()


def check_cost(download: object, recomputation: object) -> None:
    """Check what a user says of a buffer.

    Raises
    ------
    ConfigurationError
        For what is no profile, or no time.
    """
    if download is not None and not _is_profile(download):
        raise ConfigurationError(
            f"download must be a DownloadProfile(latency, bytes_per_second), not {download!r}"
        )
    if recomputation is not None and not _is_seconds(recomputation):
        raise ConfigurationError(f"recomputation must be seconds, not {recomputation!r}")


def _is_profile(value: object) -> bool:
    if not isinstance(value, DownloadProfile):
        return False
    return _is_seconds(value.latency) and _is_seconds(value.bytes_per_second) and value[1] > 0


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < math.inf
