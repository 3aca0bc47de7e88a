"""What can go wrong in the server, and which HTTP status says so.

::

    RequestError            a request that is answered with an error; has a ``status``
    +-- MalformedError      400  the request makes no sense; the text says which part
    +-- UnauthorizedError   401  the token is missing or wrong
    +-- UnknownKeyError     404  nothing is recorded under this key
    +-- ReadOnlyError       405  this server takes no writes
    +-- ConflictError       409  the write contradicts what is recorded
    +-- TooLargeError       413  the body is larger than the server accepts
    StartupError            the server cannot start; has an ``exit_code``
    +-- FileHeldError       another writable server holds the file
"""

from __future__ import annotations

import sqlite3


class RequestError(Exception):
    """A request that is answered with an error."""

    status = 400


class MalformedError(RequestError):
    """The request makes no sense; the text names the part that is wrong."""


class UnauthorizedError(RequestError):
    """The bearer token is missing or wrong."""

    status = 401


class UnknownKeyError(RequestError):
    """Nothing is recorded under this key."""

    status = 404

    def __init__(self, text: str = "Unknown key"):
        super().__init__(text)


class ReadOnlyError(RequestError):
    """This server takes no writes."""

    status = 405


class ConflictError(RequestError):
    """The write contradicts what is recorded."""

    status = 409


class TooLargeError(RequestError):
    """The body is larger than the server accepts."""

    status = 413


class StartupError(Exception):
    """The server cannot start, and the text says what to do about it."""

    exit_code = 1


class FileHeldError(StartupError):
    """Another writable server holds the file: worth trying again later (``EX_TEMPFAIL``)."""

    exit_code = 75


def storage_status(error: sqlite3.Error) -> int:
    """Tell which HTTP status describes a failure of the file.

    Parameters
    ----------
    error : sqlite3.Error
        What SQLite raised. Python 3.10 does not give its error code, so the text decides.

    Returns
    -------
    int
        507 when the disk is full, 403 when the file cannot be written, 503 for anything else, which
        may pass (a lock, an I/O error).
    """
    text = str(error)
    if "full" in text:
        return 507
    return 403 if "readonly" in text else 503
