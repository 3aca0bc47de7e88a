"""One run of the demo's pipeline, in a process and on a cluster of its own."""

from __future__ import annotations

import pickle
import sys
import time
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("answer", type=click.Path(path_type=Path))
@click.option("--workers", type=int, default=2)
@click.option("--cache-dir", type=click.Path(path_type=Path))
def run(answer: Path, workers: int, cache_dir: Path | None) -> None:
    """Compute the report and write (seconds, stats, report) to ANSWER."""
    from distributed import Client, LocalCluster, progress

    pipeline: Any = __import__("flights_pipeline")
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=":0", processes=True
        ) as cluster,
        Client(cluster) as client,
    ):
        cache = None
        if cache_dir is not None:
            import seamless_dask_cache

            cache = seamless_dask_cache.enable(client, cache_dir=cache_dir)
        started = time.perf_counter()
        future = client.compute(pipeline.build())
        if sys.stdout.isatty():
            progress(future, notebook=False)
            click.echo()
        report = future.result()
        seconds = time.perf_counter() - started
        stats = None
        if cache is not None:
            cache.flush()
            stats = cache.stats()
    answer.write_bytes(pickle.dumps((seconds, stats, report)))


if __name__ == "__main__":
    run()
