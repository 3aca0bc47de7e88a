"""What runs inside Dask: the scheduler plugin and its worker half.

``dask scheduler --preload seamless_dask_cache.scheduler_plugin`` switches the cache on, configured
by ``dask.config``.
"""

from __future__ import annotations

from typing import Any

from .plugin import CachePlugin
from .policy import Policy

__all__ = ["CachePlugin", "Policy", "dask_setup"]


async def dask_setup(scheduler: Any) -> None:
    """Register the plugin; Dask calls this when the package is preloaded."""
    await scheduler.register_scheduler_plugin(CachePlugin(), CachePlugin.name, idempotent=True)
