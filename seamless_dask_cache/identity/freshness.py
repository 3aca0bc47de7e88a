"""Noticing that a module was edited after it was imported.

What this process imported may be older than what a worker that starts later imports. A module whose
file has changed since it was first looked at, and which was not reloaded, identifies nothing.
"""

from __future__ import annotations

import sys
from typing import Any

from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity.code import CodeIdentity
from seamless_dask_cache.identity.files import file_state

_seen: dict[str, tuple[Any, str | None]] = {}


class Freshness:
    """The question whether modules are as they were imported; each module is looked at once."""

    def __init__(self) -> None:
        self._checked: set[bytes] = set()
        self._fresh: dict[str, bool] = {}

    def check(self, code: CodeIdentity) -> None:
        """Look at the modules of a user's function and of all that it reaches.

        Raises
        ------
        RefusedError
            When the file of one has changed since it was first looked at.
        """
        if code.checksum in self._checked:
            return
        for name in code.modules:
            if name not in self._fresh:
                self._fresh[name] = _is_fresh(name)
            if not self._fresh[name]:
                raise RefusedError(
                    f"the file of module {name} changed after it was imported here; restart the "
                    "scheduler or reload the module"
                )
        self._checked.add(code.checksum)


def _is_fresh(name: str) -> bool:
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    origin = getattr(spec, "origin", None)
    if spec is None or not isinstance(origin, str):
        return True
    known = _seen.get(name)
    # Importing and reloading make a new spec.
    if known is None or known[0] is not spec:
        _seen[name] = spec, file_state(origin)
        return True
    return known[1] == file_state(origin)
