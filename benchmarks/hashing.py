"""What identity costs: of the tasks of graphs, of large arrays, of a function with many helpers.

Time is that of the processor, so that other processes on the machine disturb less. Each run gets a
fresh graph, made of the message that a client sends, because Dask keeps facts in its nodes.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
import tracemalloc
from hashlib import sha256
from itertools import islice
from types import ModuleType

import click
import numpy as np
from dask.tokenize import tokenize
from rich.table import Table

from benchmarks.graphs import GRAPHS
from benchmarks.tables import show, verdict
from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.graph import identify_graph

MUST, AIM = 25, 5  # microseconds per task
MUST_OF_SHA, AIM_OF_SHA = 1.2, 1.05
TOKENIZED = 1000
HELPERS = 500


def seconds(function, *args):
    gc.collect()
    started = time.process_time()
    found = function(*args)
    return time.process_time() - started, found


def external(key):
    raise KeyError(key)


def hash_graph(fresh):
    graph = fresh()
    taken, found = seconds(identify_graph, graph, external)
    assert not found.refused, next(iter(found.refused.values()))
    return taken / len(graph), len(graph)


def tokenize_graph(fresh):
    nodes = list(islice(fresh().values(), TOKENIZED))
    return seconds(lambda: [tokenize(node) for node in nodes])[0] / len(nodes)


def kept_bytes(fresh):
    """Return the bytes per task that the identities of a graph keep, recipes included."""
    graph = fresh()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    found = identify_graph(graph, external)
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return kept / len(found.known) if found.known else float("nan")


def graph_rows(runs, wanted):
    for number, (title, build) in enumerate(GRAPHS, 1):
        if wanted and number not in wanted:
            continue
        fresh = build()
        first, tasks = hash_graph(fresh)
        taken = statistics.median(hash_graph(fresh)[0] for _ in range(runs)) * 1e6
        ratio = taken / tokenize_graph(fresh) / 1e6
        click.echo(f"{title}: {taken:.1f}", err=True)
        yield (
            f"{number}. {title}",
            *(f"{tasks:,}", f"{first * 1e6:.1f}", f"{taken:.1f}"),
            f"1/{1 / ratio:.0f}" if ratio < 0.7 else f"{ratio:.1f}",
            f"{kept_bytes(fresh):,.0f}",
            verdict(taken, MUST, AIM),
        )


def arrays():
    numbers = np.random.default_rng(0).random((2500, 5000))
    yield "100 MB of numbers in one block", numbers
    yield "the same in Fortran order", np.asfortranarray(numbers)
    yield "every second column of 200 MB", np.repeat(numbers, 2, axis=1)[:, ::2]


def array_rows(runs):
    for title, array in arrays():
        raw = array.ravel(order="K").view(np.uint8)
        pairs = [
            (seconds(sha256, raw.data)[0], seconds(Identifier().describe, array)[0])
            for _ in range(runs)
        ]
        plain, mine = (statistics.median(side) * 1e3 for side in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        figures = (f"{plain:.1f}", f"{mine:.1f}", f"{ratio:.3f}")
        yield title, *figures, verdict(ratio, MUST_OF_SHA, AIM_OF_SHA)


def wide_function():
    """Return a function that calls 500 helpers of its module."""
    helpers = "".join(
        f"LIMIT_{n} = {n}\ndef helper_{n}(x, y=1):\n    return [LIMIT_{n} * v for v in range(x)]\n"
        for n in range(HELPERS)
    )
    calls = ", ".join(f"helper_{n}(x)" for n in range(HELPERS))
    module = ModuleType("benchmarks_wide")
    sys.modules[module.__name__] = module
    exec(f"{helpers}\ndef wide(x):\n    return [{calls}]\n", module.__dict__)
    return module.wide


def wide_rows(runs):
    Identifier().code(increment)
    function = wide_function()
    first = seconds(Identifier().code, function)[0]
    later = statistics.median(seconds(Identifier().code, function)[0] for _ in range(runs))
    yield f"function with {HELPERS} helpers, first pass", "", f"{first * 1e3:.1f}", "", ""
    yield f"function with {HELPERS} helpers, later passes", "", f"{later * 1e3:.1f}", "", ""


def increment(x):
    return x + 1


def run(runs: int, row: tuple[int, ...]) -> None:
    """Print a table of graphs and, unless some rows were asked for, one of values and functions."""
    titles = ("graph", "tasks", "first µs/task", "µs/task", "/ tokenize", "bytes/task", "")
    graphs = Table(*titles)
    for cells in graph_rows(runs, row):
        graphs.add_row(*cells)
    show(graphs, f"medians of {runs}, processor time; must be {MUST} µs/task, aim {AIM}")
    if not row:
        values = Table("identity of", "SHA-256 ms", "ms", "ratio", "")
        for cells in (*array_rows(runs), *wide_rows(runs)):
            values.add_row(*cells)
        show(values, f"medians of {runs}; must be {MUST_OF_SHA} of SHA-256, aim {AIM_OF_SHA}")
