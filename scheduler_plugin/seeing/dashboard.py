"""The page "Cache" in the dashboard of a running scheduler."""

from __future__ import annotations

import logging
from typing import Any

from seamless_dask_cache.dask_internals.display import add_pages, dress, refresh

from ..history import History
from ..worker import NAME

logger = logging.getLogger(__name__)

REFRESH_MILLISECONDS = 500


def install(scheduler: Any) -> bool:
    """Add the pages "/cache" and "/individual-cache"; tell whether there is a dashboard for them.

    Without Bokeh nothing happens. A page shows the cache that the scheduler has when it is looked
    at, so pages that are there already serve every later one.
    """
    try:
        return add_pages(scheduler, {"/cache": cache_page, "/individual-cache": individual_page})
    except ImportError as error:
        logger.debug("no page in the dashboard: %s", error)
        return False


def cache_page(scheduler: Any, variables: dict[str, Any], document: Any) -> None:
    """Fill the page with Dask's navigation around it."""
    _fill(scheduler, document)
    dress(document, "Cache", variables)


def individual_page(scheduler: Any, variables: dict[str, Any], document: Any) -> None:
    """Fill the page without anything around it, as for a pane of JupyterLab."""
    _fill(scheduler, document)
    dress(document, "Cache", None)


def _fill(scheduler: Any, document: Any) -> None:
    from .page import CachePage

    page = CachePage(lambda: history_of(scheduler))
    page.update()
    refresh(document, page, REFRESH_MILLISECONDS)
    document.add_root(page.root)


def history_of(scheduler: Any) -> History | None:
    """Return the history of the cache that a scheduler has; None when it has none."""
    seeing = getattr(scheduler.plugins.get(NAME), "seeing", None)
    return None if seeing is None else seeing.history
