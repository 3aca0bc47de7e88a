"""The command line, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys

import psutil
import pytest
from click.testing import CliRunner

from seamless_dask_cache.cli import main


def run(*arguments):
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache folder that a script of its own filled."""
    folder = tmp_path_factory.mktemp("cache")
    script = """
import sys
import seamless_dask_cache as sdc
import dask.config
dask.config.set({"seamless-dask-cache.cache-dir": sys.argv[1]})
square = sdc.cached(lambda x: x * x)
print(square(3))
"""
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True)
    yield folder
    for process in psutil.process_iter(["cmdline"]):
        if str(folder / "cache.db") in (process.info["cmdline"] or []):
            process.kill()


def test_stats_counts_what_is_stored(filled):
    """`stats` prints the totals of a cache folder."""
    result = run("stats", "--cache-dir", str(filled))
    assert result.exit_code == 0, result.output
    assert "transformations" in result.output
    assert " 1 " in result.output


def test_ls_lists_results(filled):
    """`ls` names function, size and checksums; a prefix selects."""
    result = run("ls", "--cache-dir", str(filled))
    assert result.exit_code == 0, result.output
    assert "<lambda>" in result.output
    other = run("ls", "--cache-dir", str(filled), "no-such-prefix")
    assert "<lambda>" not in other.output


@pytest.mark.parametrize("command", ["stats", "ls"])
def test_a_folder_without_a_cache(command, tmp_path):
    """An empty folder is no cache: said so, exit 1, nothing started or made."""
    result = run(command, "--cache-dir", str(tmp_path))
    assert result.exit_code == 1
    assert "there is no cache in" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stats", "--database", "localhost:3"], "database must be a URL"),
        (["ls", "--database", "http://127.0.0.1:9"], "127.0.0.1:9"),
        (["ls", "--limit", "0"], "limit"),
        (["nonsense"], "No such command"),
        (["demo", "--workers", "0"], "workers"),
    ],
)
def test_wrong_arguments(arguments, message):
    """What is wrong is named, with a non-zero exit."""
    result = run(*arguments)
    assert result.exit_code != 0
    assert message in result.output


def test_dask_knows_the_command():
    """`dask cache` is the same command."""
    done = subprocess.run(
        [sys.executable, "-m", "dask", "cache", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout


@pytest.mark.soak
def test_the_demo_computes_only_what_it_must(tmp_path):
    """Cold everything, warm nothing, after the edit 16 models, 16 lines and the report."""
    report = tmp_path / "report.json"
    folder = tmp_path / "cache"
    command = [sys.executable, "-m", "seamless_dask_cache.cli", "demo"]
    command += ["--cache-dir", str(folder), "--json", str(report)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    finally:
        for process in psutil.process_iter(["cmdline"]):
            if str(folder / "cache.db") in (process.info["cmdline"] or []):
                process.kill()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "exactly the results of plain Dask" in done.stdout
    stats = {row["run"]: row["stats"] for row in json.loads(report.read_text())}
    assert stats["cold"]["tasks"] >= 300
    assert stats["cold"]["computed"] == stats["cold"]["tasks"] == stats["cold"]["misses"]
    assert stats["warm"]["computed"] == 0
    assert stats["warm"]["hits"] == stats["warm"]["tasks"]
    assert stats["warm"]["seconds_saved"] > 0
    # What took too little time to be stored is computed again where the edit needs it.
    assert stats["edited"]["misses"] == stats["edited"]["computed"]
    assert 33 <= stats["edited"]["computed"] < stats["edited"]["tasks"]
