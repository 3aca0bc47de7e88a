"""Seeing what the cache does: history, events, dashboard page, metrics, task stream, report.

`Seeing` is all that the plugin knows of it. Nothing in here ever fails or holds a computation.
"""

from .seeing import Seeing

__all__ = ["Seeing"]
