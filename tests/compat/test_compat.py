"""A representative part of Dask's own tests with the cache, and the command that runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# A little of everything that a collection does; which tests these are depends on their names only.
MODULES = (
    "array/tests/test_array_core.py",
    "array/tests/test_overlap.py",
    "array/tests/test_random.py",
    "array/tests/test_routines.py",
    "array/tests/test_slicing.py",
    "bag/tests/test_bag.py",
    "dataframe/dask_expr/tests/test_collection.py",
    "dataframe/dask_expr/tests/test_groupby.py",
    "dataframe/dask_expr/tests/test_merge.py",
    "tests/test_delayed.py",
)
SHARE = "0.05"
# Of pytest, which programs of a few functions do not need, and each run of them would import.
WITHOUT_PLUGINS = "-p no:hypothesispytest -p no:xdist -p no:asyncio"

# Three runs, each with a cluster of its own.
pytestmark = [pytest.mark.timeout(900), pytest.mark.soak]


def compat(folder, *options, plugins=True):
    """Run the command; return its exit code and its report."""
    report = folder / "report.json"
    words = [sys.executable, "-m", "benchmarks", "compat", "--report", str(report), *options]
    environment = os.environ if plugins else {**os.environ, "PYTEST_ADDOPTS": WITHOUT_PLUGINS}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert report.exists(), done.stdout + done.stderr
    return done.returncode, json.loads(report.read_text())


def short(names):
    return {name.rpartition("::")[2] for name in names}


PROGRAM = """
import os
from pathlib import Path

import distributed

HERE = Path(__file__).parent


def cached():
    scheduler = distributed.default_client().cluster.scheduler
    return any("seamless" in name for name in scheduler.plugins)


def first_time(name):
    path = HERE / f"{name}-{cached()}"
    seen = path.exists()
    path.touch()
    return not seen


def test_passes():
    pass


def test_fails_always():
    raise AssertionError


def test_differs():
    assert not cached()


def test_ends_the_process():
    if cached():
        os._exit(3)


def test_fails_once():
    assert not cached() or not first_time("once")


def test_flaky():
    assert not cached() and first_time("flaky")
"""


def test_command_tells_differences_from_chance(tmp_path):
    """What fails with the cache alone, and again, is named; what fails by chance is told apart."""
    program = tmp_path / "test_program.py"
    program.write_text(PROGRAM)
    code, report = compat(tmp_path, "--modules", str(program), plugins=False)
    assert code == 1
    assert short(report["different"]) == {"test_differs", "test_ends_the_process"}
    assert short(report["once"]) == {"test_fails_once"}
    assert short(report["flaky"]) == {"test_flaky"}
    assert report["runs"]["off"]["outcomes"] == {"passed": 5, "failed": 1}


def test_command_repeats_only_what_passes_off(tmp_path):
    """Tests that fail with the cache off say nothing, and cost no time cold and warm."""
    program = tmp_path / "test_program.py"
    program.write_text(PROGRAM)
    chosen = ["--modules", str(program), "-k", "passes or always"]
    code, report = compat(tmp_path, *chosen, plugins=False)
    assert code == 0
    assert report["runs"]["off"]["outcomes"] == {"passed": 1, "failed": 1}
    assert report["runs"]["cold"]["outcomes"] == report["runs"]["warm"]["outcomes"] == {"passed": 1}


def test_dask_passes_with_the_cache(tmp_path):
    """No test of Dask's that passes with the cache off fails cold or warm."""
    modules = [word for module in MODULES for word in ("--modules", module)]
    code, report = compat(tmp_path, *modules, "--share", SHARE, "--each", "1")
    assert report["different"] == {}
    assert code == 0
    assert report["runs"]["warm"]["stats"]["hits"] > report["runs"]["warm"]["stats"]["misses"]
    assert report["runs"]["off"]["outcomes"]["passed"] > 50
    assert not report["runs"]["cold"]["faults"] and not report["runs"]["warm"]["faults"]
