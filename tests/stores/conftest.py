"""Fixtures of the tests of the stores."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from seamless_dask_cache import local

# How tests start servers.
sys.path.append(str(Path(__file__).parents[1] / "server"))


@pytest.fixture
def own_caches():
    """Nothing is connected before a test and after it."""
    local.reset()
    yield
    local.reset()
