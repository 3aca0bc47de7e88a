"""What stands for the plugin where the installed Dask lacks what the plugin is made of."""

from __future__ import annotations

from typing import Any

from seamless_dask_cache.absent import answer, warn

try:
    from distributed.diagnostics.plugin import SchedulerPlugin
except ImportError:
    SchedulerPlugin = object


class AbsentPlugin(SchedulerPlugin):  # type: ignore[misc]
    """A plugin that says that the cache is off, and does nothing else.

    Parameters
    ----------
    *arguments, **policy
        As `CachePlugin` takes them; not looked at.
    """

    name = "seamless-dask-cache"
    reason = ""

    def __init__(self, *arguments: Any, **policy: Any):
        self.reason = type(self).reason

    async def start(self, scheduler: Any) -> None:
        """Warn, and answer what is asked of the cache."""
        warn(self.reason)
        reason = self.reason

        async def respond(action: str, arguments: dict[str, Any] | None = None) -> Any:
            return answer(action, reason, arguments)

        scheduler.handlers["seamless_dask_cache"] = respond
