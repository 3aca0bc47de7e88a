"""Dask's own tests, three times: with the cache off, cold and warm.

A test that passes with the cache off must pass with it on. Each run is a process of its own, in
which `benchmarks.compat_plugin` sends everything that is computed through a distributed client.
Tests that fail with the cache off fail because of that: they are not run with it.

Dask's own configuration of pytest is not part of its wheel; tests run under a minimal one here, in
which warnings are no errors.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import dask
import psutil
from rich.table import Table

from benchmarks.compat_known import KNOWN
from benchmarks.compat_plugin import COUNTERS, DIED, read_lines
from benchmarks.tables import show

HOME = Path(dask.__file__).parent
HERE = Path(__file__).parent.parent
PARTS = {
    "array": ["array"],
    "bag": ["bag"],
    "dataframe": ["dataframe"],
    "delayed": ["tests/test_delayed.py", "tests/test_base.py", "tests/test_highgraph.py"],
}
CACHED = ("cold", "warm")
MARKERS = ("network", "slow", "gpu", "array_expr", "skip_with_pyarrow_strings")
MARKERS += ("xfail_with_pyarrow_strings", "normal_and_array_expr")
ATTEMPTS = 20


@dataclass(frozen=True)
class Choice:
    """Which tests are run, and how.

    Attributes
    ----------
    modules : tuple of str
        Files or folders inside the dask package.
    expression : str
        As of pytest's ``-k``.
    share : float
        The part of the tests that is run, from 0 to 1, chosen by their names.
    each : int
        How many sets of parameters of a test are run at most; 0 for all.
    only : tuple of str, optional
        Nothing but these tests.
    timeout : int
        Seconds that one test may take.
    processes : bool
        Whether workers are processes.
    """

    modules: tuple[str, ...]
    expression: str = ""
    share: float = 1.0
    each: int = 0
    only: tuple[str, ...] | None = None
    timeout: int = 120
    processes: bool = False


@dataclass
class Run:
    """What became of the tests of one run."""

    outcomes: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    stats: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def passed(self) -> set[str]:
        return {test for test, outcome in self.outcomes.items() if outcome == "passed"}

    def counted(self) -> Counter[str]:
        return Counter(self.outcomes.values())


@dataclass
class Comparison:
    """Three runs, and the tests that pass with the cache off, but not cold or not warm.

    Attributes
    ----------
    runs : dict
        Mode to its run.
    different : dict
        Test to the text of its failure; it failed again when it was repeated.
    known : dict
        Test to the reason why it has to be different.
    once : list
        Tests that passed when they were repeated.
    flaky : list
        Tests that failed with the cache off when they were repeated.
    """

    runs: dict[str, Run]
    different: dict[str, str] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    once: list[str] = field(default_factory=list)
    flaky: list[str] = field(default_factory=list)


def compare(choice: Choice, folder: Path) -> Comparison:
    """Run the tests in all modes, and those that differ again.

    Parameters
    ----------
    choice : Choice
        The tests.
    folder : Path
        Empty; gets the cache, the outcomes and what pytest prints.
    """
    runs = three_runs(choice, folder)
    result = Comparison(runs)
    suspects = lost(runs)
    result.known = {test: KNOWN[name_of(test)] for test in suspects if name_of(test) in KNOWN}
    suspects -= result.known.keys()
    if suspects:
        repeat(choice, folder, suspects, result)
    return result


def repeat(choice: Choice, folder: Path, suspects: set[str], result: Comparison) -> None:
    """Tell tests that differ from those that fail now and then.

    They run with an empty cache and with that of the first runs: a wrong answer stays in it.
    """
    again = replace(choice, only=tuple(suspects))
    second = folder / "again"
    second.mkdir()
    runs = three_runs(again, second)
    try:
        runs["first cache"] = run(again, "warm-first", folder, folder / "cache")
    finally:
        end_server(folder / "cache")
    result.flaky = sorted(suspects - runs["off"].passed())
    for test in sorted(suspects.intersection(lost(runs))):
        failed = next(run for run in runs.values() if test not in run.passed())
        result.different[test] = failed.texts.get(test) or failed.outcomes.get(test, "not run")
    result.once = sorted(suspects - result.different.keys() - set(result.flaky))


def three_runs(choice: Choice, folder: Path) -> dict[str, Run]:
    """Run the tests off; then cold and warm those that passed: the others say nothing."""
    cache = folder / "cache"
    runs = {"off": run(choice, "off", folder, None)}
    passing = replace(choice, only=tuple(sorted(runs["off"].passed())))
    try:
        for mode in CACHED:
            runs[mode] = run(passing, mode, folder, cache)
    finally:
        end_server(cache)
    return runs


def lost(runs: dict[str, Run]) -> set[str]:
    """Return the tests that pass off, and not in all other runs."""
    others = [run.passed() for mode, run in runs.items() if mode != "off"]
    return runs["off"].passed() - set.intersection(*others)


def name_of(test: str) -> str:
    return test.partition("[")[0]


# One run -----------------------------------------------------------------------------------------


def run(choice: Choice, mode: str, folder: Path, cache: Path | None) -> Run:
    """Run the tests once; a process that died is started again for those that are left."""
    outcomes = folder / f"{mode}.jsonl"
    outcomes.touch()
    started = time.perf_counter()
    for _ in range(ATTEMPTS):
        died = Counter(facts.get("outcome") for facts in read_lines(outcomes))[DIED]
        one_process(command(choice, mode, folder, cache), folder, mode, 3 * choice.timeout + 60)
        lines = read_lines(outcomes)
        if any(facts.get("finished") for facts in lines):
            break
        if Counter(facts.get("outcome") for facts in lines)[DIED] == died:
            break  # it does not even begin
    result = as_run(read_lines(outcomes))
    result.seconds = time.perf_counter() - started
    return result


def command(choice: Choice, mode: str, folder: Path, cache: Path | None) -> list[str]:
    settings = folder / "pytest.ini"
    lines = [f"    {name}: Dask's own" for name in MARKERS]
    settings.write_text("\n".join(["[pytest]", "markers =", *lines]) + "\n", encoding="utf-8")
    words = [sys.executable, "-m", "pytest", "-q", "--tb=native", "-p", "benchmarks.compat_plugin"]
    words += ["-p", "no:cacheprovider", "-c", str(settings), "--rootdir", str(HOME.parent)]
    words += ["-m", "not network and not slow and not gpu", "-k", choice.expression]
    words += ["--timeout", str(choice.timeout), "--compat-share", str(choice.share)]
    words += ["--compat-each", str(choice.each), "--compat-outcomes", str(folder / f"{mode}.jsonl")]
    if cache is not None:
        words += ["--compat-cache", str(cache)]
    if choice.processes:
        words.append("--compat-processes")
    if choice.only is not None:
        only = folder / "only.json"
        only.write_text(json.dumps(choice.only), encoding="utf-8")
        words += ["--compat-only", str(only)]
    return words + [str(HOME / module) for module in choice.modules]


def one_process(words: list[str], folder: Path, mode: str, patience: float) -> None:
    """Wait for a run, and end it when no test has begun or ended for too long."""
    outcomes = folder / f"{mode}.jsonl"
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}
    with (
        (folder / f"{mode}.txt").open("a", encoding="utf-8") as printed,
        subprocess.Popen(words, cwd=folder, env=environment, stdout=printed, stderr=printed) as it,
    ):
        begun = time.time()
        while it.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                it.wait(1)
            if time.time() - max(begun, outcomes.stat().st_mtime) > patience:
                it.kill()


def as_run(lines: Iterable[dict]) -> Run:
    result = Run()
    for facts in lines:
        if "stats" in facts:
            result.stats.update(facts["stats"])
            continue
        test = facts["test"]
        result.outcomes[test] = facts["outcome"]
        result.texts[test] = facts.get("text", "")
        if facts.get("faults"):
            result.faults[test] = facts["faults"]
    return result


def end_server(cache: Path) -> None:
    """End the server that the runs of a cache folder shared."""
    for process in psutil.process_iter(["cmdline"]):
        if str(cache / "cache.db") in (process.info["cmdline"] or []):
            with contextlib.suppress(psutil.Error):
                process.terminate()
                process.wait(10)


# What is shown -----------------------------------------------------------------------------------


def as_document(result: Comparison) -> dict:
    """Return everything as a JSON document."""
    runs = {}
    for mode, run in result.runs.items():
        runs[mode] = {"outcomes": run.counted(), "stats": run.stats, "seconds": run.seconds}
        runs[mode]["faults"] = run.faults
    lists = {"once": result.once, "flaky": result.flaky}
    return {"runs": runs, "different": result.different, "known": result.known, **lists}


def present(result: Comparison) -> None:
    """Print the table and the lists."""
    table = Table("cache", "passed", "failed", "skipped", *COUNTERS, "s")
    for mode, run in result.runs.items():
        counted = run.counted()
        failed = counted["failed"] + counted[DIED]
        cells = [counted["passed"], failed, counted["skipped"]]
        cells += [run.stats[name] for name in COUNTERS] + [round(run.seconds)]
        table.add_row(mode, *map(str, cells))
    show(table, "tests, and tasks of all of them")
    print_list("Pass off, and not with the cache", result.different)
    print_list("Known to be different", [f"{test}: {why}" for test, why in result.known.items()])
    print_list("Failed once with the cache, not again", result.once)
    print_list("Fail now and then with the cache off", result.flaky)
    for mode, run in result.runs.items():
        print_list(f"{mode}: the cache survived a fault of its own", run.faults)


def print_list(title: str, tests: Collection[str]) -> None:
    if tests:
        click.echo(f"\n{title} ({len(tests)}):")
        for test in tests:
            click.echo(f"  {test}")


def run_and_print(choice: Choice, report: Path | None) -> bool:
    """Compare, print, and return whether every test that passes off passes with the cache."""
    with tempfile.TemporaryDirectory() as folder:
        result = compare(choice, Path(folder))
    present(result)
    if report is not None:
        report.write_text(json.dumps(as_document(result), indent=1), encoding="utf-8")
    return not result.different and bool(result.runs["off"].passed())
