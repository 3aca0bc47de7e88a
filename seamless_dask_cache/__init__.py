"""A persistent, shared, content-addressed memory for any unmodified Dask program.

>>> import seamless_dask_cache as sdc
>>> sdc.Checksum.of(b"hello\\n").hex()
'5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03'
"""

from __future__ import annotations

import os

from seamless_dask_cache._version import __version__

# Importing typing, pathlib and importlib takes as long as starting Python: too long for the
# command seamless-checksum. Type checkers take this name for true, as that of typing.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from seamless_dask_cache import config, stores
    from seamless_dask_cache.buffer import Buffer
    from seamless_dask_cache.buffer_cache import BufferCache, get_buffer_cache
    from seamless_dask_cache.buffer_info import BufferInfo
    from seamless_dask_cache.celltypes import CELLTYPES, deserialize, serialize
    from seamless_dask_cache.checksum import Checksum
    from seamless_dask_cache.cluster import Cache, enable
    from seamless_dask_cache.conversion import classify_conversion, convert
    from seamless_dask_cache.database import AsyncDatabaseClient, DatabaseClient
    from seamless_dask_cache.decorator import cached
    from seamless_dask_cache.errors import (
        CacheMissError,
        CellTypeError,
        ConfigurationError,
        ConversionError,
        CorruptBufferError,
        CorruptDatasetError,
        DatabaseConflictError,
        DatabaseError,
        DatabaseUnavailableError,
        DatasetError,
        DatasetNameError,
        ExpressionError,
        MissingDatasetError,
        ReferenceCountError,
        RefusedError,
        SeamlessDaskCacheError,
        StoreError,
    )
    from seamless_dask_cache.expression import Expression
    from seamless_dask_cache.identity import (
        File,
        code_checksum,
        register_identity,
        value_checksum,
    )
    from seamless_dask_cache.scheduler_plugin import CachePlugin
    from seamless_dask_cache.transformation import transformation_checksum

# In a checkout, the two packages that are installed below this one lie beside it. Python started
# there finds this folder before the installed package, and must find those two as well.
_beside = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if os.path.exists(os.path.join(_beside, "scheduler_plugin", "plugin.py")):
    __path__.append(_beside)

_HOMES = {
    "AsyncDatabaseClient": "database",
    "Buffer": "buffer",
    "BufferCache": "buffer_cache",
    "BufferInfo": "buffer_info",
    "CELLTYPES": "celltypes",
    "Cache": "cluster",
    "CacheMissError": "errors",
    "CachePlugin": "scheduler_plugin",
    "CellTypeError": "errors",
    "Checksum": "checksum",
    "ConfigurationError": "errors",
    "ConversionError": "errors",
    "CorruptBufferError": "errors",
    "CorruptDatasetError": "errors",
    "DatabaseClient": "database",
    "DatabaseConflictError": "errors",
    "DatabaseError": "errors",
    "DatabaseUnavailableError": "errors",
    "DatasetError": "errors",
    "DatasetNameError": "errors",
    "Expression": "expression",
    "ExpressionError": "errors",
    "File": "identity",
    "MissingDatasetError": "errors",
    "ReferenceCountError": "errors",
    "RefusedError": "errors",
    "SeamlessDaskCacheError": "errors",
    "StoreError": "errors",
    "cached": "decorator",
    "classify_conversion": "conversion",
    "code_checksum": "identity",
    "config": "",
    "convert": "conversion",
    "deserialize": "celltypes",
    "enable": "cluster",
    "get_buffer_cache": "buffer_cache",
    "register_identity": "identity",
    "serialize": "celltypes",
    "stores": "",
    "transformation_checksum": "transformation",
    "value_checksum": "identity",
}

__all__ = [
    "CELLTYPES",
    "AsyncDatabaseClient",
    "Buffer",
    "BufferCache",
    "BufferInfo",
    "Cache",
    "CacheMissError",
    "CachePlugin",
    "CellTypeError",
    "Checksum",
    "ConfigurationError",
    "ConversionError",
    "CorruptBufferError",
    "CorruptDatasetError",
    "DatabaseClient",
    "DatabaseConflictError",
    "DatabaseError",
    "DatabaseUnavailableError",
    "DatasetError",
    "DatasetNameError",
    "Expression",
    "ExpressionError",
    "File",
    "MissingDatasetError",
    "ReferenceCountError",
    "RefusedError",
    "SeamlessDaskCacheError",
    "StoreError",
    "__version__",
    "cached",
    "classify_conversion",
    "code_checksum",
    "config",
    "convert",
    "deserialize",
    "enable",
    "get_buffer_cache",
    "register_identity",
    "serialize",
    "stores",
    "transformation_checksum",
    "value_checksum",
]


def __getattr__(name: str) -> Any:
    # Names load their module when first used, so that importing the package stays light.
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not home:
        return import_module(f"{__name__}.{name}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return __all__
