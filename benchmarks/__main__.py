"""Measure this project.

``python -m benchmarks`` prints a table; so does it with the name of a group: checksums, compat,
data-layer, datasets, hashing, hook, intervals, restore, scale, server, workloads.

Without a name of a group, the cache is compared with plain Dask. Medians are quoted; where there is
something to compare with, both sides run in turn.
"""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks import (
    checksums,
    clusters,
    compat,
    data_layer,
    datasets,
    hashing,
    hook,
    intervals,
    restore,
    scale,
    server,
    workloads,
)


@click.group(invoke_without_command=True)
@click.option("--runs", default=5, show_default=True, help="Runs of each side, after one warm-up.")
@click.option("--row", type=int, multiple=True, help="Only these rows, counted from 1.")
@click.pass_context
def main(context: click.Context, runs: int, row: tuple[int, ...]) -> None:
    """Print the ratios cache / plain Dask."""
    if context.invoked_subcommand is None:
        clusters.run(runs, row)


@main.command("checksums")
@click.option("--runs", default=5, show_default=True, help="Runs of each side, after one warm-up.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to put a file of 1 GB.")
def checksums_command(runs: int, folder: Path | None) -> None:
    """Print what the checksum commands cost, beside those of the system."""
    checksums.run(runs, folder)


@main.command("datasets")
@click.option("--runs", default=5, show_default=True, help="Runs of each side, after one warm-up.")
def datasets_command(runs: int) -> None:
    """Print what named datasets cost, beside dirdb 0.1.0 and numpy."""
    datasets.run(runs)


@main.command("hashing")
@click.option("--runs", default=5, show_default=True, help="Runs, each on a fresh graph.")
@click.option("--row", type=int, multiple=True, help="Only these rows, counted from 1.")
def hashing_command(runs: int, row: tuple[int, ...]) -> None:
    """Print what the identity of graphs, arrays and functions costs."""
    hashing.run(runs, row)


@main.command("hook")
@click.option("--rounds", default=41, show_default=True, help="Rounds of each side.")
def hook_command(rounds: int) -> None:
    """Print what watching tasks with the audit hook costs."""
    hook.run(rounds)


@main.command("compat")
@click.option("--part", type=click.Choice([*compat.PARTS]), multiple=True, help="All by default.")
@click.option("--modules", multiple=True, help="Files or folders inside the dask package instead.")
@click.option("-k", "expression", default="", help="Only tests that match, as pytest's -k.")
@click.option("--share", default=1.0, show_default=True, help="Run this share of the tests.")
@click.option("--each", default=0, help="Run so many sets of parameters of a test at most.")
@click.option("--timeout", default=120, show_default=True, help="Seconds that a test may take.")
@click.option("--processes", is_flag=True, help="Workers are processes, not threads.")
@click.option("--report", type=click.Path(path_type=Path), help="Write a JSON document there.")
def compat_command(
    part: tuple[str, ...], modules: tuple[str, ...], report: Path | None, **options
) -> None:
    """Run Dask's own tests with the cache off, cold and warm; exit with 1 where they differ."""
    chosen = modules or [path for name in part or compat.PARTS for path in compat.PARTS[name]]
    choice = compat.Choice(tuple(chosen), **options)
    if not compat.run_and_print(choice, report):
        raise SystemExit(1)


@main.command("restore")
@click.option("--runs", default=11, show_default=True, help="Runs of each side, after one warm-up.")
@click.option("--folder", type=click.Path(path_type=Path), help="On the disk to measure.")
def restore_command(runs: int, folder: Path | None) -> None:
    """Print what storing and restoring buffers costs."""
    restore.run(runs, folder)


@main.command("data-layer")
@click.option("--runs", default=7, show_default=True, help="Runs of each side, after one warm-up.")
def data_layer_command(runs: int) -> None:
    """Print what arrays as buffers cost, and how fast the buffer cache is."""
    data_layer.run(runs)


@main.command("intervals")
@click.option("--runs", default=3, show_default=True, help="Runs of building a track.")
@click.option("--number", default=intervals.NUMBER, show_default=True, help="Intervals.")
def intervals_command(runs: int, number: int) -> None:
    """Print what tracks of many intervals cost: made, asked, written and read."""
    intervals.run(runs, number)


@main.command("workloads")
@click.option("--runs", default=5, show_default=True, help="Runs of each side, after one warm-up.")
@click.option("--row", type=int, multiple=True, help="Only these rows, counted from 1.")
def workloads_command(runs: int, row: tuple[int, ...]) -> None:
    """Print what the cache costs ten workloads that gain nothing by it."""
    workloads.run(runs, row)


@main.command("scale")
@click.option("--runs", default=3, show_default=True, help="Runs of each side, after one warm-up.")
def scale_command(runs: int) -> None:
    """Print what 100,000 tasks, 1,000 simulated workers and 10,000 held results take."""
    scale.run(runs)


@main.command("server")
@click.option("--runs", default=5, show_default=True, help="Runs of each side.")
@click.option("--published", help="Command of the published server; installed if not given.")
def server_command(runs: int, published: str | None) -> None:
    """Print requests per second of the database server and of the published one."""
    server.run(runs, published)


if __name__ == "__main__":
    main()
