"""Printing results: one table, and the machine that they are of."""

from __future__ import annotations

import gc
import os
import platform
import time

import dask
import numpy
from rich.console import Console
from rich.table import Table


def seconds(function):
    """How long a call takes, without letting go of what it gives."""
    gc.collect()
    started = time.perf_counter()
    found = function()
    taken = time.perf_counter() - started
    del found
    return taken


def verdict(figure, must, aim):
    return "aim" if figure <= aim else "reached" if figure <= must else "missed"


def show(table: Table, note: str) -> None:
    console = Console()
    console = console if console.is_terminal else Console(width=120)
    console.print(table)
    console.print(
        f"{note}; Python {platform.python_version()}, dask {dask.__version__}, "
        f"numpy {numpy.__version__}, {platform.machine()}, {os.cpu_count()} cores"
    )
