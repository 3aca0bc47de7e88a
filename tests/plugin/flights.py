"""What two clusters compute at once, and a cluster that is lost while it does."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from pathlib import Path

FAR = 50_000
"""A recursion limit that holds the tasks below up: a signal that no identity sees."""
start = 0
"""Where the numbers of a test begin."""


@contextlib.contextmanager
def held_up():
    """Let tasks begin, but not end; this holds for all of the process."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(FAR)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def square(number):
    while sys.getrecursionlimit() >= FAR:
        threading.Event().wait(0.005)
    return {"squared": number * number}


def step(number, *before):
    time.sleep(0.02)
    return number + sum(before)


def failing(number):
    while sys.getrecursionlimit() >= FAR:
        threading.Event().wait(0.005)
    raise ValueError(f"no {number}")


def nothing(number):
    while sys.getrecursionlimit() >= FAR:
        threading.Event().wait(0.005)


def hold_until_killed(cache_dir, start):
    """Compute for ever in a cluster of this process, saying when it has begun."""
    from distributed import Client, LocalCluster

    import seamless_dask_cache as sdc

    with (
        held_up(),
        LocalCluster(
            1,
            threads_per_worker=1,
            processes=False,
            dashboard_address=":0",
            scheduler_kwargs={"dashboard": False},
        ) as cluster,
        Client(cluster) as client,
    ):
        sdc.enable(client, cache_dir=cache_dir, lease_seconds=1)
        futures = client.map(square, range(start, start + 3))
        while not any(client.processing().values()):
            time.sleep(0.01)
        print("holding", flush=True)
        client.gather(futures)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    import flights

    flights.hold_until_killed(Path(sys.argv[1]), int(sys.argv[2]))
