"""What clients and restore tasks ask the plugin, by remote calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .audit import audit
from .explain import explain
from .seeing.report import report_data

if TYPE_CHECKING:
    from .plugin import CachePlugin

Answer = Callable[..., Awaitable[Any]]


async def _stats(plugin: CachePlugin) -> dict[str, Any]:
    engine = plugin.running()
    return {**engine.stats.as_dict(), "database": await engine.link.summary()}


async def _report(plugin: CachePlugin) -> dict[str, Any]:
    engine = plugin.running()
    await plugin.seeing.settled()
    return report_data(
        plugin.seeing,
        stats=engine.stats.as_dict(),
        settings=asdict(engine.policy),
        database=await engine.link.summary(),
    )


async def _flush(plugin: CachePlugin, timeout: float | None = None) -> bool:
    return await plugin.running().link.flush(timeout)


async def _explain(plugin: CachePlugin, **message: Any) -> list[dict[str, Any]]:
    return await explain(plugin.running(), message)


async def _audit(
    plugin: CachePlugin,
    fraction: float,
    seed: int | None = None,
    timeout: float | None = None,
    **message: Any,
) -> dict[str, Any]:
    return await audit(plugin, message, fraction, seed, timeout)


async def _heal(
    plugin: CachePlugin, key: Any, transformation: str, result: str, gone: bool
) -> bool:
    healed = await plugin.healing.heal(key, transformation, result, gone)
    if healed:
        plugin.seeing.healed(key, result)
    return healed


async def _disable(plugin: CachePlugin) -> None:
    await plugin.retire()


ANSWERS: dict[str, Answer] = {
    "stats": _stats,
    "report": _report,
    "flush": _flush,
    "explain": _explain,
    "audit": _audit,
    "heal": _heal,
    "disable": _disable,
}
"""Action to what answers it."""
