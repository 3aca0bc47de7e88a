"""What runs inside Dask: the scheduler plugin and its worker half.

``dask scheduler --preload seamless_dask_cache.scheduler_plugin`` switches the cache on, configured
by ``dask.config``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from seamless_dask_cache.absent import FAULTS, reason_of

from .policy import Policy

if TYPE_CHECKING:
    from .plugin import CachePlugin
else:
    try:
        from .plugin import CachePlugin
    except FAULTS as error:
        from .absent import AbsentPlugin as CachePlugin

        CachePlugin.reason = reason_of(error)

logger = logging.getLogger(__name__)

__all__ = ["CachePlugin", "Policy", "dask_setup"]


def dask_setup(scheduler: Any) -> None:
    """Add the plugin; Dask calls this when the package is preloaded, and then starts all plugins.

    A scheduler must come up without its cache, so a database that does not answer is no error.
    """
    try:
        plugin = CachePlugin(must_answer=False)
    except Exception as error:
        logger.warning("The cache is off: %s", error)
        return
    scheduler.add_plugin(plugin, name=CachePlugin.name)
