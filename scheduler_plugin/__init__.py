"""What runs inside Dask: the scheduler plugin and its worker half.

``dask scheduler --preload seamless_dask_cache.scheduler_plugin`` switches the cache on, configured
by ``dask.config``.
"""

from __future__ import annotations

from typing import Any

from .plugin import CachePlugin
from .policy import Policy

__all__ = ["CachePlugin", "Policy", "dask_setup"]


def dask_setup(scheduler: Any) -> None:
    """Add the plugin; Dask calls this when the package is preloaded, and then starts all plugins.

    A scheduler must come up without its cache, so a database that does not answer is no error.
    """
    scheduler.add_plugin(CachePlugin(must_answer=False), name=CachePlugin.name)
