"""Divergence: a run gave another result than the one on record, which stays."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .plugin import CachePlugin

logger = logging.getLogger(__name__)

DIVERGED = "another run gave another result"


async def tell(plugin: CachePlugin, items: Sequence[dict[str, Any]]) -> None:
    """Count write-backs that differ from what is on record, tell of them, and remember them.

    Parameters
    ----------
    plugin : CachePlugin
    items : sequence of dict
        Records that the database did not take for this reason; it noted the divergence.
    """
    engine = plugin.running()
    engine.stats.diverged += len(items)
    for item in items:
        remark = f"{DIVERGED}, {item['result'][:12]}; the first one stays"
        engine.remarks[item["transformation"]] = remark
    try:
        on_record = await engine.link.lookup([item["transformation"] for item in items])
        for item in items:
            transformation, second = item["transformation"], item["result"]
            answer = on_record.get(transformation)
            first = None if answer is None else answer.result
            plugin.seeing.event(
                "diverged", transformation=transformation, first=first, second=second
            )
    except Exception as error:
        engine.survived("telling of a divergence", error)
