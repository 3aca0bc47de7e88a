"""Names of datasets, which are names of files as well."""

from __future__ import annotations

import os
import re

from seamless_dask_cache.errors import DatasetNameError

MOST_BYTES = 240
"""A name and what is added to it for its files, hidden ones included, has at most 255 bytes."""

# What cannot be in a name on any system, or would make a path of it on one of them.
_FORBIDDEN = re.compile(r"[/\\\0-\x1f\x7f]")
_FORBIDDEN_ON_WINDOWS = re.compile(r'[<>:"|?*]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.I)


def checked_name(name: object) -> str:
    """Return a name that is safe as the name of a file.

    Parameters
    ----------
    name : str

    Raises
    ------
    DatasetNameError
        When it is empty, ``.`` or ``..``, has a slash, a backslash or a control character in it, is
        longer than 240 bytes, or cannot be the name of a file on this system.

    Examples
    --------
    >>> checked_name("run 7.b")
    'run 7.b'
    """
    if not isinstance(name, str):
        raise DatasetNameError(f"the name of a dataset is a str, not {name!r:.80}")
    reason = _why_unsafe(name)
    if reason is not None:
        raise DatasetNameError(f"{name!r:.80} is no name for a dataset: {reason}")
    return name


def is_safe(name: str) -> bool:
    """Tell whether `checked_name` would take a name."""
    return _why_unsafe(name) is None


def _why_unsafe(name: str) -> str | None:
    if name in ("", ".", ".."):
        return "a file cannot be called so"
    if _FORBIDDEN.search(name) or (os.name == "nt" and _FORBIDDEN_ON_WINDOWS.search(name)):
        return "it would be a path, or no file on this system"
    try:
        length = len(os.fsencode(name))
    except UnicodeEncodeError:
        return "it cannot be encoded"
    return f"it has {length} bytes, of at most {MOST_BYTES}" if length > MOST_BYTES else None
