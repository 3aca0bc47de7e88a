"""Waiting for a condition."""

from __future__ import annotations

import time


def wait_for(condition):
    """Wait until something is so, for 20 s at most."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
