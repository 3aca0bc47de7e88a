"""The example of named datasets runs, and finds what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_example():
    """From the checkout, in a process of its own."""
    command = [sys.executable, "examples/datasets.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "saved: ['run-0', 'run-1'" in done.stdout and "largest mean: run-5, 5.0" in done.stdout
    assert "(6, 1000, 500)" in done.stdout and "left: ['run-1'" in done.stdout
