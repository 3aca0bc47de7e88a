"""Printing results: one table, and the machine that they are of."""

from __future__ import annotations

import os
import platform

import dask
import numpy
from rich.console import Console
from rich.table import Table


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
