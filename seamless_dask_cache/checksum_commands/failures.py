"""What keeps a file from having a checksum."""

from __future__ import annotations

TYPE_CHECKING = False  # as of typing, which would take a fifth of the time of a small file
if TYPE_CHECKING:
    from collections.abc import Callable


class FileFailure(Exception):
    """A file cannot be read or written.

    Parameters
    ----------
    reason : str
        Why, without the name of the file.
    name : str, optional
        Of the file, when it is not the one that a function was asked for.
    """

    def __init__(self, reason: str, name: str | None = None):
        super().__init__(reason)
        self.name = name


def reason_of(error: Exception) -> str:
    """Return the reason alone, in the words of the system."""
    return getattr(error, "strerror", None) or str(error)


def attempt(work: Callable[[], str]) -> str | FileFailure:
    """Return a checksum, or why there is none."""
    try:
        return work()
    except FileFailure as failure:
        return failure
