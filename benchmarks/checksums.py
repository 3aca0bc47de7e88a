"""What the checksum commands cost: whole processes, files in the page cache.

The other side is `sha256sum`, or a Python that does nothing. `sha256sum` of some systems computes
without the instructions that processors have for it; so the last row compares with the fastest
there is, `openssl dgst`.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import click
from rich.table import Table

from benchmarks.tables import show, verdict

LARGE = 1 << 30
MANY = 1000
SCRIPTS = Path(sysconfig.get_path("scripts"))
CHECKSUM = SCRIPTS / "seamless-checksum"
SMALL_NAMES = [f"small/{number}" for number in range(MANY)]

# What is measured, the other side, this side, runs per run asked for, must be, aim.
ROWS = [
    ("1 GB / sha256sum", ["sha256sum", "large"], [CHECKSUM, "large"], 1, 1.1, 1.0),
    (
        "1 GB / openssl dgst",
        ["openssl", "dgst", "-sha256", "large"],
        [CHECKSUM, "large"],
        1,
        None,
        0,
    ),
    (
        "one small file / python -c pass",
        [sys.executable, "-c", "pass"],
        [CHECKSUM, "small/0"],
        10,
        2,
        1.5,
    ),
    (
        f"{MANY:,} small files / sha256sum",
        ["sha256sum", *SMALL_NAMES],
        [CHECKSUM, *SMALL_NAMES],
        4,
        None,
        0,
    ),
    (
        f"index of {MANY:,} small files / sha256sum",
        ["sha256sum", *SMALL_NAMES],
        [SCRIPTS / "seamless-checksum-index", "small"],
        4,
        None,
        0,
    ),
]


def make_files(folder):
    with (folder / "large").open("wb") as file:
        for _ in range(LARGE >> 20):
            file.write(os.urandom(1 << 20))
    (folder / "small").mkdir()
    for name in SMALL_NAMES:
        (folder / name).write_bytes(os.urandom(4096))


def seconds(command, folder):
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def compare(other, mine, folder, runs):
    """Return the seconds of both sides, run by run."""
    pairs = []
    for run in range(runs + 1):
        taken = {}
        for side in (0, 1) if run % 2 else (1, 0):
            taken[side] = seconds((other, mine)[side], folder)
        if run:  # the first warms up
            pairs.append((taken[0], taken[1]))
    return pairs


def cells(title, pairs, must, aim):
    other, mine = (f"{statistics.median(side) * 1e3:.1f}" for side in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    click.echo(f"{title}: {ratio:.2f}", err=True)
    limits = ("", "", "") if must is None else (f"{must}", f"{aim}", verdict(ratio, must, aim))
    return title, other, mine, f"{ratio:.2f}", *limits


def run(runs: int, folder: Path | None) -> None:
    """Print the ratios checksum commands / others."""
    table = Table("benchmark", "other ms", "ours ms", "ratio", "must be", "aim", "")
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        make_files(Path(temporary))
        for title, other, mine, times, must, aim in ROWS:
            if shutil.which(other[0]):
                pairs = compare(other, mine, temporary, runs * times)
                table.add_row(*cells(title, pairs, must, aim))
    show(table, f"medians of {runs} runs and more, page cache warm")
