"""What the command line asks a database for, each thing once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seamless_dask_cache.database import DatabaseClient
from seamless_dask_cache.explaining.entries import parse_recipe

CANDIDATES = 500


class Records:
    """Recipes and notes of one database.

    Parameters
    ----------
    client : DatabaseClient
        The database.
    """

    def __init__(self, client: DatabaseClient):
        self.client = client
        self.notes: dict[str, dict[str, Any] | None] = {}
        self._recipes: dict[str, dict[str, Any] | None] = {}

    def recipe(self, checksum: str) -> dict[str, Any] | None:
        """Return the recipe of a transformation, or None."""
        if checksum not in self._recipes:
            rows = self.client.recipes(checksums=[checksum])
            # Version 0.1 kept recipes as buffers only.
            text = rows[0]["recipe"] if rows else self.client.get_buffer(checksum)
            self._recipes[checksum] = parse_recipe(text)
        return self._recipes[checksum]

    def note(self, checksum: str) -> dict[str, Any] | None:
        """Return the note of a checksum, or None."""
        if checksum not in self.notes:
            self.notes[checksum] = self.client.notes([checksum]).get(checksum)
        return self.notes[checksum]

    def name(self, checksum: str) -> str | None:
        """Return the function of a transformation, or None."""
        recipe = self.recipe(checksum)
        return None if recipe is None else str(recipe.get("function"))


def time_text(seconds: float | None) -> str:
    """Write a time down as people read it."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds).isoformat(" ", "seconds")
