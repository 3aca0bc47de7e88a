"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import seamless_dask_cache
from seamless_dask_cache import scheduler_plugin, server

PACKAGES = (seamless_dask_cache, scheduler_plugin, server)


def with_examples(package):
    """The names of the modules of a package in whose text there is an example."""
    folder = Path(package.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join((package.__name__, *parts)).removesuffix(".__init__")


@pytest.mark.parametrize("name", [name for package in PACKAGES for name in with_examples(package)])
def test_examples_in_docstrings(name):
    """Every example of a module."""
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed
