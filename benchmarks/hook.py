"""What watching costs: tasks of about a millisecond with the audit hook and without.

An audit hook can't be taken out again, so each side is a process of its own. They are asked for
rounds of tasks in turn, all the time, so that both meet the same machine.

Every call of ``id()`` is an audit event, and ``copy.deepcopy`` calls it for every object: that is
the worst that happens, and has a row of its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from contextlib import ExitStack

import click
from rich.table import Table

from benchmarks.tables import show, verdict

MUST, AIM = 1.02, 1.005
KINDS = ("numpy", "pandas", "dicts", "file", "these four", "deepcopy")


class Side:
    """A process that runs tasks, with the hook or without."""

    def __init__(self, stack: ExitStack, how: str) -> None:
        command = [sys.executable, "-m", "benchmarks.hook_side", how]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = stack.enter_context(subprocess.Popen(command, **pipes))

    def round(self, kind: str) -> float:
        """Return the seconds per task of a round of tasks of a kind."""
        self.process.stdin.write(f"{kind}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def compare(plain: Side, watched: Side, kind: str, rounds: int) -> list[tuple[float, float]]:
    pairs = []
    for number in range(rounds + 1):
        order = (plain, watched) if number % 2 else (watched, plain)
        taken = {side: side.round(kind) for side in order}
        if number:  # the first warms up
            pairs.append((taken[plain], taken[watched]))
    return pairs


def run(rounds: int) -> None:
    """Print the ratios watched / plain."""
    table = Table("tasks", "plain µs", "watched µs", "ratio", "must be", "aim", "")
    with ExitStack() as stack:
        plain, watched = Side(stack, "plain"), Side(stack, "watched")
        for kind in KINDS:
            pairs = compare(plain, watched, kind, rounds)
            figures = [f"{statistics.median(side) * 1e6:.1f}" for side in zip(*pairs, strict=True)]
            ratio = statistics.median(b / a for a, b in pairs)
            cells = (*figures, f"{ratio:.4f}", f"{MUST}", f"{AIM}", verdict(ratio, MUST, AIM))
            table.add_row(kind, *cells)
            click.echo(f"{kind}: {ratio:.4f}", err=True)
        for side in (plain, watched):
            side.process.stdin.close()
    show(table, f"medians of {rounds} rounds, processor time")
