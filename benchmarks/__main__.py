"""Measure this project: ``python -m benchmarks [hashing | hook]`` prints a table.

Without a name of a group, the cache is compared with plain Dask. Medians are quoted; where there is
something to compare with, both sides run in turn.
"""

from __future__ import annotations

import click

from benchmarks import clusters, hashing, hook


@click.group(invoke_without_command=True)
@click.option("--runs", default=5, show_default=True, help="Runs of each side, after one warm-up.")
@click.option("--row", type=int, multiple=True, help="Only these rows, counted from 1.")
@click.pass_context
def main(context: click.Context, runs: int, row: tuple[int, ...]) -> None:
    """Print the ratios cache / plain Dask."""
    if context.invoked_subcommand is None:
        clusters.run(runs, row)


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


if __name__ == "__main__":
    main()
