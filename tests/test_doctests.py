"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import seamless_dask_cache

NAMES = sorted(
    module.name
    for module in pkgutil.walk_packages(seamless_dask_cache.__path__, "seamless_dask_cache.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", NAMES)
def test_examples_in_docstrings(name):
    """Every example of a module."""
    module = importlib.import_module(name)
    assert not doctest.testmod(module).failed


def test_examples_are_looked_for():
    """An example that is wrong would be found."""
    module = importlib.import_module("seamless_dask_cache.conversion")
    assert doctest.testmod(module).attempted >= 2
