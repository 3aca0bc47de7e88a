"""What two clusters compute at once, and a cluster that is lost while it does."""

from __future__ import annotations

import sys
import time
from pathlib import Path


def slow(number, seconds=0.3):
    time.sleep(seconds)
    return {"squared": number * number}


def step(number, *before):
    time.sleep(0.02)
    return number + sum(before)


def failing(number):
    time.sleep(0.5)
    raise ValueError(f"no {number}")


def hold_until_killed(cache_dir):
    """Compute for a while in a cluster of this process, saying when it has begun."""
    from distributed import Client, LocalCluster

    import seamless_dask_cache as sdc

    with (
        LocalCluster(1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        sdc.enable(client, cache_dir=cache_dir, lease_seconds=2)
        futures = client.map(slow, range(3), seconds=2.0)
        while not any(client.processing().values()):
            time.sleep(0.01)
        print("holding", flush=True)
        client.gather(futures)
        time.sleep(60)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    import flights

    flights.hold_until_killed(Path(sys.argv[1]))
