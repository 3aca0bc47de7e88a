"""Fixtures of the tests of the data layer."""

from __future__ import annotations

import pytest
from caching import Clock


@pytest.fixture
def clock():
    return Clock()
