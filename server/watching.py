"""What Prometheus and browsers ask."""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path

from aiohttp import web

from . import cache_tables
from .failures import NotInstalledError
from .front import Activity, Request
from .metrics import exposition
from .registry import Context
from .web import page

_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

ROWS_SECONDS = 30.0
"""How long a count of rows is good: SQLite reads an index from end to end for one."""


class Watching:
    """Answers ``GET /metrics``, and ``GET /`` of a browser.

    Parameters
    ----------
    context : Context
    activity : Activity
    writable : bool
    """

    def __init__(self, context: Context, activity: Activity, *, writable: bool):
        self._context = context
        self._activity = activity
        self._writable = writable
        self._counted: dict[str, int] = {}
        self._until = -1.0

    async def page(self, request: Request) -> web.Response:
        """Give a page for people."""
        request.kind = "page"
        database = self._context.database
        summary = await database.read_long(cache_tables.summary)
        newest = partial(cache_tables.entries, prefix=None, limit=page.ENTRIES, offset=0)
        text = page.render(
            database.path.name,
            writable=self._writable,
            summary=summary,
            hits=self._context.metrics.hits,
            misses=self._context.metrics.misses,
            entries=await database.read_long(newest),
        )
        return web.Response(text=text, content_type="text/html", headers=_PAGE_HEADERS)

    async def metrics(self, request: Request) -> web.Response:
        """Give the metrics in Prometheus' text format."""
        request.kind = "metrics"
        rows = await self._rows()
        gauges = self._gauges(rows.pop("small_buffer_bytes"))
        try:
            text = exposition(self._context.metrics, gauges, rows)
        except ImportError as error:
            raise NotInstalledError("server", str(error)) from error
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=text, headers=headers)

    async def _rows(self) -> dict[str, int]:
        if time.monotonic() > self._until:
            self._counted = await self._context.database.read_long(cache_tables.counts)
            self._until = time.monotonic() + ROWS_SECONDS
        return dict(self._counted)

    def _gauges(self, small_buffer_bytes: float) -> dict[str, float]:
        file = self._context.database.path
        return {
            "connections": self._context.metrics.connections,
            "requests_in_progress": self._activity.requests,
            "leases": len(self._context.leases),
            "promises": len(self._context.promises),
            "file_bytes": _size(file),
            "log_bytes": _size(Path(f"{file}-wal")),
            "free_bytes": shutil.disk_usage(file.absolute().parent).free,
            "small_buffer_bytes": small_buffer_bytes,
        }


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
