"""Large graphs and large clusters: what the scheduler's side of the cache takes.

The workers of the large cluster are simulated (`benchmarks.simulated_workers`): they answer at once
and compute nothing, so all that is measured is the scheduler and its client.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
import tempfile
import time
import tracemalloc
import uuid
from pathlib import Path

import dask
import distributed
from rich.table import Table

import seamless_dask_cache as sdc
from benchmarks.clusters import delayed_tree, new_cluster, nothing
from benchmarks.tables import show, verdict

LEAVES = 90_900
"""Of a tree of just over 100,000 tasks."""
WORKERS, CALLS = 1000, 20_000
MEMORY_MUST, MEMORY_AIM = 30.0, 10.0
HELD = 10_000


def large_graph() -> tuple[float, float, float]:
    """Return the seconds of a tree of 100,000 tasks: plain, cold, warm."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder, new_cluster() as client:
        seconds.append(_tree(client))
        cache = sdc.enable(client, cache_dir=Path(folder) / uuid.uuid4().hex)
        for _ in range(2):
            seconds.append(_tree(client))
            cache.flush()
        client.cluster.close()
    return tuple(seconds)


def _tree(client):
    value = delayed_tree(LEAVES)
    started = time.perf_counter()
    client.compute(value).result()
    return time.perf_counter() - started


@contextlib.contextmanager
def simulated_cluster(count):
    """A scheduler in this process, with so many workers in another one."""
    settings = {"distributed.scheduler.work-stealing": False}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=0, processes=True, dashboard_address=":0", silence_logs=logging.ERROR
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        words = [sys.executable, "-m", "benchmarks.simulated_workers", cluster.scheduler_address]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen([*words, str(count)], **pipes) as process:
            print(process.stdout.readline().strip(), file=sys.stderr)
            yield client
            process.stdin.close()


def large_cluster(runs) -> dict[str, list[tuple[float, float]]]:
    """Return wall and CPU seconds of many calls on many workers: plain, cold, warm."""
    found: dict[str, list[tuple[float, float]]] = {"plain": [], "cold": [], "warm": []}
    with simulated_cluster(WORKERS) as client, tempfile.TemporaryDirectory() as folder:
        for run in range(runs + 1):
            plain = _calls(client, run)
            cache = sdc.enable(client, cache_dir=Path(folder) / str(run))
            cold = _calls(client, run)
            cache.flush()
            warm = _calls(client, run)
            cache.disable()
            if run:
                for name, pair in zip(found, (plain, cold, warm), strict=True):
                    found[name].append(pair)
    return found


def _calls(client, salt):
    started, cpu = time.perf_counter(), time.process_time()
    futures = client.map(nothing, range(salt * CALLS, (salt + 1) * CALLS), pure=False)
    distributed.wait(futures)
    taken = time.perf_counter() - started, time.process_time() - cpu
    del futures
    scheduler = client.cluster.scheduler
    while scheduler.tasks:
        time.sleep(0.01)
    return taken


def memory() -> float:
    """Return the MB that the scheduler holds more for 10,000 tasks whose results are held."""
    one, other = (_memory_of(word) for word in ("cache", "plain"))
    return (one - other) / 1e6


def _memory_of(how):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", how], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def _held(how):
    """Print how many bytes 10,000 held results add to a process with a scheduler and a client."""
    with tempfile.TemporaryDirectory() as folder, simulated_cluster(2) as client:
        cache = sdc.enable(client, cache_dir=folder) if how == "cache" else None
        distributed.wait(client.map(nothing, range(-100, 0)))  # what there is only once
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        futures = client.map(nothing, range(HELD))
        distributed.wait(futures)
        if cache is not None:
            cache.flush()
        print(json.dumps(tracemalloc.get_traced_memory()[0] - before), flush=True)
        tracemalloc.stop()


def run(runs: int) -> None:
    """Print the three measurements."""
    logging.getLogger("distributed").setLevel(logging.ERROR)
    table = Table("benchmark", "plain", "cold", "warm", "must be", "aim", "")
    held = memory()
    limits = (f"{MEMORY_MUST:.0f} MB", f"{MEMORY_AIM:.0f} MB")
    row = ("scheduler memory per 10,000 held results", "-", f"{held:.1f} MB", "-", *limits)
    table.add_row(*row, verdict(held, MEMORY_MUST, MEMORY_AIM))
    sides = large_cluster(runs)
    for number, kind in enumerate(("s", "s of scheduler and client CPU")):
        medians = [sorted(pair[number] for pair in side)[len(side) // 2] for side in sides.values()]
        title = f"{CALLS:,} no-op calls, {WORKERS:,} simulated workers, {kind}"
        table.add_row(title, *(f"{value:.2f}" for value in medians), "-", "-", "-")
    seconds = (f"{value:.1f}" for value in large_graph())
    table.add_row("delayed tree of 101,000 tasks, s", *seconds, "-", "-", "-")
    show(table, f"medians of {runs}; the large tree once")


if __name__ == "__main__":
    logging.getLogger("distributed").setLevel(logging.ERROR)
    _held(sys.argv[1])
