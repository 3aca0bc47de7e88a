"""What all tests share."""

from __future__ import annotations

import gc
import sys

import pytest


def pytest_collection_finish():
    """Look no more through all modules of the tests, and what they import, for garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def no_clusters_pile_up():
    """Let go of clusters that are closed.

    Dask remembers every handler that it ever called, and so keeps all schedulers and workers of a
    process; by the hundred, they make each garbage collection take seconds.
    """
    yield
    core = sys.modules.get("distributed.core")
    if core is not None and core._expects_comm.cache_info().currsize:
        core._expects_comm.cache_clear()
        gc.collect()
        gc.freeze()
