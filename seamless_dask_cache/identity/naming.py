"""Which strings are worth asking the file system about.

A task may be given hundreds of thousands of words, and a question about each would cost more than
many tasks do. So plain words are asked about up to a limit, and what looks like a path always.
"""

from __future__ import annotations

import os
from pathlib import PurePath

from ..errors import RefusedError

MAX_PATH_LENGTH = 4096
MAX_WORDS = 10_000
MAX_PATHS = 1_000_000
_LONGEST_ENDING = 8


class Sieve:
    """Lets pass what could name a file: plain words up to a limit, what looks like a path always.

    Notes
    -----
    Counts what it has seen, so it is used for one collection, or for one task.
    """

    __slots__ = ("_paths", "_words")

    def __init__(self) -> None:
        self._words = 0
        self._paths = 0

    def passes(self, text: str) -> bool:
        """Tell whether a string is worth asking the file system about.

        Parameters
        ----------
        text : str
            Any string.

        Raises
        ------
        RefusedError
            When more than 1,000,000 strings looked like paths.
        """
        if not looks_like_a_path(text):
            self._words += 1
            return self._words <= MAX_WORDS and could_be_path(text)
        if not could_be_path(text):
            return False
        self._paths += 1
        if self._paths > MAX_PATHS:
            raise RefusedError(f"more than {MAX_PATHS:,} strings that look like paths")
        return True


def could_be_path(text: str) -> bool:
    """Tell whether a string could be a path at all."""
    if not 0 < len(text) < MAX_PATH_LENGTH or "\n" in text or "\0" in text:
        return False
    return any(map(str.isalnum, text[:64]))


def looks_like_a_path(text: str) -> bool:
    """Tell whether a string has a separator in it, or ends as the name of a file does."""
    if "/" in text or os.sep in text:
        return True
    return "." in text and _has_ending(text)


def _has_ending(text: str) -> bool:
    ending = text[text.rindex(".") + 1 :]
    return 0 < len(ending) <= _LONGEST_ENDING and ending.isalnum() and len(text.split(None, 1)) == 1


def text_of(path: PurePath) -> str:
    """Give a path as text that looks like one, whatever its name.

    Parameters
    ----------
    path : PurePath
        Such as ``Path("data")``, which becomes ``./data``.
    """
    text = str(path)
    return text if looks_like_a_path(text) else f"{os.curdir}{os.sep}{text}"
