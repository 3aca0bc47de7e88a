"""What a task does to datasets, told to whoever observes it; also where nobody hears its calls."""

from __future__ import annotations

import sys
from typing import Any


def note_writing(name: str) -> None:
    """Note that the running task, if there is one, changes a dataset: it is to run each time."""
    seen = _observation()
    if seen is not None:
        from seamless_dask_cache.identity.effects import WRITE

        seen.did(WRITE, f"it changes the dataset {name!r}")


def note_times(name: str) -> None:
    """Note that it looks at sizes and times of files, which are not what identifies a dataset."""
    seen = _observation()
    if seen is not None:
        seen.unstable = f"it looks at sizes and times of the dataset {name!r}"


def _observation() -> Any:
    # Who has not loaded it observes nothing.
    observation = sys.modules.get("seamless_dask_cache.observation")
    return None if observation is None else observation.current()
