"""Stores that people use by name: datasets in a folder.

>>> import seamless_dask_cache as sdc
>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     db = sdc.stores.dirdb(folder)
...     db["squares"].put_data([0, 1, 4, 9], meta={"count": 4})
...     [(entry.name, entry.meta.count, entry.get_data()) for entry in db]
[('squares', 4, [0, 1, 4, 9])]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .directory import DirectoryStore, dirdb
    from .entry import DatasetEntry
    from .facts import DatasetFacts
    from .metadata import Metadata

_HOMES = {
    "DatasetEntry": "entry",
    "DatasetFacts": "facts",
    "DirectoryStore": "directory",
    "Metadata": "metadata",
    "dirdb": "directory",
}

__all__ = ["DatasetEntry", "DatasetFacts", "DirectoryStore", "Metadata", "dirdb"]


def __getattr__(name: str) -> Any:
    # Names load their module when first used, so that importing the package stays light.
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
